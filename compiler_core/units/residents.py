"""States of a model that stay in a unit's memory from run to run: the facet ``residents``, which
kinds have whose memory computes. A cache that one run hands out and the next one takes crosses
nowhere then; only what a run adds to it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from compiler_core.graph.ir import Graph
from compiler_core.units.registry import unit_kind


@dataclass(frozen=True)
class Resident:
    """A state and the nodes that update and read it, which are placed together.

    Attributes:
        nodes: Names, in order; nobody but the last one's readers reads what they compute.
        past, present: Input and output of the model that hold it. A caller hands back what it got:
            what else it hands in is taken all the same, and costs more than plans say.
        unit: Name of the unit; empty where the kind alone is asked.
    """

    nodes: tuple[str, ...]
    past: str
    present: str
    unit: str = ""


@runtime_checkable
class Residents(Protocol):
    """Which states stay."""

    def residents(self, graph: Graph) -> Sequence[Resident]:
        """The states of a model, or of a part of one, that stay in the memory of a unit that runs
        their nodes; no two share a node."""
        ...


def residents_of(kind: str, graph: Graph) -> Sequence[Resident]:
    """The states that stay with a kind of units; none where it says nothing of them.

    Raises:
        InputError: The kind is not known.
    """
    own = unit_kind(kind)
    if not own.has("residents"):
        return ()
    found: Residents = own.facet("residents", Residents)
    return found.residents(graph)
