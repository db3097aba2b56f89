"""The search of one task, batch by batch: propose, measure, observe.

Batches have a fixed size and are observed in the order of proposal, so that the number of workers
changes nothing but the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from compiler_core.errors import InfeasibleError, InputError
from compiler_core.tensor.digest import digest
from compiler_core.tensor.task import Task
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import Machine, TaskSchedule
from cost_models.boosted import BoostedModel
from cost_models.evaluation import batch_quality
from nest_tune.records.record import MeasurementOutcome, Record, machine_digest, record_of
from nest_tune.samplers.registry import DEFAULT_SAMPLER, SAMPLERS, make_schedule_sampler
from nest_tune.samplers.schedules.exhaustive import ExhaustiveScheduleSampler
from nest_tune.samplers.schedules.sampler import Point, Predicting, Problem, Proving
from nest_tune.tuning.knowledge import Knowledge
from nest_tune.tuning.measure import Measurement, Measurer
from nest_tune.tuning.program_search import is_program
from nest_tune.tuning.steps import Steps, measured_by
from search_spaces.task_space import task_space

BATCH = 4
"""Schedules between two looks at what they taught: fewer are better, four keep workers busy while
tasks are tuned side by side."""

_FINISHED_FROM = 8
"""Measurements after which the bounds are asked whether they can finish the space; then again
whenever there are four times as many."""
_PARTS = 32
"""Parts of a space that one such question opens at most: a second or two of one core."""

Keep = Callable[[list[Record]], None]


@dataclass(frozen=True)
class TaskResult:
    """What the tuning of one task gave.

    Attributes:
        task: What was tuned.
        best: The best schedule.
        best_cycles, default_cycles, bound_cycles: Measured, measured untuned, and provably least.
        measurements: Schedules that were measured or replayed in this search.
        known: Records of the task that the search began with.
        history: Best cycles so far, after each known record and measurement.
        outcomes: How many measurements ended in which way.
        least_cycles: What no schedule of the space can beat, as far as it was proven.
        annealed: Programs that were timed beyond the space.
    """

    task: Task
    best: TaskSchedule
    best_cycles: int
    default_cycles: int
    bound_cycles: int
    measurements: int
    known: int
    history: tuple[int, ...]
    outcomes: dict[MeasurementOutcome, int]
    least_cycles: int
    annealed: int = 0

    @property
    def proven(self) -> bool:
        """Whether the best is the optimum of the space."""
        return self.least_cycles >= self.best_cycles


@dataclass
class TaskSearch:
    """The state of one task's search.

    Args:
        task: What is tuned.
        machine: Where it runs.
        sampler: Name of the sampler.
        seed: Of the study; the task's own random stream derives from it.
        knowledge: The records at the start.
        base: Model of what other tasks teach.
        keep: Called with the records of each batch as soon as it is measured.
    """

    task: Task
    machine: Machine
    sampler: str = DEFAULT_SAMPLER
    seed: int = 0
    knowledge: Knowledge = field(default_factory=Knowledge)
    base: BoostedModel | None = None
    keep: Keep | None = None

    def __post_init__(self) -> None:
        workload = self.task.workload
        self._kind = kind_of_machine(self.machine)
        if self.task.unit != self._kind.name:
            raise InputError(
                f"task {self.task.id} is for units of kind {self.task.unit!r}; the target's are of "
                f"kind {self._kind.name!r}",
                hint="nest-tune task list MODEL --target T lists tasks of another target",
            )
        self.space = task_space(workload, self.machine)
        try:
            self._default: TaskSchedule = self._kind.tasks.default(workload, self.machine)
        except InfeasibleError:
            self.space.require_not_empty()  # says which rules emptied it
            raise
        self.bound_cycles = self._kind.tasks.bound(workload, self.machine).cycles
        self._start: Point = self.space.encode(self._default)
        if not self.space.is_legal(self._start):
            self.space.require_not_empty()
        # The stream depends on the task, not on the order in which tasks are searched.
        seed = int(digest((self.seed, self.task.key), 12), 16)
        problem = Problem(self.space, self.machine, self._start, seed, self.base)
        self._problem = problem
        self._sampler = make_schedule_sampler(self.sampler, problem)
        self._target = machine_digest(self.machine)
        self._replay: dict[str, Measurement] = {}
        self._schedules: dict[Point, TaskSchedule] = {self._start: self._default}
        self._best: tuple[int, TaskSchedule] | None = None
        self._default_cycles = 0
        self._history: list[int] = []
        self._outcomes: dict[MeasurementOutcome, int] = {}
        self._observed: list[tuple[Point, int | None]] = []
        self._prover: ExhaustiveScheduleSampler | None = None
        self._told_prover = 0
        self._ask_prover_at = _FINISHED_FROM
        self.measurements = 0
        self.known = 0
        self.annealed = 0
        self.programs: list[TaskSchedule] = []
        """Programs that records know, or annealing found, the best last."""
        self.quality: tuple[float, float] | None = None
        """Kendall's tau and median error of the cost model on its last batch."""
        self.exhausted = False
        self._recall()

    def _recall(self) -> None:
        """Tells the sampler what the records know of this task, the default first."""
        told: list[tuple[Point, int | None]] = []
        told_before: set[Point] = set()
        for schedule, record in self.knowledge.of(self.task):
            measured = Measurement(record.outcome, record.cycles, record.dram_bytes)
            if not self.space.holds(schedule):
                if is_program(self.task.workload, schedule, self.machine):
                    self._take_program(schedule, record.cycles)
                continue
            self._replay[schedule.digest] = measured
            try:
                point = self.space.encode(schedule)
            except InputError:
                continue
            if point not in told_before and record.outcome is MeasurementOutcome.CORRECT:
                told.append((point, record.cycles))
                told_before.add(point)
                self._schedules.setdefault(point, schedule)
        if self._default.digest not in self._replay:
            told = [entry for entry in told if entry[0] != self._start]
        told.sort(key=lambda entry: entry[0] != self._start)
        self.known = len(told)
        for point, cycles in told:
            self._take(point, cycles)
        if told:
            self._sampler.observe(told)
            self._observed += told

    @property
    def spent(self) -> int:
        """Schedules whose cycles are known."""
        return self.known + self.measurements

    @property
    def best_cycles(self) -> int:
        """Best measured so far; the bound stands for a task without any."""
        return self._best[0] if self._best else self.bound_cycles

    @property
    def default_cycles(self) -> int:
        """Cycles of the untuned schedule; 0 before it was measured."""
        return self._default_cycles

    @property
    def finished(self) -> bool:
        """Nothing is left to gain: the bound is reached or the space is used up."""
        return self.exhausted or (self._best is not None and self._best[0] <= self.bound_cycles)

    def expected_gain(self) -> float:
        """Cycles that another batch is expected to save."""
        return 0.0 if self.finished else self._sampler.expected_gain()

    def switch_sampler(self, name: str) -> None:
        """Goes on with another sampler, which is told everything so far."""
        self._sampler = make_schedule_sampler(name, self._problem)
        self._sampler.observe(self._observed)
        self.exhausted = False

    def finish_within(self, left: int) -> None:
        """Goes on with a proof of the optimum where the bounds leave no more schedules than may
        still be measured.

        Args:
            left: Measurements that this task may still have.
        """
        if self.spent < self._ask_prover_at or self._sampler is self._prover or self.finished:
            return
        if not SAMPLERS.get(self.sampler).learns:
            return  # a sampler that was asked for by name decides for itself
        self._ask_prover_at = 4 * self.spent
        if self._prover is None:
            self._prover = ExhaustiveScheduleSampler(self._problem)
        self._prover.observe(self._observed[self._told_prover :])
        self._told_prover = len(self._observed)
        if self._prover.within(left, _PARTS):
            self._sampler = self._prover
            self.exhausted = False

    def step(self, measurer: Measurer, most: int = BATCH) -> int:
        """Measures one batch; returns how many measurements it had."""
        return measured_by(self.stepping(most), measurer.measure)

    def stepping(self, most: int = BATCH) -> Steps[int]:
        """As :meth:`step`, with measurements from whoever drives it."""
        points = [] if self._default_cycles else [self._start]
        if points:  # the sampler has to know of the default before it proposes
            yield from self._measuring(points)
        proposed = self._sampler.propose(min(BATCH, most) - len(points))
        if proposed:
            yield from self._measuring(proposed)
        elif most > len(points):
            self.exhausted = True
        return len(points) + len(proposed)

    def _measuring(self, points: list[Point]) -> Steps[None]:
        for point in points:
            self._schedules.setdefault(point, self.space.decode(point))
        schedules = [self._schedules[point] for point in points]
        fresh = [s for s in schedules if s.digest not in self._replay]
        asked = [(self.task.workload, s) for s in fresh]
        answers = (yield asked) if asked else []
        measured = dict(zip([s.digest for s in fresh], answers, strict=True))
        if self.keep is not None and fresh:
            self.keep([self._record(s, measured[s.digest]) for s in fresh])
        observed: list[tuple[Point, int | None]] = []
        for point, schedule in zip(points, schedules, strict=True):
            result = measured.get(schedule.digest) or self._replay[schedule.digest]
            self.measurements += 1
            self._outcomes[result.outcome] = self._outcomes.get(result.outcome, 0) + 1
            observed.append((point, result.cycles))
            self._take(point, result.cycles)
        self._judge([(point, float(cycles)) for point, cycles in observed if cycles])
        self._sampler.observe(observed)
        self._observed += observed

    def _judge(self, measured: list[tuple[Point, float]]) -> None:
        """Compares a batch with what the sampler's model, where it has one, expected of it."""
        if not isinstance(self._sampler, Predicting) or len(measured) < 2:
            return
        expected = self._sampler.expected_cycles([point for point, _ in measured])
        cycles = np.array([cycles for _, cycles in measured])
        self.quality = batch_quality(expected, cycles)

    def _take(self, point: Point, cycles: int | None) -> None:
        if cycles is not None:
            if point == self._start:
                self._default_cycles = cycles
            if self._best is None or cycles < self._best[0]:
                self._best = cycles, self._schedules[point]
        if self._best is not None:
            self._history.append(self._best[0])

    def take_program(self, program: TaskSchedule, measured: Measurement, timed: int) -> None:
        """Takes the best of ``timed`` programs, which the space cannot hold."""
        self.annealed = timed
        if self._take_program(program, measured.cycles) and self.keep is not None:
            self.keep([self._record(program, measured)])

    def _take_program(self, program: TaskSchedule, cycles: int | None) -> bool:
        """Whether it is the best so far."""
        if cycles is None or (self._best is not None and cycles >= self._best[0]):
            return False
        self.programs.append(program)
        self._best = cycles, program
        return True

    def _record(self, schedule: TaskSchedule, measured: Measurement) -> Record:
        return record_of(
            self.task,
            schedule,
            self._target,
            self._kind.lowering_version,
            measured.outcome,
            measured.cycles,
            measured.dram_bytes,
        )

    def result(self) -> TaskResult:
        """What the search gave so far; the default has to be measured."""
        assert self._best is not None
        least = self.bound_cycles
        # A program beyond the space is not bounded by it.
        if isinstance(self._sampler, Proving) and self.space.holds(self._best[1]):
            least = max(least, int(self._sampler.least_cycles))
        return TaskResult(
            self.task,
            self._best[1],
            self._best[0],
            self._default_cycles,
            self.bound_cycles,
            self.measurements,
            self.known,
            tuple(self._history),
            dict(self._outcomes),
            least,
            self.annealed,
        )
