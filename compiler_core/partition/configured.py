"""The plan that a compile goes by: from a file, from a configuration, or the target's default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from compiler_core.compile.sources import FloatModel
from compiler_core.configuration.configuration import Configuration, Subject
from compiler_core.errors import InputError
from compiler_core.graph.views import VIEW_OPERATORS
from compiler_core.partition.best import check_subjects, default_plan, planned_assignment
from compiler_core.partition.plan import Plan, read_plan
from compiler_core.quantize.assemble import without_room
from compiler_core.quantize.assignment import assignments_by_unit, default_assignment
from compiler_core.quantize.unit_arithmetics import unit_arithmetics
from compiler_core.targets.integer_units import needs_plan, target_arithmetic
from compiler_core.targets.target import Target
from compiler_core.units.names import CPU
from compiler_core.units.numbers import numbers_of

Progress = Callable[[str], None]


def with_plan(
    configuration: Configuration,
    model: FloatModel,
    target: Target,
    plan: Path | Plan | None = None,
    progress: Progress = lambda _: None,
) -> Configuration:
    """A configuration whose plan says where everything runs.

    Args:
        configuration: Its own plan holds where no other is given.
        model: What is compiled.
        target: The machine.
        plan: Plan, or file of one; nodes that it leaves free are placed.
        progress: Told what is being done.

    Raises:
        InputError: The plan does not fit the model or the target.
    """
    return with_room(
        _planned(configuration, model, target, plan, progress), model, target, progress
    )


def with_room(
    configuration: Configuration,
    model: FloatModel,
    target: Target,
    progress: Progress = lambda _: None,
) -> Configuration:
    """A configuration whose plan keeps what no schedule fits in the target's buffers on the CPU.

    Quantization does so for the largest buffers that there are and knows no target; only smaller
    ones change anything here.

    Args:
        configuration: With or without a plan.
        model: What is compiled.
        target: The machine.
        progress: Told of each such node.
    """
    if not target.npu_cores:
        return configuration
    own = target_arithmetic(target)
    if own == own.general:
        return configuration
    graph = model.graph
    usual = default_assignment(graph, arithmetic=own.general)
    units = {**default_assignment(graph, arithmetic=own), **configuration.plan}
    reasons = without_room(graph, own)
    for name, reason in (reasons | without_room(graph, own, units)).items():
        units[name] = CPU
        progress(f"on the CPU: {name}: {reason}")
    if units == {**usual, **configuration.plan}:
        return configuration
    return replace(configuration, plan=units)


def plans_of_units(
    configuration: Configuration, model: FloatModel, target: Target
) -> tuple[Mapping[str, str], ...]:
    """Plans whose tasks are all that a model has on a target: that of a configuration, or one for
    each of several units, and of those with numbers of their own, with everything on it that can
    run there."""
    known = unit_arithmetics(target_arithmetic(target))
    if configuration.plan or (len(target.units) == 1 and not known.others):
        return (configuration.plan,)
    graph = model.graph
    found = list(assignments_by_unit(graph, known).values())
    for other in known.others:
        numbers = numbers_of(other.kind)
        found.append(
            {
                node.name: CPU
                if node.op in VIEW_OPERATORS or numbers.unsupported(graph, node)
                else other.name
                for node in graph.nodes
            }
        )
    return tuple(found)


def _planned(
    configuration: Configuration,
    model: FloatModel,
    target: Target,
    plan: Path | Plan | None,
    progress: Progress,
) -> Configuration:
    if plan is None and configuration.plan and not target.npu_cores:
        rest = {node.name: CPU for node in model.graph.nodes}
        return replace(configuration, plan={**rest, **configuration.plan})
    if plan is None:
        # One core needs no plan: what it can run runs there, and quantization says so.
        if configuration.plan and not target.npu_cores:
            usual = default_plan(model.graph, target)  # what it leaves free stays on the CPU
            return replace(configuration, plan={**usual, **configuration.plan})
        if configuration.plan or (target.npu_cores and not needs_plan(target)):
            return configuration
        found = default_plan(
            model.graph,
            target,
            schedules=configuration.schedules,
            joins_layers=configuration.launches.merge,
            progress=progress,
        )
        return replace(configuration, plan=found)
    if not target.npu_cores:
        raise InputError(
            f"target {target.name!r} has no NPU: every operator runs on its CPU, without a plan",
            hint="leave --plan out",
        )
    given = plan if isinstance(plan, Plan) else read_plan(plan)
    subjects = Subject(model.name, model.digest), Subject(target.name, target.digest)
    check_subjects(given, *subjects)
    planned = planned_assignment(
        given,
        model.graph,
        target,
        schedules=configuration.schedules,
        joins_layers=configuration.launches.merge,
        progress=progress,
    )
    return replace(configuration, plan=dict(planned.units), order=planned.order)
