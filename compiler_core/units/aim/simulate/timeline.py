"""The timeline of a program: a track per channel, a slice per command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from compiler_core.files.trace import TraceSlice
from compiler_core.units.aim.machine.machine import AimMachine, Command
from compiler_core.units.aim.machine.timing_rules import BANK_COMMANDS
from compiler_core.units.aim.program.instructions import Records
from compiler_core.units.aim.program.text import format_record
from compiler_core.units.aim.simulate.timing import TimingResult

_CATEGORY: Final = {
    Command.ACT: "row", Command.ACT16: "row", Command.PRE: "row", Command.PREA: "row",
    Command.TMOD: "mode", Command.MAC: "compute", Command.MAC16: "compute",
    Command.AF16: "compute", Command.EWMUL16: "compute",
}  # fmt: skip


def tracks(machine: AimMachine) -> tuple[str, ...]:
    """Names of the tracks."""
    return tuple(f"channel {number}" for number in range(machine.channels))


def timeline(records: Records, timing: TimingResult, machine: AimMachine) -> Iterator[TraceSlice]:
    """Slices of a program that was timed with its log.

    What keeps a channel from its next command lasts until then: a command ends where its channel
    issues the next one, or after the cycles that its name stands for.
    """
    ns = 1e9 / machine.clock_hz
    texts = [format_record(row) for row in records.tolist()]
    lengths = _lengths(machine)
    of_class: dict[int, list[int]] = {}
    for channel, number in enumerate(timing.requests.class_of.tolist()):
        of_class.setdefault(number, []).append(channel)
    log = timing.log.tolist()
    following: dict[int, int] = {}
    ends = [0] * len(log)
    for index in range(len(log) - 1, -1, -1):
        number, time, command = log[index][:3]
        ends[index] = min(following.get(number, timing.cycles), time + lengths[command])
        following[number] = time
    for (number, time, command, bank, instruction), end in zip(log, ends, strict=True):
        name = Command(command)
        arguments: dict[str, int | float | str] = {
            "instruction": instruction,
            "text": texts[instruction],
        }
        if name in BANK_COMMANDS and bank >= 0:
            arguments["bank"] = bank
        start_ns, end_ns = time * ns, max(end, time + 1) * ns
        for channel in of_class[number]:
            category = _CATEGORY.get(name, "data")
            yield TraceSlice(channel, name.name, category, start_ns, end_ns, arguments)


def _lengths(machine: AimMachine) -> list[int]:
    timing = machine.timing
    lengths = [timing.n_ccds] * len(Command)
    lengths[Command.ACT] = lengths[Command.ACT16] = timing.n_rcdrdmac
    lengths[Command.PRE] = lengths[Command.PREA] = timing.n_rp
    lengths[Command.TMOD] = timing.n_modch
    return lengths
