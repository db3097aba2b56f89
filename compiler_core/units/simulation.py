"""Raw programs of a kind of unit, from a file to bits, cycles and counters: the facet
``simulation``, which kinds with a simulator of command streams have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from compiler_core.files.trace import TraceSlice
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import Machine


@dataclass(frozen=True)
class RefusedProgram:
    """Why a program has no result.

    Attributes:
        error_class: As the kind's verifier names it.
        message: The fault in one sentence.
        advice: What to change.
        instruction: Index in the stream; ``None`` where the whole program is meant.
    """

    error_class: str
    message: str
    advice: str
    instruction: int | None = None


@dataclass(frozen=True)
class CounterTable:
    """Counters of a run for people: a row per part of the unit.

    Attributes:
        title: Above the table.
        columns: Names, that of the parts first.
        rows: Name of a part, and its numbers.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, eq=False)
class SimulatedProgram:
    """What a program does, or why it is wrong.

    Attributes:
        instructions: Of the program.
        memory_bytes: Size of the memory that it works in.
        rules: Name of the timing rules.
        warnings: Remarks that do not make it wrong, one line each.
        refused: Why it is wrong; ``None`` for a right program, which has all that follows.
        cycles: From launch to end.
        memory: ``uint8[memory_bytes]`` afterwards, of kinds with one memory of bytes.
        arrays: What is written beside it, by name, of kinds with something else.
        summary: Size and use of the unit in one line.
        counters: What is counted, by name, as plain values; names are the kind's own.
        tables: The same for people.
        tracks: Names of the tracks of a timeline.
        slices: Makes the timeline, where one was asked for.
    """

    instructions: int
    memory_bytes: int
    rules: str
    warnings: tuple[str, ...] = ()
    refused: RefusedProgram | None = None
    cycles: int | None = None
    memory: npt.NDArray[np.uint8] | None = None
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    summary: str = ""
    counters: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[CounterTable, ...] = ()
    tracks: tuple[str, ...] = ()
    slices: Callable[[], Iterable[TraceSlice]] | None = None


@runtime_checkable
class Simulation(Protocol):
    """Runs raw programs.

    Attributes:
        profiles: Names of timing rules that can be used instead of a machine's own.
    """

    @property
    def profiles(self) -> tuple[str, ...]: ...

    def run(
        self,
        path: Path,
        machine: Any,
        *,
        profile: str | None = None,
        memory_bytes: int | None = None,
        trace: bool = False,
    ) -> SimulatedProgram:
        """Reads, verifies, executes and times a program of a file that anybody may have written.

        Args:
            path: Of the file.
            machine: What runs it.
            profile: One of :attr:`profiles`.
            memory_bytes: Size of the memory; else what the file says.
            trace: Whether a timeline is wanted.

        Raises:
            InputError: The file holds no program, or the machine cannot be simulated.
        """
        ...

    def cycles(self, instructions: Any, machine: Any) -> int:
        """Cycles of a program that was compiled, alone on a machine."""
        ...

    def check(self, machine: Any) -> str:
        """Runs a built-in program and compares it with what is right; says what was run.

        Raises:
            CheckError: Something is wrong.
        """
        ...


def simulation(machine: Machine) -> Simulation:
    """The simulator of a machine's kind.

    Raises:
        InputError: It has none.
    """
    found: Simulation = kind_of_machine(machine).facet("simulation", Simulation)
    return found
