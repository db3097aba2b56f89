"""Number formats of a kind's own: the facet ``numbers``, which kinds have that run parts of models
in other numbers than integers. Such a part is nodes of the float graph; what their numbers are is
the kind's to say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.units.registry import unit_kind

Floats = npt.NDArray[np.float32]


class NumberRun(Protocol):
    """A part of a model in a unit's numbers, ready to run."""

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, Floats]:
        """Arrays by output name, of one run of the model; numbers of the unit are told in float32,
        which holds them exactly."""
        ...


@runtime_checkable
class Numbers(Protocol):
    """Nodes of float graphs in numbers of a kind's own."""

    def unsupported(self, graph: Graph, node: Node) -> str | None:
        """Why a part of a package cannot compute a node; ``None`` where it can."""
        ...

    def together(self, graph: Graph, nodes: Sequence[Node]) -> Iterable[Sequence[str]]:
        """Names of those among some nodes that are computed as one, in order: nobody else reads
        what is between them."""
        ...

    def untuned(self, graph: Graph, machine: Any) -> NumberRun:
        """Nodes in those numbers as untuned schedules sum them, before anything is compiled."""
        ...

    def reference(self, segment: Any, machine: Any) -> NumberRun:
        """What the programs of a segment have to give, computed without them."""
        ...


def numbers_of(kind: str) -> Numbers:
    """Number formats of a kind's own.

    Raises:
        InputError: It has none, or is not known.
    """
    found: Numbers = unit_kind(kind).facet("numbers", Numbers)
    return found
