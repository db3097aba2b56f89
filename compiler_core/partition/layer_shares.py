"""What layers of a placement take of the programs that they are in, where that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from compiler_core.targets.places import Placement


@dataclass(frozen=True)
class LayerShare:
    """What a layer takes of the program that it is in.

    Attributes:
        cycles: Of the unit.
        run_ps: The same as time.
        overhead_ps: CPU time of the launch; 0 where it continues another.
        energy_pj: Of its instructions.
        read_ppm, write_ppm: Share of the time in which it holds its memory's ports, in millionths.
        continues: Whether it continues the layer before.
    """

    cycles: int
    run_ps: int
    overhead_ps: int
    energy_pj: float
    read_ppm: int
    write_ppm: int
    continues: bool


class Overlaps(Protocol):
    """Links placements."""

    def __call__(
        self, placement: Placement, order: Sequence[int] = (), /
    ) -> Mapping[str, LayerShare]:
        """Shares of the layers of a placement, by the name of the launch, in the order of launches.

        Args:
            placement: Of the groups.
            order: Groups of highest priority first, where a plan says that.
        """
        ...
