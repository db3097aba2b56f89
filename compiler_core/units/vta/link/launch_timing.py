"""Cycles of a launch, whether one core takes part or several."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.recent import Recent
from compiler_core.sums import float_sum
from compiler_core.units.vta.link.launch import VtaLaunch
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.simulate.alike import timed_words
from compiler_core.units.vta.simulate.multicore import time_programs
from compiler_core.units.vta.simulate.timing import time_program
from compiler_core.units.vta.simulate.timing_result import TimingResult


@dataclass(frozen=True)
class LaunchTiming:
    """A launch on its own: no other launch uses the port meanwhile.

    Attributes:
        cycles: From the launch to the last FINISH.
        cores: Each program's run, in the order of the launch's programs.
        read_cycles, write_cycles: How long either channel of the port is taken.
    """

    cycles: int
    cores: tuple[TimingResult, ...]
    read_cycles: int
    write_cycles: int

    @property
    def energy_pj(self) -> float:
        """Of all programs."""
        return float_sum(core.energy_pj or 0.0 for core in self.cores)


def time_launch(launch: VtaLaunch, core: VtaCore, *, trace: bool = False) -> LaunchTiming:
    """Times the programs of a launch side by side on the port that they share.

    Args:
        launch: Verified programs.
        core: One of the cores.
        trace: Whether to return start and end of each instruction.
    """
    streams = [program.instructions for program in launch.programs]
    if len(streams) == 1:
        alone = _alone(streams[0], core, trace=trace)
        traffic = alone.traffic
        return LaunchTiming(alone.cycles, (alone,), traffic.read_beats, traffic.write_beats)
    run = time_programs(streams, core.timing, core.geometry, core.energy, trace=trace)
    return LaunchTiming(run.cycles, run.cores, run.port.read_cycles, run.port.write_cycles)


_KNOWN: Recent[TimingResult] = Recent(1 << 20)
"""By instructions, as many as are held: layers recur in a model, and in its plans."""


def _alone(stream: npt.NDArray[np.uint8], core: VtaCore, *, trace: bool) -> TimingResult:
    """The timing of one program; without a trace, of programs alike only once."""
    if trace:
        return time_program(stream, core.timing, core.geometry, core.energy, trace=True)
    key = core, timed_words(stream, core.timing).tobytes()
    found = _KNOWN.get(key)
    if found is None:
        found = time_program(stream, core.timing, core.geometry, core.energy)
        _KNOWN.keep(key, found, len(stream))
    return found
