"""What the CPU computes on the integers of the unit beside it, without bringing them into float32:
the facet ``integers`` of the kind that launches the others.

The bits of every such operator, or of several that are one loop, are one rule: each input is
``integer * 2**-exponent``, what is computed from them is the operator's own definition in float32,
and each result becomes ``clip(round_half_even(real * 2**exponent), -128, 127)``.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol, runtime_checkable

from compiler_core.graph.ir import Graph, Node
from compiler_core.units.registry import host_kind


class HostTrait(Enum):
    """What an operator does with integers."""

    POINTWISE = "pointwise"
    """Each result follows from the elements in its place: several of them are one loop, and with
    one input a table of 256 entries."""
    MOVES = "moves"
    """Results are elements of the inputs, or zeros."""
    REDUCES = "reduces"
    """One result per row of elements, with the rows' axes kept: what is computed from the elements
    and from these results is one loop, as in a normalization."""
    NORMALIZES = "normalizes"
    """A loop over rows that takes in what is computed from their elements before it, and nothing
    behind it."""
    COMPUTES = "computes"
    """A loop of its own, real numbers in its registers."""


@runtime_checkable
class HostArithmetic(Protocol):
    """Operators that the CPU runs on integers."""

    def trait(self, graph: Graph, node: Node) -> HostTrait | str:
        """What a node does with integers, or why it needs real numbers."""
        ...


def host_arithmetic() -> HostArithmetic:
    """That of the kind that every target has."""
    found: HostArithmetic = host_kind().facet("integers", HostArithmetic)
    return found
