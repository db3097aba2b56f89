"""Raw VTA programs: the facet :class:`~compiler_core.units.simulation.Simulation`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import CheckError
from compiler_core.files.trace import TraceSlice
from compiler_core.units.simulation import CounterTable, RefusedProgram, SimulatedProgram
from compiler_core.units.vta.machine.hardware import TimingProfile, VtaCore
from compiler_core.units.vta.machine.isa import decode
from compiler_core.units.vta.machine.profiles import PROFILES
from compiler_core.units.vta.machine.program_file import ProgramFile, read_program_file
from compiler_core.units.vta.machine.sample_program import sample_program
from compiler_core.units.vta.simulate.timeline import TRACKS, timeline
from compiler_core.units.vta.simulate.timing import time_program
from compiler_core.units.vta.simulate.timing_result import TimingResult
from compiler_core.units.vta.tool.advice import ADVICE
from compiler_core.units.vta.tool.simulate import simulate

_ACTORS = ("fetch", "load", "compute", "store")
_MEMORIES = ("uop", "inp", "wgt", "acc", "out", "fetch")
_CAUSES = ("token", "port", "fetch", "queue")


class VtaSimulation:
    """See :class:`~compiler_core.units.simulation.Simulation`."""

    profiles = tuple(profile.value for profile in TimingProfile)

    def run(
        self,
        path: Path,
        machine: VtaCore,
        *,
        profile: str | None = None,
        memory_bytes: int | None = None,
        trace: bool = False,
    ) -> SimulatedProgram:
        chosen = None if profile is None else TimingProfile(profile)
        source = read_program_file(path, dram_size=memory_bytes)
        result = simulate(source, machine, profile=chosen, trace=trace)
        count, size = len(source.instructions), source.dram_size
        rules = (chosen or machine.timing.profile).value
        if result.error is not None:
            fault = result.error
            refused = RefusedProgram(
                fault.error_class, fault.message, ADVICE[fault.error_class], fault.instruction
            )
            return SimulatedProgram(count, size, rules, result.warnings, refused)
        timing = result.timing
        assert timing is not None
        return SimulatedProgram(
            count,
            size,
            rules,
            result.warnings,
            cycles=timing.cycles,
            memory=result.dram,
            summary=_summary(count, timing),
            counters=_counters(timing),
            tables=(_modules(timing), _traffic(timing)),
            tracks=TRACKS,
            slices=partial(_slices, source, machine, chosen, timing) if trace else None,
        )

    def cycles(self, instructions: npt.NDArray[Any], machine: VtaCore) -> int:
        return time_program(instructions, machine.timing, machine.geometry).cycles

    def check(self, machine: VtaCore) -> str:
        arrays = sample_program()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sample.npz"
            np.savez(path, allow_pickle=False, **arrays)
            program = read_program_file(path)
        result = simulate(program, machine)
        if result.error is not None:
            raise CheckError(f"the built-in program is refused: {result.error.message}")
        assert result.dram is not None
        start, length = int(arrays["post_addr"][0]), int(arrays["post_len"][0])
        if not np.array_equal(result.dram[start : start + length], arrays["post_data"]):
            raise CheckError("the built-in program gives wrong bytes")
        return f"built-in 3x3 convolution: bytes equal to NumPy, {result.cycles:,} cycles"


SIMULATION = VtaSimulation()


def _slices(
    source: ProgramFile, machine: VtaCore, profile: TimingProfile | None, timing: TimingResult
) -> Iterable[TraceSlice]:
    assert timing.trace is not None
    rules = machine.timing if profile is None else PROFILES[profile]
    return timeline(
        decode(source.instructions),
        timing.trace,
        cycles=timing.cycles,
        clock_hz=machine.clock_hz,
        fetch_batch_instructions=rules.fetch_batch_instructions,
    )


def _summary(instructions: int, timing: TimingResult) -> str:
    line = f"{instructions} instructions, GEMM unit {100 * timing.mac_utilization:.1f} % used"
    if timing.energy_pj is not None:
        line += f", {timing.energy_pj * 1e-6:.3f} µJ"
    return line


def _counters(timing: TimingResult) -> dict[str, Any]:
    energy = timing.energy
    return {
        "mac_utilization": timing.mac_utilization,
        "energy_mj": None if energy is None else energy.total_pj * 1e-9,
        "energy_pj": None if energy is None else asdict(energy),
        "modules": {name: asdict(getattr(timing, name)) for name in _ACTORS},
        "traffic": {name: asdict(getattr(timing.traffic, name)) for name in _MEMORIES},
        "micro_ops": asdict(timing.micro_ops),
    }


def _modules(timing: TimingResult) -> CounterTable:
    rows = []
    for name in _ACTORS:
        activity = getattr(timing, name)
        stalls = tuple(getattr(activity, f"{cause}_stall_cycles") for cause in _CAUSES)
        rows.append((name, (activity.busy_cycles, *stalls, activity.idle_cycles)))
    columns = ("module", "busy", *_CAUSES, "idle")
    return CounterTable("cycles per module", columns, tuple(rows))


def _traffic(timing: TimingResult) -> CounterTable:
    moved = [(name, getattr(timing.traffic, name)) for name in _MEMORIES]
    rows = tuple((name, (t.data_bytes, t.bursts, t.beats)) for name, t in moved)
    return CounterTable("traffic", ("memory", "bytes", "bursts", "beats"), rows)
