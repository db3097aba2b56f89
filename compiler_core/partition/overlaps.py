"""What each layer of a plan takes of the programs of its package: by compiling the plan.

How far layers overlap, and how much of the memory's ports they take, follows from the whole program
that they are in, so the plan is linked with a stand-in for its numbers, as cost tables have it:
cycles depend on shapes and passes alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import FloatModel, QuantizedModel
from compiler_core.compile.unit_layers import model_layers, model_tasks, place_layers
from compiler_core.configuration.configuration import Configuration
from compiler_core.partition.group_graph import GroupGraph
from compiler_core.partition.layer_shares import LayerShare, Overlaps
from compiler_core.partition.resolve import assignment_of
from compiler_core.partition.unit_costs import ASSUMED_EXPONENT
from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.exponents import Granularity, RangeChoice
from compiler_core.quantize.ir import IntegerConv, IntegerSegment, QuantizedGraph
from compiler_core.quantize.quantize import with_exponents
from compiler_core.system.jobs import JobKind
from compiler_core.targets.places import Placement
from compiler_core.targets.target import Target
from compiler_core.units.facets.programs import continues


def overlaps_of(
    groups: GroupGraph,
    target: Target,
    given: Configuration | None = None,
    quantized: QuantizedGraph | None = None,
) -> Overlaps:
    """Shares of the layers of any placement.

    Args:
        groups: The model.
        target: The machine.
        given: What is decided of schedules, ways of cutting and launches.
        quantized: The model with everything on the unit that can run there; else a stand-in.
    """
    known: dict[tuple[Placement, tuple[int, ...]], Mapping[str, LayerShare]] = {}
    decided = given or Configuration()

    def shares(placement: Placement, order: Sequence[int] = (), /) -> Mapping[str, LayerShare]:
        key = placement, tuple(order)
        if key not in known:
            compiled = compiled_plan(placement, groups, target, decided, quantized, order)
            known[key] = _shares(compiled)
        return known[key]

    return shares


def _shares(compiled: CompiledModel) -> Mapping[str, LayerShare]:
    launches = (x for part in compiled.executable.npu_segments for x in part.launches)
    found = {}
    for layer, job in zip(compiled.report.layers, compiled.timeline.jobs, strict=True):
        if job.kind is JobKind.PROGRAM:
            found[layer.name] = LayerShare(
                layer.cycles,
                job.run_ps,
                job.overhead_ps,
                layer.energy_mj * 1e9,
                job.read_ppm,
                job.write_ppm,
                continues(next(launches)),
            )
    return found


@dataclass(frozen=True)
class LinkedModel:
    """What a model with its own numbers takes.

    Attributes:
        shares: Of its layers, by the name of the launch.
        latency_ps: From start to end, with the operators that a scheme adds on the CPU, which no
            placement of the float model knows.
        energy_pj: Of everything.
    """

    shares: Mapping[str, LayerShare]
    latency_ps: int
    energy_pj: float


def linked_model(source: QuantizedModel, given: Configuration, target: Target) -> LinkedModel:
    """What a model takes with its own numbers.

    Args:
        source: Quantized under its plan.
        given: As of :func:`overlaps_of`.
        target: The machine.
    """
    planned = source.configuration
    fitting = _fitting(given, source.quantized, planned.plan, target)
    configuration = replace(fitting, plan=planned.plan, order=planned.order)
    compiled = compile_model(replace(source, configuration=configuration), target, verifies=False)
    return LinkedModel(
        _shares(compiled),
        compiled.timeline.timeline.latency_ps,
        compiled.metrics.energy_mj * 1e9,
    )


def compiled_plan(
    placement: Placement,
    groups: GroupGraph,
    target: Target,
    given: Configuration,
    quantized: QuantizedGraph | None = None,
    order: Sequence[int] = (),
) -> CompiledModel:
    """A placement compiled with a stand-in for its numbers.

    Args:
        placement: Of the groups.
        groups: The model.
        target: The machine.
        given, quantized: As of :func:`overlaps_of`.
        order: Groups of highest priority first, where a plan says that.
    """
    assignment = assignment_of(placement, groups, target.places)
    skeleton = assemble(groups.graph, assignment, groups.arithmetic)
    tensors = {} if quantized is None else quantized.tensors
    wanted = {
        name: tensors[name].exponent if name in tensors else ASSUMED_EXPONENT
        for name in skeleton.calibrated
    }
    numbers = with_exponents(skeleton, wanted, RangeChoice.MAX, _granularity(quantized))
    configuration = replace(
        _fitting(given, numbers, assignment, target),
        plan=assignment,
        order=tuple(node for group in order for node in groups.groups[group].nodes),
    )
    source = QuantizedModel(FloatModel("", "", groups.graph), numbers, configuration, {})
    return compile_model(source, target, verifies=False)


def _fitting(
    given: Configuration, numbers: QuantizedGraph, assignment: Mapping[str, str], target: Target
) -> Configuration:
    """What of a configuration is about the tasks, cuts and borders of a plan."""
    layers = model_layers(numbers, target)
    tasks, ways = model_tasks(layers, target), dict[str, Any]()
    if given.slicing:
        cuts = place_layers(layers, assignment, {}, target).slicing
        ways = {name: way for name, way in given.slicing.items() if name in cuts}
    launches = given.launches
    if launches.borders is not None and given.plan != assignment:
        launches = replace(launches, lowering=0, borders=None)
    schedules = {name: own for name, own in given.schedules.items() if name in tasks}
    return Configuration(schedules=schedules, slicing=ways, launches=launches)


def _granularity(quantized: QuantizedGraph | None) -> Granularity:
    """Of the weights: shifts of their own for each channel are a pass of their own."""
    parts = () if quantized is None else quantized.segments
    own = any(
        isinstance(operator, IntegerConv) and operator.channel_shifts is not None
        for part in parts
        if isinstance(part, IntegerSegment)
        for operator in part.operators
    )
    return Granularity.CHANNEL if own else Granularity.TENSOR
