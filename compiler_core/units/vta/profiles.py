"""Where the time of VTA cores goes: the facet
:class:`~compiler_core.units.facets.profiles.Profiles`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from compiler_core.files.trace import TraceSlice
from compiler_core.units.facets.profiles import LaunchSlice, Roof, Spans
from compiler_core.units.vta.link.launch import VtaLaunch
from compiler_core.units.vta.link.launch_timing import time_launch
from compiler_core.units.vta.machine.hardware import TimingProfile, VtaCore
from compiler_core.units.vta.machine.isa import decode
from compiler_core.units.vta.merge.run import MergedRun, timed_run
from compiler_core.units.vta.simulate.timeline import TRACKS, timeline
from compiler_core.units.vta.simulate.timing_result import Actor, TimingResult

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

    def slices(self, launch: VtaLaunch, machine: VtaCore) -> Iterator[LaunchSlice]:
        if launch.run is not None:
            yield from _slices_of_layer(launch, launch.run, machine)
            return
        timing = time_launch(launch, machine, trace=True)
        for program, run in zip(launch.programs, timing.cores, strict=True):
            assert run.trace is not None
            for item in _timeline(program.instructions, run, machine):
                yield _launch_slice(program.core, item)

    def busy(self, launch: VtaLaunch, machine: VtaCore) -> dict[str, Spans]:
        if launch.run is not None:
            return _busy_of_layer(launch.run, launch.part, machine)
        found: dict[str, Spans] = {}
        timing = time_launch(launch, machine, trace=True)
        for actor, name in _MODULES:
            spans = []
            for run in timing.cores:
                trace = run.trace
                assert trace is not None
                mine = (trace.actor == actor) & (trace.start_cycle >= 0)
                spans.append(_spans(run, mine))
            found[name] = spans
        return found


PROFILES = VtaProfiles()

_FIRST = ("instruction", "before_instruction", "in_instruction", "first_instruction")
"""Arguments of slices that say which instruction one is of."""


def _timeline(
    instructions: npt.NDArray[np.uint8], run: TimingResult, machine: VtaCore
) -> Iterator[TraceSlice]:
    assert run.trace is not None
    return timeline(
        decode(instructions),
        run.trace,
        cycles=run.cycles,
        clock_hz=machine.clock_hz,
        fetch_batch_instructions=machine.timing.fetch_batch_instructions,
    )


def _launch_slice(core: int, item: TraceSlice) -> LaunchSlice:
    group = "read instructions" if item.name.startswith("read ") else item.name
    return LaunchSlice(core, item, group)


def _slices_of_layer(launch: VtaLaunch, run: MergedRun, machine: VtaCore) -> Iterator[LaunchSlice]:
    """What a layer's instructions do, from the start of its share: what was loaded ahead for it
    lies before that."""
    begun = round(timed_run(run, machine)[1][launch.part].start_cycle * 1e9 / machine.clock_hz)
    (core,) = launch.cores
    for item in _slices_by_layer(run, machine)[launch.part]:
        start, end = item.start_ns - begun, item.end_ns - begun
        yield _launch_slice(core, replace(item, start_ns=start, end_ns=end))


@lru_cache(maxsize=1)
def _slices_by_layer(run: MergedRun, machine: VtaCore) -> tuple[list[TraceSlice], ...]:
    """The timeline of a run from its launch, apart by layer."""
    found: tuple[list[TraceSlice], ...] = tuple([] for _ in range(len(run)))
    layers = run.layers.tolist()
    for item in _timeline(run.instructions, timed_run(run, machine)[0], machine):
        number = next(int(item.arguments[name]) for name in _FIRST if name in item.arguments)
        found[layers[number]].append(item)
    return found


def _busy_of_layer(run: MergedRun, part: int, machine: VtaCore) -> dict[str, Spans]:
    timing, shares = timed_run(run, machine)
    trace, begun = timing.trace, shares[part].start_cycle
    assert trace is not None
    mine = (run.layers == part) & (trace.start_cycle >= 0)
    found: dict[str, Spans] = {}
    for actor, name in _MODULES:
        first, last = _spans(timing, mine & (trace.actor == actor))
        found[name] = [(first - begun, last - begun)]
    return found


def _spans(
    run: TimingResult, mine: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """First and last cycles of some of a run's instructions."""
    trace = run.trace
    assert trace is not None
    last = np.where(trace.end_cycle[mine] < 0, run.cycles, trace.end_cycle[mine])
    return trace.start_cycle[mine].astype(np.float64), last.astype(np.float64)
