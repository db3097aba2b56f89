"""``nest-tune simulate``: one raw command stream, its bytes and its cycles."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.errors import InputError
from compiler_core.files.whole_file import require_writable, write_atomically
from nest_tune.cli.options import AsJson, TargetName, UnitName
from nest_tune.cli.output import ExitCode, console, print_json, say
from nest_tune.cli.tables import print_table

if TYPE_CHECKING:
    from compiler_core.targets.target import Target
    from compiler_core.units.simulation import SimulatedProgram, Simulation
    from compiler_core.units.unit import Machine

EXAMPLE = "Example: nest-tune simulate conv.npz --target vta --trace t.json"


def _parse_bytes(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no number of bytes; allowed are 65536 or 0x10000, without a unit"
        ) from error


def simulate(
    program: Annotated[
        Path, typer.Argument(metavar="PROGRAM.npz", help="Program in a file format of the unit.")
    ],
    target: TargetName,
    unit: UnitName = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="RULES",
            help="Use these timing rules and element widths, measured on RTL, instead.",
        ),
    ] = None,
    outputs: Annotated[
        Path | None, typer.Option(metavar="after.npz", help="Write the memory afterwards.")
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
    """Run a raw program of a target's unit: bytes, cycles and counters.

    A wrong program gives the class of its error and exit code 1.
    """
    _require_distinct(program, outputs, trace)
    require_writable(outputs, "--outputs")
    require_writable(trace, "--trace")

    from compiler_core.targets.load import load_npu_target
    from compiler_core.units.simulation import simulation

    chip = load_npu_target(target)
    machine = chip.npu if unit is None else chip.unit(unit).machine
    simulator = simulation(machine)
    _require_profile(profile, simulator)
    result = simulator.run(
        program, machine, profile=profile, memory_bytes=dram_size, trace=trace is not None
    )
    if result.refused is None:
        # Results are printed last: a file that cannot be written is the one error then.
        if outputs is not None:
            _write_memory(outputs, result)
        if trace is not None:
            _write_timeline(trace, program, chip, result)
    if as_json:
        print_json("simulate", _document(program, chip, machine, profile, result))
    for warning in result.warnings:
        say(f"warning: {program}: {warning}", aside=True)
    if result.refused is not None:
        fault = result.refused
        where = "" if fault.instruction is None else f"instruction {fault.instruction}: "
        say(f"error: {program}: {fault.error_class}: {where}{fault.message}", aside=True)
        print(f"hint: {fault.advice}", file=sys.stderr)
        raise typer.Exit(ExitCode.FAILED)
    if not as_json:
        _print_summary(program, chip, machine, result)


def _require_profile(profile: str | None, simulator: Simulation) -> None:
    if profile is not None and profile not in simulator.profiles:
        known = ", ".join(simulator.profiles) or "none"
        raise InputError(f"--profile {profile!r}: no timing rules of that name; known are {known}")


def _require_distinct(program: Path, outputs: Path | None, trace: Path | None) -> None:
    taken = {os.path.realpath(program): "PROGRAM"}
    for option, path in (("--outputs", outputs), ("--trace", trace)):
        if path is not None:
            other = taken.setdefault(os.path.realpath(path), option)
            if other != option:
                raise InputError(f"{option} {path}: is the same file as {other}")


def _write_memory(path: Path, result: SimulatedProgram) -> None:
    import numpy as np

    def write(stream: IO[bytes]) -> None:
        arrays = dict(result.arrays)
        if result.memory is not None:
            arrays["dram"] = result.memory
        np.savez_compressed(stream, allow_pickle=False, **arrays)

    write_atomically(path, write)


def _write_timeline(path: Path, program: Path, chip: Target, result: SimulatedProgram) -> None:
    from compiler_core.files.trace import write_trace

    assert result.slices is not None
    title, slices = f"{program.name} on {chip.name}", result.slices()
    write_atomically(path, lambda stream: write_trace(stream, title, result.tracks, slices))


def _document(
    program: Path,
    chip: Target,
    machine: Machine,
    profile: str | None,
    result: SimulatedProgram,
) -> dict[str, Any]:
    fault = result.refused
    document: dict[str, Any] = {
        "program": str(program),
        "target": chip.name,
        "target_digest": chip.digest,
        "profile": result.rules,
        "profile_overrides_target": profile is not None,
        "instructions": result.instructions,
        "dram_size_bytes": result.memory_bytes,
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
    if result.cycles is None:
        return document
    clock_hz = machine.clock_hz
    time = {"clock_hz": clock_hz, "time_ms": result.cycles / clock_hz * 1e3}
    return document | time | dict(result.counters)


def _print_summary(program: Path, chip: Target, machine: Machine, result: SimulatedProgram) -> None:
    from rich.table import Table

    assert result.cycles is not None
    out = console()
    milliseconds = result.cycles / machine.clock_hz * 1e3
    out.print(
        f"{program}: {result.cycles:,} cycles, {milliseconds:.3f} ms at "
        f"{machine.clock_hz / 1e6:g} MHz ({chip.name}, {result.rules} rules)",
    )
    out.print(result.summary)
    for counters in result.tables:
        table = Table(counters.columns[0], box=None, title=counters.title, title_justify="left")
        for column in counters.columns[1:]:
            table.add_column(column, justify="right")
        for name, numbers in counters.rows:
            table.add_row(name, *(f"{number:,}" for number in numbers))
        print_table(table, out=out)
