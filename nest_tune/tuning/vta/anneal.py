"""Simulated annealing of programs for layers that stay on chip.

Rounds start at the best program so far, hot at first: a neighbour that is ``d`` cycles slower is
taken with probability ``exp(-d / temperature)`` (Kirkpatrick, Gelatt, Vecchi, Optimization by
Simulated Annealing, 1983), and the temperature falls with the square of what is left of the round.
Temperatures depend on the number of programs, never on the clock, so equal seeds give equal
programs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from math import exp
from random import Random

from compiler_core.errors import InfeasibleError
from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.violation import Violation
from compiler_core.units.vta.legality.legality import violations
from compiler_core.units.vta.legality.legality_resident import residency_violations
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.resident_schedule import ResidentSchedule
from nest_tune.tuning.measure import Measurement, measure
from nest_tune.tuning.program_search import FoundProgram
from nest_tune.tuning.steps import Steps, Wanted, measured_by
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
_ABREAST = 16
"""Neighbours that are timed side by side where others measure."""

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
    """Searches programs of a workload that stays on chip, one after the other.

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
    reported = 0

    def measured(wanted: Wanted) -> list[Measurement]:
        nonlocal reported
        if progress is not None and search.annealed // REPORT > reported:
            reported = search.annealed // REPORT
            progress(search.result())
        return [measure(subject, program, core) for subject, program in wanted]

    def is_over() -> bool:
        return end is not None and time.monotonic() > end

    first = (*known, *first_programs(workload))
    return measured_by(search.steps(first, programs, is_over=is_over), measured)


class _Annealing:
    def __init__(self, workload: ConvWorkload, core: VtaCore, random: Random) -> None:
        self._workload, self._core, self._random = workload, core, random
        self._cycles: dict[str, int | None] = {}
        self._best: tuple[ResidentSchedule, Measurement] | None = None
        self._timed = self._first = 0

    @property
    def annealed(self) -> int:
        """Programs that were timed after the first ones."""
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

    def steps(
        self,
        first: Sequence[ResidentSchedule],
        programs: int,
        *,
        batch: int = 1,
        is_over: Callable[[], bool] = lambda: False,
    ) -> Steps[FoundProgram]:
        """The search, with measurements from whoever drives it.

        Args:
            first: Where it starts; all are timed.
            programs: How many are timed after them.
            batch: How many neighbours of a program are timed side by side.
            is_over: Asked after each batch.
        """
        yield from self._time([program for program in first if self._is_new(program)])
        self._first = self._timed
        each = -(-programs // ROUNDS)
        for _ in range(ROUNDS):
            yield from self._round(min(each, programs - self.annealed), batch, is_over)
        return self.result()

    def _is_new(self, program: ResidentSchedule) -> bool:
        """Whether a program is still to be timed; one that is illegal is known not to run."""
        if program.digest in self._cycles:
            return False
        self._cycles[program.digest] = None
        return not violations(self._workload, program, self._core.geometry)

    def _time(self, programs: list[ResidentSchedule]) -> Steps[None]:
        if not programs:
            return
        answers = yield [(self._workload, program) for program in programs]
        for program, measured in zip(programs, answers, strict=True):
            self._timed += 1
            cycles = self._cycles[program.digest] = measured.cycles
            if cycles is not None and (self._best is None or cycles < (self._best[1].cycles or 0)):
                self._best = program, measured

    def _round(self, programs: int, batch: int, is_over: Callable[[], bool]) -> Steps[None]:
        """Anneals once, from the best program so far."""
        best = self.result()
        current, cycles = best.best, best.cycles
        hot, before, tries = TEMPERATURE * cycles, self._timed, _TRIES * programs
        while tries > 0 and (left := programs - self._timed + before) > 0 and not is_over():
            near: list[ResidentSchedule] = []
            new: list[ResidentSchedule] = []
            while tries > 0 and len(new) < min(batch, left):
                tries -= 1
                near.append(neighbour(current, self._workload, self._random))
                if self._is_new(near[-1]):
                    new.append(near[-1])
                elif batch == 1:
                    break
            spent = self._timed - before
            yield from self._time(new)
            temperature = hot * (1 - spent / programs) ** 2 + COLDEST
            for program in near:
                found = self._cycles[program.digest]
                if found is not None and (
                    found <= cycles or self._random.random() < exp((cycles - found) / temperature)
                ):
                    current, cycles = program, found


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

    def steps(
        self,
        workload: ConvWorkload,
        machine: VtaCore,
        *,
        programs: int,
        seed: int = 0,
        known: Iterable[ResidentSchedule] = (),
    ) -> Steps[FoundProgram]:
        random = Random(seed)
        regular = first_programs(workload)
        few = min(len(regular), max(1, programs // 2))
        first = (*known, *(regular[at] for at in sorted(random.sample(range(len(regular)), few))))
        search = _Annealing(workload, machine, random)
        return search.steps(first, programs - few, batch=_ABREAST)


PROGRAM_SEARCH = VtaProgramSearch()
