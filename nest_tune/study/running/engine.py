"""The outer loop: batches of trials, each surveyed, its tasks tuned, compiled, timed, scored.

1. A batch is proposed from the trials before it.
2. Every candidate is surveyed on a worker: quantized, its tasks found.
3. Tasks that no trial has needed before are tuned, in trial order.
4. Every candidate is compiled, verified and timed, and its accuracy is measured on a subset.
5. Where that leaves it a chance (it may hold the limits, and no settled trial dominates it even if
   the subset was unlucky), accuracy is measured on all samples.
6. The trial is stored.

Which trials count for step 5 are those before the batch, so that the order in which workers finish
changes nothing. A batch that was cut off is proposed again as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from compiler_core.accuracy.metric import shown_name
from compiler_core.accuracy.score import Score
from compiler_core.errors import InputError, NestTuneError, ResourceError
from compiler_core.files.plain import to_plain
from compiler_core.tensor.digest import digest
from nest_tune.runners.runner import Answer, Ending
from nest_tune.study.proposals.evidence import Evidence
from nest_tune.study.proposals.problem import Asked, SearchProblem
from nest_tune.study.proposals.proposals import Moves, propose
from nest_tune.study.proposals.screening import Prospects
from nest_tune.study.running.cached_calls import Calls
from nest_tune.study.running.observer import Budget, Observer
from nest_tune.study.store.ended import Ended
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Request, StoredStudy
from nest_tune.study.trial import Outcome, OuterTrial, Point, Proposal
from nest_tune.study.tuning.seam import (
    CountedTask,
    TunedTask,
    Tuner,
    task_from_plain,
    tuned_from_plain,
)
from nest_tune.tuning.task_search import TaskSearch

BATCH = 8
"""Trials per batch; never depends on the number of workers."""

EQUAL_ERRORS = 10
"""So many equal errors at the start end a study."""

_WORK = "nest_tune.study.execution.worker"
_BEAT_S = 1.0
_ROOM = "make room on the machine of the workers; what has been stored is kept"


class _CancelledError(Exception):
    """Another process asked for the end of the running trials."""


@dataclass
class _Running:
    """A trial under way."""

    proposal: Proposal
    decisions: Mapping[str, Any]
    beyond: bool = False
    scheme: str = ""
    tasks: list[Any] = field(default_factory=list)
    schedules: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    subset: Score | None = None
    bound_ms: float = 0.0
    wall_s: float = 0.0


class Engine:
    """Runs a study until its budget is spent.

    Args:
        study: Its row; taken by this process.
        storage: Where trials go.
        problem: What is searched.
        calls: Workers.
        tuner: Of tasks.
        observer: Told what happens.
        metric: Of accuracy, by name.
        moves: What is tried in the place of a sampler's proposal: of trials, points that were
            proposed, the number of the trial, and the budget.
    """

    def __init__(
        self,
        study: StoredStudy,
        storage: StudyStorage,
        problem: SearchProblem,
        calls: Calls,
        tuner: Tuner,
        observer: Observer,
        metric: str = "top1",
        moves: Callable[[Sequence[OuterTrial], set[Point], int, int], Asked | None] | None = None,
    ) -> None:
        self._metric, self._moves = metric, moves
        self._study, self._storage, self._problem = study, storage, problem
        self._calls, self._tuner, self._observer = calls, tuner, observer
        self._prospects: Prospects | None = None
        self._trials: dict[int, OuterTrial] = {}
        self._history: tuple[OuterTrial, ...] = ()
        self._tasks: dict[str, TunedTask] = {}
        self._asked = Request.NONE
        self._next_beat = 0.0

    @property
    def calls(self) -> Calls:
        """The workers."""
        return self._calls

    @property
    def trials(self) -> tuple[OuterTrial, ...]:
        """Finished trials by number."""
        return tuple(self._trials[number] for number in sorted(self._trials))

    @property
    def tasks(self) -> Mapping[str, TunedTask]:
        """Tuned tasks by id."""
        return self._tasks

    def poll(self) -> None:
        """Shows that the study lives and looks what others ask for."""
        if time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + _BEAT_S
        self._asked = self._storage.beat(self._study)
        if self._asked is Request.CANCEL:
            raise _CancelledError

    def searching(self, search: TaskSearch) -> None:
        """Takes note of a batch of measured schedules."""
        self._observer.searching(search)
        self.poll()

    def run(self, budget: Budget) -> Ended:
        """Runs until the budget is spent, nothing is left, or somebody asks for the end.

        Raises:
            NestTuneError: The first trials all failed in the same way, or storage failed.
        """
        self._trials = {t.number: t for t in self._storage.trials(self._study)}
        self._tasks = {
            name: tuned_from_plain(value)
            for name, value in self._storage.tasks(self._study).items()
        }
        self._observer.began(self.trials, budget)
        self._observer.tuned(self._tasks)
        end = None if budget.timeout_s is None else time.monotonic() + budget.timeout_s
        try:
            self._measure_baseline()
            reason = self._batches(budget, end)
        except _CancelledError:
            reason = Ended.CANCELLED
        self._observer.ended(reason)
        return reason

    def _batches(self, budget: Budget, end: float | None) -> Ended:
        first = 0
        while True:
            size = 1 if first == 0 else BATCH
            history = tuple(self._trials[n] for n in range(first) if n in self._trials)
            self._refuse_equal_errors(history)
            if first >= budget.trials:
                return Ended.TRIALS
            if self._prospects is not None and self._prospects.is_ideal(history):
                return Ended.IDEAL
            self.poll()
            if self._asked is Request.STOP:
                return Ended.STOPPED
            if end is not None and first and time.monotonic() >= end:
                return Ended.TIME
            done = [n for n in range(first, first + size) if n in self._trials]
            if len(done) < size:
                batch = propose(self._problem, history, first, size, self._reckoned(budget))
                if not batch:
                    return Ended.EXHAUSTED
                self._history = history
                self._run_batch(batch, budget.trials)
                if len(batch) < size:
                    return Ended.EXHAUSTED
            first += size

    def _reckoned(self, budget: Budget) -> Moves:
        def moves(trials: Sequence[OuterTrial], seen: set[Point], number: int) -> Asked | None:
            return self._moves and self._moves(trials, seen, number, budget.trials)

        return moves

    def _refuse_equal_errors(self, history: Sequence[OuterTrial]) -> None:
        start = history[:EQUAL_ERRORS]
        if len(start) < EQUAL_ERRORS or not all(trial.outcome.is_error for trial in start):
            return
        kinds = {(trial.outcome, trial.message) for trial in start}
        if len(kinds) == 1:
            raise NestTuneError(
                f"the first {EQUAL_ERRORS} trials all failed in the same way "
                f"({start[0].outcome.value}): {start[0].message}",
                hint=f"nest-tune study show {self._study.name}:0",
            )

    def _measure_baseline(self) -> None:
        """Also the first call, so that wrong files are found before any trial."""
        answers: list[Answer] = []
        function = f"{_WORK}:float_accuracy"
        self._calls.start(function, {}, answers.append)
        self._calls.drain()
        answer = answers[0]
        if answer.error == ResourceError.__name__:
            raise ResourceError(f"a worker: {answer.message}", hint=_ROOM)
        if answer.ending is Ending.TIMEOUT:
            raise NestTuneError(
                f"accuracy of the float model: {answer.message}, the time of a trial",
                hint="--trial-timeout with more time",
            )
        if answer.ending is not Ending.DONE:
            kind = InputError if answer.error == "InputError" else NestTuneError
            raise kind(answer.message, hint="nest-tune study start --dry-run checks all files")
        if answer.value is not None:
            subset, full, notes = answer.value
            for note in notes:
                self._observer.noted(note)
            goals = self._problem.objectives, self._problem.limits
            scores = Score(**subset), Score(**full)
            found = Prospects(self._metric, *scores, *goals, risk=self._problem.risk)
            known = self._trials.get(0)
            self._prospects = found if known is None else found.with_default(known)

    def _run_batch(self, batch: Sequence[Proposal], limit: int) -> None:
        """Trials from number ``limit`` on are only surveyed and their tasks tuned, so that a larger
        budget goes on as if it had been given at once."""
        running = [
            _Running(
                proposal,
                self._problem.space.decode(proposal.point),
                beyond=proposal.number >= limit,
            )
            for proposal in batch
            if proposal.number not in self._trials
        ]
        self._storage.propose(self._study, *(t.proposal for t in running if not t.beyond))
        for trial in running:
            payload = {"decisions": trial.decisions}
            self._start("survey", trial, payload, self._surveyed)
        self._calls.drain()
        surveyed = [trial for trial in running if trial.scheme]
        self._tune(surveyed)
        for trial in surveyed:
            if trial.beyond:
                continue
            payload = {"decisions": trial.decisions, "schedules": trial.schedules}
            key = {"scheme": trial.scheme, "schedules": trial.schedules}
            self._start("measure", trial, payload, self._measured, key)
        self._calls.drain()

    def _start(
        self,
        function: str,
        trial: _Running,
        payload: Any,
        then: Callable[[_Running, Any], None],
        key: Any = None,
    ) -> None:
        def answered(answer: Answer) -> None:
            trial.wall_s += answer.wall_s
            if answer.error == ResourceError.__name__:
                raise ResourceError(f"a worker: {answer.message}", hint=_ROOM)
            if answer.ending is Ending.DONE:
                then(trial, answer.value)
            elif not trial.beyond:
                self._failed(trial, answer)

        self._calls.start(f"{_WORK}:{function}", payload, answered, key=key)

    def _surveyed(self, trial: _Running, value: Any) -> None:
        trial.scheme, trial.tasks = value["scheme"], value["tasks"]

    def _tune(self, batch: Sequence[_Running]) -> None:
        found: dict[str, CountedTask] = {}
        for trial in batch:
            counted = [task_from_plain(task) for task in trial.tasks]
            if trial.proposal.tuned:
                trial.schedules = {c.name: None for c in counted}
                for entry in counted:
                    if entry.name not in self._tasks:
                        found.setdefault(entry.name, entry)
        if found:
            self._observer.tuning(len(found))
            fresh = dict(self._tuner.tune(list(found.values())))
            self._storage.add_tasks(
                self._study, {name: to_plain(task) for name, task in fresh.items()}
            )
            self._tasks |= fresh
            self._observer.tuned(self._tasks)
        for trial in batch:
            trial.schedules = {name: self._tasks[name].schedule for name in trial.schedules}

    def _measured(self, trial: _Running, value: Any) -> None:
        trial.measured, trial.bound_ms = value["metrics"], value["bound_ms"]
        if value["accuracy"] is None:
            self._finish(trial, None)
            return
        assert self._prospects is not None
        trial.subset = Score(**value["accuracy"])
        if trial.subset.samples == self._prospects.full.samples:
            self._finish(trial, trial.subset)
        elif trial.proposal.number == 0 or self._prospects.may_join_front(
            trial.measured, trial.subset, self._history, self._default_metrics()
        ):
            payload = {"decisions": trial.decisions, "subset": value["accuracy"]}
            self._start("full_accuracy", trial, payload, self._scored, {"scheme": trial.scheme})
        else:
            self._finish(trial, None)

    def _scored(self, trial: _Running, value: Any) -> None:
        self._finish(trial, Score(**value))

    def _default_metrics(self) -> Mapping[str, float]:
        default = self._trials.get(0)
        return default.metrics if default is not None else {}

    def _metrics(self, trial: _Running, known: Score | None) -> dict[str, float]:
        metrics = dict(trial.measured)
        if known is not None:
            assert self._prospects is not None
            metrics |= self._prospects.metrics(known)
            if trial.proposal.number == 0 and self._prospects.default is None:
                # In dB the default loses nothing to itself.
                subset = trial.subset or known
                self._prospects = replace(self._prospects, default=(subset, known))
                metrics |= self._prospects.metrics(known)
        return metrics

    def _finish(self, trial: _Running, full: Score | None) -> None:
        known = full or trial.subset
        metrics = self._metrics(trial, known)
        evidence = Evidence()
        if known is not None:
            assert self._prospects is not None
            evidence = self._prospects.evidence(known)
        judged = {**metrics, **evidence.pessimistic}
        broken = [
            f"{shown_name(limit.metric.value, self._metric)} "
            f"{judged[limit.metric.value]:.6g} is not {limit.text}"
            for limit in self._problem.limits
            if limit.excess(judged[limit.metric.value]) > 0
        ]
        outcome = Outcome.CONSTRAINTS if broken else Outcome.COMPLETE
        self._store(trial, outcome, metrics, "; ".join(broken), full, known, evidence)

    def _failed(self, trial: _Running, answer: Answer) -> None:
        text = f"{answer.message}"[:500]
        self._store(trial, classify(answer), {}, text, None, None, Evidence(), answer.log)

    def _store(
        self,
        trial: _Running,
        outcome: Outcome,
        metrics: Mapping[str, float],
        message: str,
        full: Score | None,
        known: Score | None,
        evidence: Evidence,
        log: str = "",
    ) -> None:
        proposal = trial.proposal
        finished = OuterTrial(
            proposal.number,
            proposal.point,
            proposal.tuned,
            outcome,
            dict(metrics),
            0 if known is None else known.samples,
            trial.subset.hits if trial.subset else "",
            trial.subset.value if trial.subset else None,
            known is full,
            message,
            digest(dict(trial.schedules)) if trial.schedules else "",
            trial.scheme,
            trial.bound_ms,
            trial.wall_s,
            dict(proposal.attributes),
            log,
            evidence.intervals,
            evidence.pessimistic,
            full.hits if full else "",
        )
        self._trials[proposal.number] = finished
        self._storage.finish(self._study, finished)
        self._observer.finished(finished)


_OUTCOMES = {
    "InfeasibleError": Outcome.INFEASIBLE,
    "InternalError": Outcome.CORRECTNESS,
    "CheckError": Outcome.CORRECTNESS,
    "InputError": Outcome.COMPILE,
    "NestTuneError": Outcome.COMPILE,
}


def classify(answer: Answer) -> Outcome:
    """The outcome of a trial whose call failed."""
    if answer.ending is Ending.TIMEOUT:
        return Outcome.TIMEOUT
    if answer.ending is Ending.LOST:
        return Outcome.RUNTIME
    return _OUTCOMES.get(answer.error, Outcome.RUNTIME)
