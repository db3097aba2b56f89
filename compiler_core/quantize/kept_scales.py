"""Scales of models that are quantized already, kept where power-of-two scales can express them.

Simplification takes a quantized model apart (:mod:`compiler_core.graph.passes.prequantized`) and
remembers the exponents of the tensors whose integers int8 holds; here they take the place of what
calibration says. A model all of whose tensors have one needs no calibration at all, and its
weights, multiples of its own scales, stay what they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compiler_core.graph.ir import Graph
from compiler_core.graph.views import VIEW_OPERATORS
from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.blocks import Reals, largest_magnitude
from compiler_core.quantize.exponents import Granularity, fitting_exponent
from compiler_core.quantize.scheme import QuantizationScheme, RangeMethod
from compiler_core.quantize.skeleton import ConvKind, ConvStep
from compiler_core.quantize.statistics import TensorRange
from compiler_core.quantize.unit_arithmetics import Computing
from compiler_core.quantize.unit_cuts import cut_over_units

_LEVELS = 127


def kept_exponents(graph: Graph) -> dict[str, int]:
    """Exponents by tensor, those of views of the same values among them."""
    found = dict(graph.kept)
    views = [node for node in graph.nodes if node.op in VIEW_OPERATORS and node.clip is None]
    for nodes, forward in ((views, True), (views[::-1], False)):
        for node in nodes:
            known, other = (
                (node.inputs[0], node.output) if forward else (node.output, node.inputs[0])
            )
            if known in found:
                found.setdefault(other, found[known])
    return found


def with_kept_scales(graph: Graph, ranges: Mapping[str, TensorRange]) -> Mapping[str, TensorRange]:
    """Statistics whose exponents are those that the model had, where it had any."""
    if not graph.kept:
        return ranges
    found = dict(ranges)
    for name, exponent in kept_exponents(graph).items():
        reach = float(np.ldexp(_LEVELS, -exponent))
        known = ranges.get(name)
        if known is not None and not known.bounded:
            continue
        low = 0.0 if known is not None and known.low >= 0 else -reach
        channels = {} if known is None else known.channels
        found[name] = TensorRange(low, reach, channels=channels)
    return found


def kept_scheme(
    graph: Graph,
    assignment: Mapping[str, str],
    arithmetic: Computing | None = None,
    *,
    exact: bool,
) -> QuantizationScheme | None:
    """The scheme that changes no integer of a quantized model: weights have one scale where that
    holds all of them, else one per channel.

    Args:
        graph: Simplified.
        assignment: Unit of every node name.
        arithmetic: Of the NPUs; by default one of the usual kind.
        exact: Whether weights that no power of two holds are a reason to look for another scheme.

    Returns:
        ``None`` where a tensor that the unit reads or writes has no scale to keep.
    """
    if not graph.kept:
        return None
    cut = cut_over_units(graph, assignment, {}, arithmetic)
    graph = cut.graph
    skeleton = assemble(graph, cut.assignment, arithmetic)
    if not skeleton.calibrated or set(skeleton.calibrated) - set(kept_exponents(graph)):
        return None
    weights = [
        (step.weight, step.levels)
        for step in skeleton.steps
        if isinstance(step, ConvStep) and step.kind is ConvKind.WEIGHTS
    ]
    alike = all(_has_one_scale(weight, levels) for weight, levels in weights)
    apart = alike or all(
        _has_one_scale(channel, levels) for weight, levels in weights for channel in weight
    )
    if exact and not apart:
        return None
    granularity = Granularity.TENSOR if alike else Granularity.CHANNEL
    return QuantizationScheme(granularity=granularity, weight_range=RangeMethod.MAX)


def _has_one_scale(weight: Reals, levels: int) -> bool:
    exponent = fitting_exponent(largest_magnitude(weight), levels)
    integers = np.ldexp(weight.astype(np.float64), exponent)
    return bool((integers == np.rint(integers)).all())
