"""Which integers the VTA computes: one small rule per limit, whose docstring is its message."""

from __future__ import annotations

from collections.abc import Callable

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.windows import window_of
from compiler_core.quantize.scheme import QuantizationScheme, Scales

Rule = Callable[[Graph, Node, QuantizationScheme], str | None]


def zero_points_are_zero_under_padding(
    graph: Graph, node: Node, scheme: QuantizationScheme
) -> str | None:
    """Padding adds the integer 0, so a padded window needs the zero point 0."""
    if scheme.scales is not Scales.ASYMMETRIC or node.op not in ("Conv", "AveragePool", "Pad"):
        return None
    if node.op == "Pad":
        return "asymmetric scales and padding"
    window = window_of(graph, node)
    return f"asymmetric scales and padding {window.pads}" if window and any(window.pads) else None


def zero_points_are_zero(_graph: Graph, _node: Node, scheme: QuantizationScheme) -> str | None:
    """Products are of int8 integers as they stand in memory; no zero point is subtracted."""
    return "asymmetric scales" if scheme.scales is Scales.ASYMMETRIC else None


def integers_are_signed(_graph: Graph, _node: Node, scheme: QuantizationScheme) -> str | None:
    """Activations are int8; uint8 does not exist."""
    return "uint8 activations" if scheme.scales is Scales.SYMMETRIC_UINT8 else None


def scales_are_powers_of_two(_graph: Graph, _node: Node, scheme: QuantizationScheme) -> str | None:
    """Requantization is a right shift, so every scale has to be a power of two."""
    return None if scheme.scales is Scales.POWER_OF_TWO else f"{scheme.scales.value} scales"


RULES: tuple[Rule, ...] = (
    zero_points_are_zero_under_padding,
    zero_points_are_zero,
    integers_are_signed,
    scales_are_powers_of_two,
)


def unsupported_scheme(graph: Graph, node: Node, scheme: QuantizationScheme) -> str | None:
    """Why the VTA cannot run ``node``, which it supports, under ``scheme``; ``None`` if it can."""
    for rule in RULES:
        seen = rule(graph, node, scheme)
        if seen is not None:
            return f"{rule.__doc__} Seen: {seen}."
    return None
