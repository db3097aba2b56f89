"""Where the time of AiM units goes: the facet
:class:`~compiler_core.units.facets.profiles.Profiles`. A unit's timeline has a track per channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np

from compiler_core.files.trace import TraceSlice
from compiler_core.units.aim.machine.machine import BANKS, BLOCK_BYTES, LANES, AimMachine
from compiler_core.units.aim.model.segment import AimLaunch
from compiler_core.units.aim.program.instructions import Program
from compiler_core.units.aim.simulate.timeline import timeline, tracks
from compiler_core.units.aim.simulate.timing import time_program
from compiler_core.units.facets.profiles import LaunchSlice, Roof, Spans

_MODULES: Final = {"compute": "multiply", "row": "rows", "data": "transfers", "mode": "modes"}
"""Names of what channels are busy with, by category of their commands."""


class AimProfiles:
    """See :class:`~compiler_core.units.facets.profiles.Profiles`."""

    def roof(self, machine: AimMachine) -> Roof:
        # A column of all banks, or a block of every channel's buffer or accumulators, at a time.
        column = machine.timing.n_ccds
        return Roof(
            machine.channels * BANKS * LANES / column,
            machine.channels * BLOCK_BYTES / column,
            ("results",),
            is_duplex=False,
            arithmetic="multiply",
        )

    def tracks(self, machine: AimMachine) -> tuple[str, ...]:
        return tracks(machine)

    def slices(self, launch: AimLaunch, machine: AimMachine) -> Iterator[LaunchSlice]:
        for item in _slices(launch.programs, machine):
            yield LaunchSlice(launch.core, item, item.name)

    def busy(self, launch: AimLaunch, machine: AimMachine) -> dict[str, Spans]:
        """Of the channel with most to do."""
        cycle_ns = 1e9 / machine.clock_hz
        by_channel: dict[int, list[TraceSlice]] = {}
        for item in _slices(launch.programs, machine):
            by_channel.setdefault(item.track, []).append(item)
        busiest = max(by_channel.values(), key=len, default=[])
        found: dict[str, Spans] = {}
        for category, name in _MODULES.items():
            own = [item for item in busiest if item.category == category]
            starts = np.array([item.start_ns / cycle_ns for item in own], np.float64)
            ends = np.array([item.end_ns / cycle_ns for item in own], np.float64)
            found[name] = [(starts, ends)]
        return found


PROFILES = AimProfiles()


@lru_cache(maxsize=4)
def _slices(programs: tuple[Program, ...], machine: AimMachine) -> tuple[TraceSlice, ...]:
    """The timeline of programs that run one after another; launches of a product share it."""
    found: list[TraceSlice] = []
    begun_ns = 0.0
    for program in programs:
        timing = time_program(program.records, machine, log=True)
        found += (
            replace(item, start_ns=begun_ns + item.start_ns, end_ns=begun_ns + item.end_ns)
            for item in timeline(program.records, timing, machine)
        )
        begun_ns += timing.cycles * 1e9 / machine.clock_hz
    return tuple(found)
