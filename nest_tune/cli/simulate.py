"""``nest-tune simulate``: one raw command stream, its bytes and its cycles."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.errors import InputError
from compiler_core.files.whole_file import require_writable, write_atomically
from nest_tune.cli.options import AsJson, TargetName
from nest_tune.cli.output import ExitCode, console, print_json, say

if TYPE_CHECKING:
    from compiler_core.targets.target import Target
    from compiler_core.units.vta.machine.program_file import ProgramFile
    from compiler_core.units.vta.simulate.timing_result import TimingResult
    from compiler_core.units.vta.tool.simulate import SimulationResult

EXAMPLE = "Example: nest-tune simulate conv.npz --target vta --trace t.json"

ACTORS = ("fetch", "load", "compute", "store")
MEMORIES = ("uop", "inp", "wgt", "acc", "out", "fetch")


class Profile(Enum):
    """Timing rules measured on RTL, to be used instead of the target's."""

    RTL2020 = "rtl2020"
    RTL_PIPELINED = "rtl-pipelined"


def _parse_bytes(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no number of bytes; allowed are 65536 or 0x10000, without a unit"
        ) from error


def simulate(
    program: Annotated[
        Path, typer.Argument(metavar="PROGRAM.npz", help="Program in the vector file format.")
    ],
    target: TargetName,
    profile: Annotated[
        Profile | None,
        typer.Option(help="Use the timing rules and element widths measured on this RTL instead."),
    ] = None,
    outputs: Annotated[
        Path | None, typer.Option(metavar="after.npz", help="Write DRAM after FINISH.")
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="trace.json", help="Write a timeline that opens in Perfetto."),
    ] = None,
    dram_size: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES",
            parser=_parse_bytes,
            help="Size of DRAM, such as 65536 or 0x10000; else from manifest.json or regions.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a raw VTA program: bytes, cycles and counters.

    A wrong program gives the class of its error and exit code 1.
    """
    _require_distinct(program, outputs, trace)
    require_writable(outputs, "--outputs")
    require_writable(trace, "--trace")

    from compiler_core.targets.load import load_npu_target
    from compiler_core.units.vta.machine.hardware import TimingProfile
    from compiler_core.units.vta.machine.program_file import read_program_file
    from compiler_core.units.vta.tool.advice import ADVICE
    from compiler_core.units.vta.tool.simulate import simulate as run

    chip = load_npu_target(target)
    chosen = TimingProfile(profile.value) if profile is not None else None
    source = read_program_file(program, dram_size=dram_size)
    result = run(source, chip.npu, profile=chosen, trace=trace is not None)
    if result.error is None:
        # Results are printed last: a file that cannot be written is the one error then.
        if outputs is not None:
            _write_dram(outputs, result)
        if trace is not None:
            _write_timeline(trace, source, chip, chosen, result)
    if as_json:
        print_json("simulate", _document(source, chip, chosen, result))
    for warning in result.warnings:
        say(f"warning: {program}: {warning}", aside=True)
    if result.error is not None:
        fault = result.error
        where = "" if fault.instruction is None else f"instruction {fault.instruction}: "
        say(f"error: {program}: {fault.error_class}: {where}{fault.message}", aside=True)
        print(f"hint: {ADVICE[fault.error_class]}", file=sys.stderr)
        raise typer.Exit(ExitCode.FAILED)
    if not as_json and result.timing is not None:
        rules = chosen or chip.npu.timing.profile
        _print_summary(source, chip, rules.value, result.timing)


def _require_distinct(program: Path, outputs: Path | None, trace: Path | None) -> None:
    taken = {os.path.realpath(program): "PROGRAM"}
    for option, path in (("--outputs", outputs), ("--trace", trace)):
        if path is not None:
            other = taken.setdefault(os.path.realpath(path), option)
            if other != option:
                raise InputError(f"{option} {path}: is the same file as {other}")


def _write_dram(path: Path, result: SimulationResult) -> None:
    import numpy as np

    def write(stream: IO[bytes]) -> None:
        assert result.dram is not None
        np.savez_compressed(stream, allow_pickle=False, dram=result.dram)

    write_atomically(path, write)


def _write_timeline(
    path: Path, source: ProgramFile, chip: Target, profile: Any, result: SimulationResult
) -> None:
    from compiler_core.files.trace import write_trace
    from compiler_core.units.vta.machine.isa import decode
    from compiler_core.units.vta.machine.profiles import PROFILES
    from compiler_core.units.vta.simulate.timeline import TRACKS, timeline

    timing = result.timing
    assert timing is not None
    assert timing.trace is not None
    rules = chip.npu.timing if profile is None else PROFILES[profile]
    slices = timeline(
        decode(source.instructions),
        timing.trace,
        cycles=timing.cycles,
        clock_hz=chip.npu.clock_hz,
        fetch_batch_instructions=rules.fetch_batch_instructions,
    )
    title = f"{source.path.name} on {chip.name}"
    write_atomically(path, lambda stream: write_trace(stream, title, TRACKS, slices))


def _document(
    source: ProgramFile, chip: Target, profile: Any, result: SimulationResult
) -> dict[str, Any]:
    fault, timing = result.error, result.timing
    document: dict[str, Any] = {
        "program": str(source.path),
        "target": chip.name,
        "target_digest": chip.digest,
        "profile": (profile or chip.npu.timing.profile).value,
        "profile_overrides_target": profile is not None,
        "instructions": len(source.instructions),
        "dram_size_bytes": source.dram_size,
        "cycles": result.cycles,
        "error": None
        if fault is None
        else {
            "class": fault.error_class,
            "message": fault.message,
            "instruction": fault.instruction,
        },
        "warnings": list(result.warnings),
    }
    if timing is None:
        return document
    energy = timing.energy
    return document | {
        "clock_hz": chip.npu.clock_hz,
        "time_ms": timing.cycles / chip.npu.clock_hz * 1e3,
        "mac_utilization": timing.mac_utilization,
        "energy_mj": None if energy is None else energy.total_pj * 1e-9,
        "energy_pj": None if energy is None else asdict(energy),
        "modules": {name: asdict(getattr(timing, name)) for name in ACTORS},
        "traffic": {name: asdict(getattr(timing.traffic, name)) for name in MEMORIES},
        "micro_ops": asdict(timing.micro_ops),
    }


def _print_summary(source: ProgramFile, chip: Target, rules: str, timing: TimingResult) -> None:
    from rich.table import Table

    out = console()
    milliseconds = timing.cycles / chip.npu.clock_hz * 1e3
    out.print(
        f"{source.path}: {timing.cycles:,} cycles, {milliseconds:.3f} ms at "
        f"{chip.npu.clock_hz / 1e6:g} MHz ({chip.name}, {rules} rules)",
    )
    line = f"{len(source.instructions)} instructions, GEMM unit {timing.mac_utilization:.1%} used"
    if timing.energy_pj is not None:
        line += f", {timing.energy_pj * 1e-6:.3f} µJ"
    out.print(line)
    columns = ("module", "busy", "token", "port", "fetch", "queue", "idle")
    modules = Table(*columns[:1], box=None, title="cycles per module", title_justify="left")
    for column in columns[1:]:
        modules.add_column(column, justify="right")
    for name in ACTORS:
        activity = getattr(timing, name)
        modules.add_row(
            name,
            f"{activity.busy_cycles:,}",
            f"{activity.token_stall_cycles:,}",
            f"{activity.port_stall_cycles:,}",
            f"{activity.fetch_stall_cycles:,}",
            f"{activity.queue_stall_cycles:,}",
            f"{activity.idle_cycles:,}",
        )
    memories = Table("memory", box=None, title="traffic", title_justify="left")
    for column in ("bytes", "bursts", "beats"):
        memories.add_column(column, justify="right")
    for name in MEMORIES:
        traffic = getattr(timing.traffic, name)
        memories.add_row(
            name, f"{traffic.data_bytes:,}", f"{traffic.bursts:,}", f"{traffic.beats:,}"
        )
    out.print(modules)
    out.print(memories)
