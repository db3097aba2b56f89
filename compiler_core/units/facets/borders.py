"""How a layer begins that continues the program of the one before: the facet ``borders``, which
kinds have whose programs hold several layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Borders(Protocol):
    """What there is to decide where layers follow one another.

    Attributes:
        choices: Ways to begin that are worth trying, as
            :class:`~compiler_core.units.facets.programs.LinkRequest` takes them, by a short text.
    """

    choices: Mapping[str, Mapping[str, int]]

    def room_cycles(self, launch: Any, machine: Any) -> int:
        """How many cycles sooner a layer and the one before could be over at most, however it
        begins; 0 for one that continues none. An estimate: what is loaded ahead of both counts as
        if it came in their time. All borders of a program together never save more than its cycles
        but those of its busiest part, which no layer's room exceeds.
        """
        ...
