"""Programs that no space holds, spelled out step by step: the facet ``program_search``, which some
kinds have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import Machine, TaskSchedule
from compiler_core.units.violation import Violation
from nest_tune.tuning.measure import Measurement
from nest_tune.tuning.steps import Steps


@dataclass(frozen=True)
class FoundProgram:
    """What a search of programs found so far.

    Attributes:
        best: The program, as a schedule.
        measured: What it takes.
        programs: Programs that were timed.
    """

    best: Any
    measured: Measurement
    programs: int

    @property
    def cycles(self) -> int:
        """Cycles of the best program."""
        assert self.measured.cycles is not None
        return self.measured.cycles


@runtime_checkable
class ProgramSearch(Protocol):
    """Searches programs beyond those that a task's space holds."""

    def obstacles(self, workload: Any, machine: Any) -> tuple[Violation, ...]:
        """Why a workload has no such programs; empty where it has."""
        ...

    def search(
        self,
        workload: Any,
        machine: Any,
        *,
        programs: int,
        seed: int = 0,
        known: Iterable[Any] = (),
        end: float | None = None,
        progress: Callable[[FoundProgram], None] | None = None,
    ) -> FoundProgram:
        """Searches.

        Args:
            workload: What to compute.
            machine: Where.
            programs: How many are timed after the first ones, which are timed in any case.
            seed: Of everything random.
            known: Programs to start from.
            end: ``time.monotonic`` at which to stop.
            progress: Called now and then.

        Raises:
            InfeasibleError: No program is legal.
        """
        ...

    def steps(
        self,
        workload: Any,
        machine: Any,
        *,
        programs: int,
        seed: int = 0,
        known: Iterable[Any] = (),
    ) -> Steps[FoundProgram]:
        """As :meth:`search`, in batches that others measure; ``programs`` are all that it times
        beside the known ones.

        Raises:
            InfeasibleError: None of the programs is legal.
        """
        ...


def program_search(machine: Machine) -> ProgramSearch | None:
    """What searches programs of a machine's kind; ``None`` where it has nothing of the sort."""
    kind = kind_of_machine(machine)
    if not kind.has("program_search"):
        return None
    found: ProgramSearch = kind.facet("program_search", ProgramSearch)
    return found


def is_program(workload: Any, schedule: TaskSchedule, machine: Machine) -> bool:
    """Whether a schedule that its task's space does not hold is such a program, and legal."""
    if program_search(machine) is None:
        return False
    try:
        return not kind_of_machine(machine).tasks.violations(workload, schedule, machine)
    except TypeError:
        return False  # it schedules another kind of workload
