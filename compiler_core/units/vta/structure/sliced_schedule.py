"""How one operator is cut across cores: the axis and a schedule per slice."""

from __future__ import annotations

from dataclasses import dataclass

from compiler_core.tensor.digest import digest
from compiler_core.units.vta.schedule.schedule import Schedule
from compiler_core.units.vta.structure.slicing import SliceAxis


@dataclass(frozen=True)
class SlicedSchedule:
    """Tiling decisions of an operator on several cores.

    Attributes:
        axis: Along which axis of its output it is cut.
        schedules: One per slice, in order; slice ``k`` runs on core ``k``.
    """

    axis: SliceAxis
    schedules: tuple[Schedule, ...]

    @property
    def digest(self) -> str:
        """Equal for equal decisions."""
        return digest((self.axis.value, tuple(part.digest for part in self.schedules)))
