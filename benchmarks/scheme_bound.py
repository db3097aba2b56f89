"""What no quantization scheme can beat: costs of a model with the least passes that its programs
could have.

A scheme acts on latency in four ways, and none of them takes away from the least:

- it decides which passes the requantization of a program needs (:class:`Epilogue`, the clamp of a
  max pool, whether a residual is shifted): here each program takes the least over all of them;
- it may split inputs of few channels, so that a program reads twice as many: the least is over
  both;
- it may add operators to the CPU (factors that equalize, parts of split inputs), and bytes to a
  border; both only add;
- nodes that the NPU cannot run under it go to the CPU, which is another placement.

So the bound of the optimal plan under these costs is one of all schemes and plans together, where
each operator is launched by itself; layers that are merged to one program may take less.

Passes that may fall away in principle rarely do: accumulators of eight-bit weights reach beyond
int8, so they are shifted or clamped, and where a clamp at 0 is fused, some can fall below 0. A
scheme is *usual* if that holds for each of its convolutions (:func:`unusual` names the others); the
bound of the usual schemes alone is higher.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.partition.build_costs import build_costs
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.group_graph import GroupGraph
from compiler_core.partition.groups import build_groups
from compiler_core.partition.programs import ProgramCosts
from compiler_core.partition.unit_costs import quantized_stand_in
from compiler_core.quantize.ir import IntegerConv, IntegerSegment
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.target import Target, Unit
from compiler_core.tensor.from_integer import DIRECT_RESIDUAL_BITS, FAR_RESIDUAL_BITS
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Workload
from compiler_core.units.facets.host import host_costs
from compiler_core.units.launches import Launch
from compiler_core.units.vta.link.segment import Layer

_BOTH = (False, True)
_LANES = 16
"""Input channels of a block."""
_BIAS_BITS = (0, 17)


def least_costs(graph: Graph, target: Target, *, usual: bool = False) -> Evaluator:
    """Groups and costs of a model, none of them above what any scheme makes of it with untuned
    schedules.

    Args:
        graph: Simplified.
        target: With one NPU core.
        usual: Of usual schemes alone.

    Raises:
        InputError: The target has several cores.
    """
    if target.npu_cores != 1:
        raise InputError(f"target {target.name!r}: bounds of schemes are for one NPU core")
    groups = build_groups(graph, target_arithmetic(target))
    programs = _LeastPrograms(target.units[0], convolutions(groups) if usual else {})
    table = build_costs(groups, target, host_costs().of_target(target, graph), programs=programs)
    return Evaluator(groups, table)


def convolutions(groups: GroupGraph) -> dict[str, bool]:
    """Whether a clamp at 0 is fused, by name of the convolutions that the NPU can run and that have
    weights of their own."""
    operators = [
        operator
        for segment in quantized_stand_in(groups.skeleton).segments
        if isinstance(segment, IntegerSegment)
        for operator in segment.operators
    ]
    return {
        operator.name: operator.clip_min >= 0
        for operator in operators
        if isinstance(operator, IntegerConv)
        and not bool((operator.weight == operator.weight.flat[0]).all())
    }


def unusual(layers: Iterable[Layer], clamped: Mapping[str, bool]) -> list[str]:
    """Names of the layers with fewer passes than the bound of usual schemes counts.

    Args:
        layers: Of a quantized model.
        clamped: From :func:`convolutions`.
    """
    return [
        layer.operator.name
        for layer in layers
        if layer.operator.name in clamped
        and isinstance(layer.workload, ConvWorkload)
        and not _is_usual(layer.workload.epilogue, clamped[layer.operator.name])
    ]


def _is_usual(epilogue: Epilogue, clamped: bool) -> bool:
    reduced = epilogue.shift or epilogue.clip_high or epilogue.channel_shift
    return reduced and (epilogue.clip_low or not clamped)


def variants(workload: Workload, *, clamped: bool | None = None) -> Iterator[Workload]:
    """All programs that a scheme could make of an operator.

    Args:
        workload: With any requantization.
        clamped: Of a convolution of a usual scheme, whether a clamp at 0 is fused.
    """
    if not isinstance(workload, ConvWorkload):
        for low, high in product(_BOTH, _BOTH):
            yield replace(workload, clip_low=low, clip_high=high)
        return
    channels = [workload.in_channels]
    if workload.entry and workload.groups == 1 and 2 * workload.in_channels <= _LANES:
        channels.append(2 * workload.in_channels)
    fused = workload.epilogue.residual_bits is not None
    residuals = (DIRECT_RESIDUAL_BITS, FAR_RESIDUAL_BITS) if fused else (None,)
    requantizations = [(*passes, False) for passes in product(_BOTH, _BOTH, _BOTH)]
    requantizations += [(False, *passes, True) for passes in product(_BOTH, _BOTH)]
    for count, bits, residual, passes in product(channels, _BIAS_BITS, residuals, requantizations):
        shift, low, high, channel_shift = passes
        epilogue = Epilogue(bits, shift, low, high, residual, channel_shift)
        if clamped is None or _is_usual(epilogue, clamped):
            yield replace(workload, in_channels=count, epilogue=epilogue)


class _LeastPrograms(ProgramCosts):
    """Measures a workload as the least of its variants; ``clamped`` by name of the operators of
    which that is known."""

    def __init__(self, unit: Unit, clamped: Mapping[str, bool]) -> None:
        super().__init__(unit, {})
        self._clamped = clamped

    def program(self, name: str, workload: Workload) -> Launch:
        several = variants(workload, clamped=self._clamped.get(name))
        found = [super(_LeastPrograms, self).program(name, one) for one in several]
        least = min(found, key=lambda program: program.cycles)
        return replace(least, input_bytes=min(program.input_bytes for program in found))
