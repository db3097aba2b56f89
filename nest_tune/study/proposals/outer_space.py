"""Parts of the outer space of a model, as far as a study file switches them on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from compiler_core.clock.choices import RuntimeChoices
from compiler_core.configuration.configuration import ORDER
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.partition.baselines import place_times
from compiler_core.partition.best import complete, planned_assignment, prepare, untuned
from compiler_core.partition.plan import read_plan
from compiler_core.partition.resolve import resolve_plan
from compiler_core.partition.shared_operators import without_shares
from compiler_core.precision.table import FormatCosts
from compiler_core.quantize.apply import weighted_layers
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.ladder import FIRST, RUNGS
from compiler_core.quantize.rounding_work import expected_work
from compiler_core.quantize.scheme import CpuPrecision, QuantizationScheme, scheme_document
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.target import Target
from nest_tune.study.proposals.borders_part import BordersPart
from nest_tune.study.proposals.formats_part import FormatsPart
from nest_tune.study.proposals.runtime_part import RuntimePart
from search_spaces.joint import JointSpace, OuterPoint, SpacePart
from search_spaces.parameter import Parameter
from search_spaces.partition import PartitionSpace
from search_spaces.quantization import QuantizationSpace, scheme_parameters
from search_spaces.shared import shared_ways
from search_spaces.shared_placements import SharedPlacements

FIRST_SCHEME = RUNGS[FIRST]
"""The default where nothing is calibrated, or nothing better needed."""

_FIXED = ("scales", "first_last_float")
"""Decisions that do not belong in a joint space: other scales cannot run on the NPU, and which
layers stay float is up to the partition."""

_MOST_WORK = 1 << 38
"""Multiplications that rounding by GPTQ may take in a trial, about: ten seconds or so."""


_REMEMBERED = 1 << 16
"""Placements whose prices are kept."""


class PlacementPart:
    """Which unit runs each group of operators, or how units share it.

    Args:
        graph: Simplified.
        target: The machine.
        known: Guesses as found before; else they are searched for now.
        joins_layers: Whether layers that follow one another are launched together.
        aims: Metrics that guesses are made for, the most important first.

    Raises:
        InputError: One of ``known`` is no point of this space.
    """

    name = "partition"

    def __init__(
        self,
        graph: Graph,
        target: Target,
        known: Sequence[OuterPoint] | None = None,
        *,
        joins_layers: bool = False,
        aims: Sequence[str] = (),
    ) -> None:
        evaluator = prepare(graph, target, joins_layers=joins_layers, packaged=True)
        ways = shared_ways(graph, target, evaluator, joins_layers=joins_layers)
        self._space = SharedPlacements(PartitionSpace(evaluator), ways, joins_layers=joins_layers)
        self._aims, self._evaluator = aims, evaluator
        self._default_units = default_assignment(graph, arithmetic=target_arithmetic(target))
        self._estimates: dict[OuterPoint, float] = {}
        self._prices: dict[OuterPoint, dict[str, float]] = {}
        self._known = None if known is None else tuple(tuple(point) for point in known)
        self.parameters: tuple[Parameter, ...] = self._space.parameters
        self.default: OuterPoint = self._space.encode(untuned(evaluator))
        sizes = [len(parameter.values) for parameter in self.parameters]
        for point in self._known or ():
            if len(point) != len(sizes) or any(i >= n for i, n in zip(point, sizes, strict=True)):
                raise InputError(
                    f"a stored guess of the partition has {len(point)} decisions that do not fit "
                    f"the {len(sizes)} of this model",
                    hint="start the study anew: --if-exists replace",
                )

    def alone_ms(self, node: str) -> tuple[str, dict[str, float]]:
        """The group of a node, and what that takes by the cost tables in a program of its own, in
        milliseconds by place, the CPU first; nothing of a node that is in no group."""
        evaluator = self._evaluator
        for group in evaluator.groups.groups:
            if node in group.nodes:
                times, places = place_times(evaluator, group.index), evaluator.costs.places
                return group.name, {places[at].name: ps / 1e9 for at, ps in times.items()}
        return "", {}

    def decode(self, point: OuterPoint) -> Mapping[str, str]:
        """Nodes that run elsewhere than by default."""
        units = self._space.assignment(point)
        return {name: unit for name, unit in units.items() if unit != self._default_units[name]}

    def placed(self, start: OuterPoint, units: Mapping[str, str]) -> OuterPoint:
        """A point with what ``units`` says of its nodes.

        Raises:
            InputError: The space does not hold it.
        """
        return self._space.placed(start, units)

    def is_legal(self, _point: OuterPoint) -> bool:
        return True

    def estimate(self, point: OuterPoint) -> float:
        """Untuned latency in ms by the cost tables."""
        if point not in self._estimates:
            self._estimates[point] = self._space.latency_ms(point)
        return self._estimates[point]

    def price(self, point: OuterPoint, metric: str) -> float | None:
        """Untuned latency, energy, cycles or bytes by the cost tables."""
        if metric == "latency_ms":
            return self.estimate(point)
        if point not in self._prices:
            if len(self._prices) >= _REMEMBERED:
                self._prices.clear()
            self._prices[point] = self._space.prices(point)
        return self._prices[point].get(metric)

    def guesses(self) -> Sequence[OuterPoint]:
        """The optima of the cost tables, then the baselines, then what sharing offers."""
        if self._known is None:
            self._known = self._space.first_points(self._aims)
        return self._known


class PinnedPart:
    """A partition that a plan file fixes.

    Attributes:
        order: Nodes in the plan's order; empty where it says none.
    """

    name = "partition"

    def __init__(
        self, graph: Graph, target: Target, path: Path, *, joins_layers: bool = False
    ) -> None:
        planned = planned_assignment(read_plan(path), graph, target, joins_layers=joins_layers)
        pinned, self.order = planned.units, planned.order
        default = default_assignment(graph, arithmetic=target_arithmetic(target))
        self._moved = {name: unit for name, unit in pinned.items() if unit != default[name]}
        # One value, so that the space's digest changes with the plan.
        self.parameters: tuple[Parameter, ...] = (
            Parameter("plan", (tuple(sorted(self._moved.items())),)),
        )
        self.default: OuterPoint = (0,)

    def decode(self, _point: OuterPoint) -> Mapping[str, str]:
        return self._moved

    def is_legal(self, _point: OuterPoint) -> bool:
        return True

    def guesses(self) -> Sequence[OuterPoint]:
        return ()


class PinnedOrder:
    """Who goes first where several operators wait for a unit, as a plan file says."""

    name = ORDER

    def __init__(self, order: Sequence[str]) -> None:
        self.parameters: tuple[Parameter, ...] = (Parameter("nodes", (tuple(order),)),)
        self.default: OuterPoint = (0,)

    def decode(self, _point: OuterPoint) -> Sequence[str]:
        return list(self.parameters[0].values[0])

    def is_legal(self, _point: OuterPoint) -> bool:
        return True

    def guesses(self) -> Sequence[OuterPoint]:
        return ()


_ON_NPU_ONLY = ("equalization", "rescaling", "split_inputs", "weight_rounding")
"""Decisions that change nothing where everything runs on the CPU."""


class PinnedScheme:
    """An untuned default of quantization that no search changes."""

    name = "quantization"

    def __init__(self, scheme: QuantizationScheme) -> None:
        self._scheme = scheme
        # One value, so that the space's digest changes with the scheme.
        text = json.dumps(scheme_document(scheme), sort_keys=True)
        self.parameters: tuple[Parameter, ...] = (Parameter("scheme", (text,)),)
        self.default: OuterPoint = (0,)

    def decode(self, _point: OuterPoint) -> Mapping[str, Any]:
        return scheme_document(self._scheme)

    def is_legal(self, _point: OuterPoint) -> bool:
        return True

    def guesses(self) -> Sequence[OuterPoint]:
        return ()


_BESIDE_FORMATS = ("activation_range", "weight_range", "calibration", "bias_correction")
"""Decisions that change what operators with number formats of their own compute."""


def quantization_part(
    graph: Graph,
    target: Target,
    default: QuantizationScheme = FIRST_SCHEME,
    *,
    beside_formats: bool = False,
) -> QuantizationSpace:
    """Schemes whose scales are powers of two, and where nothing but the plan keeps layers float.

    Beside an NPU, operators of the CPU without weights stay float: they are few and cheap. Without
    an NPU: schemes of the CPU, and a switch per layer that keeps it in float.

    Args:
        graph: Simplified.
        target: The machine.
        default: The untuned default.
        beside_formats: Whether operators have number formats of their own.
    """
    if beside_formats:
        kept = tuple(p for p in scheme_parameters() if p.name in _BESIDE_FORMATS)
        return QuantizationSpace(graph, default_assignment(graph, cores=0), kept, default=default)
    if target.npu_cores:
        fixed = _FIXED if _can_round(graph, default) else (*_FIXED, "weight_rounding")
        kept = tuple(_beside_npu(p) for p in scheme_parameters() if p.name not in fixed)
        known = target_arithmetic(target)
        units = default_assignment(graph, arithmetic=known)
        return QuantizationSpace(graph, units, kept, default=default, arithmetic=known)
    on_cpu = default_assignment(graph, cores=0)
    kept = tuple(p for p in scheme_parameters() if p.name not in _ON_NPU_ONLY)
    return QuantizationSpace(graph, on_cpu, kept, per_layer=weighted_layers(graph))


def _can_round(graph: Graph, default: QuantizationScheme) -> bool:
    """Whether the space holds GPTQ: where it has something to do that a trial has time for, and
    where the untuned default takes it."""
    if default.weight_rounding is not FIRST_SCHEME.weight_rounding:
        return True
    return 0 < expected_work(graph) <= _MOST_WORK


def _beside_npu(parameter: Parameter) -> Parameter:
    values = tuple(value for value in parameter.values if value is not CpuPrecision.INT8_ALL)
    return replace(parameter, values=values)


def make_space(
    graph: Graph,
    target: Target,
    *,
    quantization: bool = True,
    partition: bool = True,
    plan: Path | None = None,
    guesses: Mapping[str, Sequence[OuterPoint]] | None = None,
    default: QuantizationScheme = FIRST_SCHEME,
    joins_layers: bool = False,
    borders: bool = False,
    aims: Sequence[str] = (),
    formats: FormatCosts | None = None,
    offers: Sequence[Mapping[str, str]] = (),
    runtime: RuntimeChoices | None = None,
    taught: Callable[[QuantizationSpace], Sequence[OuterPoint]] = lambda _space: (),
) -> JointSpace:
    """The outer space of a model.

    Args:
        graph: Simplified.
        target: The machine.
        quantization, partition: Whether they are searched; else they stay at the default.
        plan: File that fixes the partition.
        guesses: By part, as found before.
        default: The untuned default of quantization.
        joins_layers: Whether layers that follow one another are launched together.
        borders: Whether it is searched how they follow one another, too.
        aims: Metrics that guesses are made for, the most important first.
        formats: What number formats of operators cost, on this machine or on boards.
        offers: Places of plans of these formats that are tried first, where ``guesses`` do not say.
        runtime: What its runtime leaves to choose.
        taught: Schemes that are tried first, where ``guesses`` do not say.

    Raises:
        InputError: The plan does not fit the model.
    """
    parts: list[SpacePart] = []
    if plan is not None and not target.npu_cores:
        raise InputError(f"target {target.name!r} has no NPU: there is nothing to plan")
    if quantization:
        beside = formats is not None
        schemes = quantization_part(graph, target, default, beside_formats=beside)
        first = (guesses or {}).get(schemes.name)
        schemes.begin_with(taught(schemes) if first is None else first)
        parts.append(schemes)
    elif default != FIRST_SCHEME:
        parts.append(PinnedScheme(default))
    if plan is not None:
        pinned = PinnedPart(graph, target, plan, joins_layers=joins_layers)
        parts.append(pinned)
        if pinned.order:
            parts.append(PinnedOrder(pinned.order))
    elif formats is not None:
        known = (guesses or {}).get(FormatsPart.name)
        parts.append(FormatsPart(graph, formats, known, offers))
        parts.append(RuntimePart(runtime or RuntimeChoices()))
    elif partition and target.npu_cores:
        known = (guesses or {}).get(PlacementPart.name)
        parts.append(PlacementPart(graph, target, known, joins_layers=joins_layers, aims=aims))
    if borders:
        if not (joins_layers and target.npu_cores):
            raise InputError(
                "space borders: layers have a launch each, so there are none",
                hint="leave it out, or start the study with --launches merged on an NPU",
            )
        parts.append(_borders_part(graph, target, plan))
    return JointSpace(parts)


def _borders_part(graph: Graph, target: Target, plan: Path | None) -> BordersPart:
    """Borders of a plan, or of the untuned default."""
    if plan is None:
        evaluator = prepare(graph, target, joins_layers=True, packaged=True)
        return BordersPart(evaluator, target, untuned(evaluator))
    shared = without_shares(read_plan(plan), graph, target_arithmetic(target))
    evaluator = prepare(shared.graph, target, joins_layers=True, packaged=True)
    resolved = resolve_plan(shared.plan, evaluator.groups, target.places)
    return BordersPart(evaluator, target, complete(evaluator, resolved))
