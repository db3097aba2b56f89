"""Simulated annealing of programs for layers that stay on chip.

Rounds start at the best program so far, hot at first: a neighbour that is ``d`` cycles slower is
taken with probability ``exp(-d / temperature)`` (Kirkpatrick, Gelatt, Vecchi, Optimization by
Simulated Annealing, 1983), and the temperature falls with the square of what is left of the round.
Temperatures depend on the number of programs, never on the clock, so equal seeds give equal
programs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from math import exp
from random import Random

from compiler_core.errors import InfeasibleError
from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.violation import Violation
from compiler_core.units.vta.legality.legality import violations
from compiler_core.units.vta.legality.legality_resident import residency_violations
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.resident_schedule import ResidentSchedule
from nest_tune.records.record import Outcome
from nest_tune.tuning.measure import Measurement, measure
from nest_tune.tuning.program_search import FoundProgram
from search_spaces.vta.resident import first_programs, neighbour

ROUNDS = 2
TEMPERATURE = 0.001
"""At the start of a round, as a share of the best cycles."""
COLDEST = 0.1
"""Cycles, at its end."""
REPORT = 1000
"""Programs between two calls of ``progress``."""
_TRIES = 20
"""Neighbours per timed program: some are illegal, some known."""

Progress = Callable[[FoundProgram], None]


def anneal_programs(
    workload: ConvWorkload,
    core: VtaCore,
    *,
    programs: int,
    seed: int = 0,
    known: Iterable[ResidentSchedule] = (),
    end: float | None = None,
    progress: Progress | None = None,
) -> FoundProgram:
    """Searches programs of a workload that stays on chip.

    Args:
        workload: What to compute.
        core: Where.
        programs: How many are timed after the first ones, which are timed in any case.
        seed: Of everything random.
        known: Programs to start from, beside the regular ones.
        end: ``time.monotonic`` at which to stop.
        progress: Called now and then.

    Raises:
        InfeasibleError: No program is legal: the workload does not stay on chip.
    """
    search = _Annealing(workload, core, Random(seed))
    for program in (*known, *first_programs(workload)):
        search.time(program)
    search.begin()
    each = -(-programs // ROUNDS)
    for _ in range(ROUNDS):
        search.round(min(each, programs - search.annealed), end, progress)
    return search.result()


class _Annealing:
    def __init__(self, workload: ConvWorkload, core: VtaCore, random: Random) -> None:
        self._workload, self._core, self._random = workload, core, random
        self._cycles: dict[str, int | None] = {}
        self._best: tuple[ResidentSchedule, Measurement] | None = None
        self._timed = self._first = 0

    def begin(self) -> None:
        """What was timed until now is where the search starts, not part of it."""
        self._first = self._timed

    @property
    def annealed(self) -> int:
        """Programs that were timed since."""
        return self._timed - self._first

    def result(self) -> FoundProgram:
        """The best so far."""
        if self._best is None:
            found = violations(
                self._workload, first_programs(self._workload)[0], self._core.geometry
            )
            reason = f": {found[0]}" if found else ""
            raise InfeasibleError(f"{self._workload.operator} does not stay on chip{reason}")
        return FoundProgram(*self._best, self._timed)

    def time(self, program: ResidentSchedule) -> int | None:
        """Cycles of a program; ``None`` where it is illegal. Each is timed once."""
        if program.digest not in self._cycles:
            measured = Measurement(Outcome.COMPILE)
            if not violations(self._workload, program, self._core.geometry):
                measured = measure(self._workload, program, self._core)
                self._timed += 1
            self._cycles[program.digest] = measured.cycles
            if measured.cycles is not None and (
                self._best is None or measured.cycles < (self._best[1].cycles or 0)
            ):
                self._best = program, measured
        return self._cycles[program.digest]

    def round(self, programs: int, end: float | None, progress: Progress | None) -> None:
        """Anneals once, from the best program so far."""
        best = self.result()
        current, cycles = best.best, best.cycles
        hot = TEMPERATURE * cycles
        before = self._timed
        for _ in range(_TRIES * programs):
            spent = self._timed - before
            if spent >= programs or (end is not None and time.monotonic() > end):
                break
            temperature = hot * (1 - spent / programs) ** 2 + COLDEST
            near = neighbour(current, self._workload, self._random)
            found = self.time(near)
            timed = self._timed - before > spent
            if timed and progress is not None and self.annealed % REPORT == 0:
                progress(self.result())
            if found is not None and (
                found <= cycles or self._random.random() < exp((cycles - found) / temperature)
            ):
                current, cycles = near, found


class VtaProgramSearch:
    """See :class:`~nest_tune.tuning.program_search.ProgramSearch`."""

    def obstacles(self, workload: Workload, machine: VtaCore) -> tuple[Violation, ...]:
        if isinstance(workload, ConvWorkload):
            return residency_violations(workload, machine.geometry)
        return (Violation("resident", 0, 1, "depthwise convolutions", "schedule it in tiles"),)

    def search(
        self,
        workload: ConvWorkload,
        machine: VtaCore,
        *,
        programs: int,
        seed: int = 0,
        known: Iterable[ResidentSchedule] = (),
        end: float | None = None,
        progress: Progress | None = None,
    ) -> FoundProgram:
        return anneal_programs(
            workload,
            machine,
            programs=programs,
            seed=seed,
            known=known,
            end=end,
            progress=progress,
        )


PROGRAM_SEARCH = VtaProgramSearch()
