"""How good a quantized graph is where units compute behind a selection, too.

An output behind a selection is judged by what the selection reads, because noise changes what is
selected. What units compute behind it, as experts behind a router or the second stage of a detector
do, would go unseen by that. Its damage is measured apart: all that lies before stays in float, so
that the same is selected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from compiler_core.graph.ir import Graph
from compiler_core.graph.macs import float_macs
from compiler_core.quantize.assemble import CPU
from compiler_core.quantize.quality import OutputQuality
from compiler_core.quantize.selections import nodes_behind

Q = TypeVar("Q")
Measured = TypeVar("Measured", contravariant=True)


class Meter(Protocol[Measured]):
    """Measures a quantized graph, or one for every part of the samples."""

    def measure(self, quantized: Measured, /) -> tuple[OutputQuality, ...]:
        """Quality of every output."""


def measure_plan(
    meter: Meter[Q],
    graph: Graph,
    assignment: Mapping[str, str],
    applied: Callable[[Mapping[str, str]], Q],
    quantized: Q | None = None,
) -> tuple[OutputQuality, ...]:
    """Quality of every output; of those behind a selection what is lost behind it, too.

    Args:
        meter: Of ``graph``.
        graph: The float graph, simplified.
        assignment: Unit per node.
        applied: Quantizes under a plan.
        quantized: What that gives for ``assignment``, where it is known.

    Raises:
        InputError: As the meter, or a plan cannot be quantized.
    """
    found = meter.measure(applied(assignment) if quantized is None else quantized)
    if not any(item.before for item in found):
        return found
    behind = nodes_behind(graph)
    if not any(
        assignment.get(node.name, CPU) != CPU and float_macs(graph, node)
        for node in graph.nodes
        if node.name in behind
    ):
        return found
    own = {name: unit if name in behind else CPU for name, unit in assignment.items()}
    return tuple(_joined(found, meter.measure(applied(own))))


def _joined(
    found: Sequence[OutputQuality], behind: Sequence[OutputQuality]
) -> Sequence[OutputQuality]:
    alone = {item.output: replace(item, before=()) for item in behind}
    return [
        replace(item, before=(*item.before, alone[item.output]))
        if item.before and item.output in alone
        else item
        for item in found
    ]
