"""Where the time of VTA cores goes: the facet
:class:`~compiler_core.units.facets.profiles.Profiles`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from compiler_core.units.facets.profiles import LaunchSlice, Roof, Spans
from compiler_core.units.vta.link.launch_timing import time_launch
from compiler_core.units.vta.link.linker import Launch
from compiler_core.units.vta.machine.hardware import TimingProfile, VtaCore
from compiler_core.units.vta.machine.isa import decode
from compiler_core.units.vta.simulate.timeline import TRACKS, timeline
from compiler_core.units.vta.simulate.timing_result import Actor

_MODULES = ((Actor.LOAD, "load"), (Actor.COMPUTE, "compute"), (Actor.STORE, "store"))


class VtaProfiles:
    """See :class:`~compiler_core.units.facets.profiles.Profiles`."""

    def roof(self, machine: VtaCore) -> Roof:
        geometry, timing = machine.geometry, machine.timing
        return Roof(
            float(geometry.batch * geometry.block_in * geometry.block_out),
            float(timing.port_bytes),
            ("out",),
            is_duplex=timing.profile is not TimingProfile.RTL2020,
            arithmetic="compute",
        )

    def tracks(self, machine: VtaCore) -> tuple[str, ...]:
        del machine  # all have the same modules
        return TRACKS

    def slices(self, launch: Launch, machine: VtaCore) -> Iterator[LaunchSlice]:
        timing = time_launch(launch, machine, trace=True)
        for program, run in zip(launch.programs, timing.cores, strict=True):
            assert run.trace is not None
            for item in timeline(
                decode(program.instructions),
                run.trace,
                cycles=run.cycles,
                clock_hz=machine.clock_hz,
                fetch_batch_instructions=machine.timing.fetch_batch_instructions,
            ):
                fetches = item.name.startswith("read ")
                yield LaunchSlice(program.core, item, "read instructions" if fetches else item.name)

    def busy(self, launch: Launch, machine: VtaCore) -> dict[str, Spans]:
        found: dict[str, Spans] = {}
        timing = time_launch(launch, machine, trace=True)
        for actor, name in _MODULES:
            spans = []
            for run in timing.cores:
                trace = run.trace
                assert trace is not None
                mine = (trace.actor == actor) & (trace.start_cycle >= 0)
                last = np.where(trace.end_cycle[mine] < 0, run.cycles, trace.end_cycle[mine])
                spans.append((trace.start_cycle[mine].astype(np.float64), last.astype(np.float64)))
            found[name] = spans
        return found


PROFILES = VtaProfiles()
