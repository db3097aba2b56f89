"""How an operator is cut across cores, in configurations: the facet
:class:`~compiler_core.configuration.slicing.Slicings`."""

from __future__ import annotations

import re
from typing import Any

from compiler_core.errors import InputError
from compiler_core.files.plain import from_plain, refuse_unknown, to_plain
from compiler_core.units.vta.schedule.resident_schedule import ResidentSchedule
from compiler_core.units.vta.schedule.schedule import Schedule, schedule_kind
from compiler_core.units.vta.structure.sliced_schedule import SlicedSchedule
from compiler_core.units.vta.structure.slicing import SliceAxis

_CORE = re.compile(r"core-([0-9]|[1-9][0-9])")


class VtaSlicings:
    """See :class:`~compiler_core.configuration.slicing.Slicings`."""

    def document(self, slicing: SlicedSchedule) -> dict[str, Any]:
        cores = {f"core-{core}": to_plain(part) for core, part in enumerate(slicing.schedules)}
        return {"axis": slicing.axis.value, **cores}

    def read(self, value: Any, where: str) -> SlicedSchedule:
        if not isinstance(value, dict):
            raise InputError(f"{where}: no table of keys")
        cores = [key for key in value if _CORE.fullmatch(key)]
        refuse_unknown(value, ["axis", *cores], where)
        if sorted(cores) != sorted(f"core-{core}" for core in range(len(cores))) or not cores:
            seen = f"there are {', '.join(cores)}" if cores else "there is none of them"
            raise InputError(f"{where}: core-0, core-1, … are needed; {seen}")
        schedules = tuple(
            _schedule(value[f"core-{core}"], f"{where}.core-{core}") for core in range(len(cores))
        )
        if any(isinstance(schedule, ResidentSchedule) for schedule in schedules):
            raise InputError(f"{where}: slices are scheduled in tiles, not by loads and steps")
        return SlicedSchedule(from_plain(SliceAxis, value.get("axis"), f"{where}.axis"), schedules)


SLICINGS = VtaSlicings()


def _schedule(value: Any, where: str) -> Schedule:
    return from_plain(schedule_kind(value), value, where)
