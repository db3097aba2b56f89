"""The quantization space of a model: schemes, their encoding, and what a target can run of them.

A point is one index per parameter. Which layers stay float is one number: how many of a ranking
(most damage first) stay on the CPU, and, beyond the ranking's head, one switch per layer where the
space is asked for them. Quantune's space is a named subset.

Source of the subset: Lee et al., Quantune: Post-training quantization of convolutional neural
networks using extreme gradient boosting for fast deployment, 2022.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.quantize.apply import float_layers, weighted_layers
from compiler_core.quantize.assemble import CPU
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.scheme import (
    SEARCHED_RANGES,
    CalibrationSize,
    CpuPrecision,
    QuantizationScheme,
    RangeMethod,
    Scales,
    WeightRounding,
    scheme_document,
)
from compiler_core.quantize.unit_arithmetics import Computing, unit_arithmetics
from compiler_core.tensor.digest import digest
from search_spaces.parameter import Parameter, RuleCount

__all__ = ["QuantizationSpace", "quantune_parameters", "scheme_parameters"]

SchemePoint = tuple[int, ...]
"""Index per parameter."""

FLOAT_COUNT = "float_count"
DEFAULT_FLOATS = "default_floats"
_LAYER = "float:"


def scheme_parameters() -> tuple[Parameter, ...]:
    """Every decision but the sets of float layers."""
    return (
        Parameter("scales", tuple(Scales), ordered=False),
        Parameter("granularity", tuple(Granularity)),
        Parameter("activation_range", SEARCHED_RANGES, ordered=False),
        Parameter("weight_range", (RangeMethod.MAX, RangeMethod.MSE)),
        Parameter("calibration", tuple(CalibrationSize)),
        Parameter("bias_correction", (False, True)),
        Parameter("equalization", (False, True)),
        Parameter("rescaling", (False, True)),
        Parameter("split_inputs", (False, True)),
        Parameter("weight_rounding", tuple(WeightRounding)),
        Parameter("cpu_precision", tuple(CpuPrecision), ordered=False),
        Parameter("first_last_float", (False, True)),
    )


def quantune_parameters() -> tuple[Parameter, ...]:
    """Quantune's 96 points: its 1, 1,000 and 10,000 calibration images are one, half and all."""
    return (
        Parameter("scales", tuple(Scales), ordered=False),
        Parameter("granularity", tuple(Granularity)),
        Parameter("activation_range", (RangeMethod.MAX, RangeMethod.KL), ordered=False),
        Parameter("weight_range", (RangeMethod.MAX,)),
        Parameter("calibration", tuple(CalibrationSize)),
        Parameter("cpu_precision", (CpuPrecision.INT8,), ordered=False),
        Parameter("first_last_float", (False, True)),
    )


def _with_room(parameter: Parameter) -> Parameter:
    """Ways to find ranges with that of a default of few samples among them."""
    if parameter.name != "activation_range" or RangeMethod.ROOMY in parameter.values:
        return parameter
    return replace(parameter, values=(*parameter.values, RangeMethod.ROOMY))


class QuantizationSpace:
    """All schemes of one model under one plan.

    Args:
        graph: The float graph, simplified.
        assignment: Unit per node.
        parameters: :func:`scheme_parameters` by default, or a subset of them.
        ranking: Layers, most damage first: a prior. Adds the number of them that stay float.
        counts: Those numbers.
        per_layer: Layers that each get a switch of their own.
        default: The untuned default. Where it keeps operators in float, that is one decision more.
        arithmetic: Of the NPUs; by default one of the usual kind.

    Attributes:
        name: Of this part of a joint space.
        parameters: The decisions.
        default: Point of the untuned default, or the nearest that the parameters hold.

    Raises:
        InputError: A layer of the ranking or with a switch has no weights.
    """

    name = "quantization"

    def __init__(
        self,
        graph: Graph,
        assignment: Mapping[str, str],
        parameters: Sequence[Parameter] = (),
        *,
        ranking: Sequence[str] = (),
        counts: Sequence[int] = (0, 1, 2, 3, 4, 6, 8, 12, 16),
        per_layer: Sequence[str] = (),
        default: QuantizationScheme = QuantizationScheme(),  # noqa: B008 - frozen
        arithmetic: Computing | None = None,
    ) -> None:
        layers = weighted_layers(graph)
        for layer in (*ranking, *per_layer):
            if layer not in layers:
                raise InputError(f"space: {layer!r} is no layer with weights")
        self._graph, self._assignment = graph, dict(assignment)
        self._ranking = tuple(ranking)
        self._default = default
        self._units = unit_arithmetics(arithmetic)
        self._layers = layers
        self._refused: dict[tuple[Scales, frozenset[str]], dict[str, str]] = {}
        self._begin: tuple[SchemePoint, ...] = ()
        chosen = tuple(parameters) or scheme_parameters()
        if ranking:
            fitting = tuple(sorted({count for count in counts if 0 <= count <= len(ranking)} | {0}))
            chosen += (Parameter(FLOAT_COUNT, fitting),)
        if default.activation_range is RangeMethod.ROOMY:
            chosen = tuple(map(_with_room, chosen))
        if default.float_layers:
            chosen += (Parameter(DEFAULT_FLOATS, (False, True)),)
        chosen += tuple(Parameter(_LAYER + layer, (False, True)) for layer in per_layer)
        self.parameters = chosen

    @property
    def size(self) -> int:
        """Points, legal or not."""
        return prod(len(parameter) for parameter in self.parameters)

    @property
    def default(self) -> SchemePoint:
        """The untuned default."""
        return self.point(self._default, nearest=True)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of parameters, plan and ranking: equal spaces enumerate equally."""
        shown = [
            [parameter.name, [getattr(value, "value", value) for value in parameter.values]]
            for parameter in self.parameters
        ]
        known = [shown, sorted(self._assignment.items()), list(self._ranking)]
        floats = self._default.float_layers
        return digest([*known, list(floats)] if floats else known)

    def scheme(self, point: SchemePoint) -> QuantizationScheme:
        """What a point means.

        Raises:
            InputError: It is not a point of this space.
        """
        if len(point) != len(self.parameters) or any(
            not 0 <= index < len(parameter)
            for index, parameter in zip(point, self.parameters, strict=False)
        ):
            raise InputError(f"point {tuple(point)}; the space has sizes {self._sizes()}")
        values: dict[str, Any] = {}
        floats: list[str] = []
        for index, parameter in zip(point, self.parameters, strict=True):
            value = parameter.values[index]
            if parameter.name == FLOAT_COUNT:
                floats += self._ranking[:value]
            elif parameter.name == DEFAULT_FLOATS:
                floats += self._default.float_layers if value else ()
            elif parameter.name.startswith(_LAYER):
                floats += [parameter.name.removeprefix(_LAYER)] * bool(value)
            else:
                values[parameter.name] = value
        return QuantizationScheme(float_layers=tuple(floats), **values)

    def point(self, scheme: QuantizationScheme, *, nearest: bool = False) -> SchemePoint:
        """The point that means ``scheme``.

        Args:
            scheme: The decisions.
            nearest: Take the first value where a table does not hold the scheme's.

        Raises:
            InputError: The space does not hold it.
        """
        point = []
        left = set(scheme.float_layers)
        for parameter in self.parameters:
            if parameter.name == FLOAT_COUNT:
                fitting = [n for n in parameter.values if left >= set(self._ranking[:n])]
                left -= set(self._ranking[: fitting[-1]])
                point.append(parameter.index(fitting[-1]))
                continue
            if parameter.name == DEFAULT_FLOATS:
                own = set(self._default.float_layers)
                point.append(parameter.index(set(scheme.float_layers) >= own))
                left -= own if point[-1] else set()
                continue
            if parameter.name.startswith(_LAYER):
                layer = parameter.name.removeprefix(_LAYER)
                # A layer that the count already keeps float needs no switch.
                point.append(parameter.index(layer in left))
                left.discard(layer)
                continue
            value = getattr(scheme, parameter.name)
            held = value in parameter.values
            point.append(0 if nearest and not held else parameter.index(value))
        if left and not nearest:
            raise InputError(f"float_layers: the space cannot keep {sorted(left)} alone in float")
        return tuple(point)

    def decode(self, point: SchemePoint) -> dict[str, Any]:
        """What a point means, as plain values."""
        return scheme_document(self.scheme(point))

    def refusals(self, scheme: QuantizationScheme) -> dict[str, str]:
        """Why nodes that the plan gives to the NPU cannot run there under ``scheme``, by node."""
        floats = float_layers(self._graph, scheme)
        # The rules of the target read nothing of a scheme but its kind of scales.
        key = (scheme.scales, floats)
        if key not in self._refused:
            self._refused[key] = {
                node.name: reason
                for node in self._graph.nodes
                if self._on_npu(node.name)
                and node.name not in floats
                and (
                    reason := self._units.unsupported_scheme(
                        self._graph, node, scheme, self._assignment[node.name]
                    )
                )
                is not None
            }
        return self._refused[key]

    def violations(self, point: SchemePoint) -> tuple[str, ...]:
        """Rules that a point breaks; none for a legal one.

        ``target``: the plan gives a node to the NPU that cannot run it. ``duplicate``: another
        point means the same, because a decision has no effect here.
        """
        scheme = self.scheme(point)
        broken = ["target"] if self.refusals(scheme) else []
        if self._is_duplicate(scheme, point):
            broken.append("duplicate")
        return tuple(broken)

    def is_legal(self, point: SchemePoint) -> bool:
        """Whether a point exists."""
        return not self.violations(point)

    def _is_duplicate(self, scheme: QuantizationScheme, point: SchemePoint) -> bool:
        if self.point(scheme) != tuple(point):
            return True
        floats = float_layers(self._graph, scheme)
        integers = any(not self._on_npu(name) and name not in floats for name in self._layers)
        if scheme.cpu_precision is CpuPrecision.INT8_ALL:
            integers = any(
                not self._on_npu(node.name) and node.name not in floats
                for node in self._graph.nodes
            )
        if not integers and scheme.cpu_precision is not self._first("cpu_precision"):
            return True
        on_npu = any(self._on_npu(name) and name not in floats for name in self._layers)
        if not on_npu and scheme.weight_rounding is not self._first("weight_rounding"):
            return True
        ends = {*self._layers[:1], *self._layers[-1:]}
        return scheme.first_last_float and bool(ends & set(scheme.float_layers))

    def _on_npu(self, name: str) -> bool:
        return self._assignment.get(name, CPU) != CPU

    def _first(self, name: str) -> Any:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter.values[0]
        return getattr(QuantizationScheme(), name)

    def enumerate(self) -> Iterator[SchemePoint]:
        """Legal points in the order of their indices."""
        for point in product(*(range(len(parameter)) for parameter in self.parameters)):
            if self.is_legal(point):
                yield point

    def rule_counts(self) -> tuple[RuleCount, ...]:
        """What each rule takes out, one after the other."""
        removed = {"target": 0, "duplicate": 0}
        for point in product(*(range(len(parameter)) for parameter in self.parameters)):
            broken = self.violations(point)
            if broken:
                removed[broken[0]] += 1
        left, counts = self.size, []
        for rule, count in removed.items():
            left -= count
            counts.append(RuleCount(rule, count, left))
        return tuple(counts)

    def begin_with(self, points: Sequence[SchemePoint]) -> None:
        """Puts points before the usual guesses; what is no point of this space is left out."""
        sizes = [len(parameter) for parameter in self.parameters]
        self._begin = tuple(
            tuple(point)
            for point in points
            if len(point) == len(sizes)
            and all(0 <= index < size for index, size in zip(point, sizes, strict=True))
        )

    def guesses(self) -> tuple[SchemePoint, ...]:
        """Points that are likely to be good, the best first: what it was told to begin with, then
        per channel, weights by GPTQ."""
        usual = QuantizationScheme(granularity=Granularity.CHANNEL, bias_correction=True)
        filled = replace(usual, rescaling=True)
        wanted = (
            *(
                replace(filled, split_inputs=split, weight_rounding=WeightRounding.GPTQ)
                for split in (True, False)
            ),
            replace(usual, split_inputs=True),
            replace(filled, split_inputs=True),
            usual,
            QuantizationScheme(bias_correction=True),
            replace(usual, activation_range=RangeMethod.MAX, equalization=True),
        )
        usual_points = (self.point(scheme, nearest=True) for scheme in wanted)
        points = dict.fromkeys((*self._begin, *usual_points))
        return tuple(point for point in points if self.is_legal(point))

    def _sizes(self) -> str:
        return "×".join(str(len(parameter)) for parameter in self.parameters)
