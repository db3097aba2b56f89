"""The outer loop: trials proposed one by one, surveyed, their tasks tuned, compiled, timed, scored.

1. A trial is proposed as soon as what it may see has finished (:mod:`.sight`), and stored.
2. It is surveyed on a worker: quantized, its tasks found.
3. Tasks that no trial before it needs are tuned, those of all trials in flight side by side
   (:mod:`.tunings`).
4. It is compiled, verified and timed, and its accuracy is measured on a subset.
5. Where that leaves it a chance (it may hold the limits, and no settled trial that its proposal saw
   dominates it even if the subset was unlucky), accuracy is measured on all samples.
6. The trial is stored.

All of these share the workers. The default trial runs alone, for all others are compared with it.
In a windowed study the order in which workers finish changes nothing, and what was in flight when
a study was cut off is taken up as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from compiler_core.accuracy.metric import shown_name
from compiler_core.accuracy.score import Score
from compiler_core.errors import NestTuneError
from nest_tune.figures import figures
from nest_tune.runners.runner import Answer, Ending
from nest_tune.study.proposals.evidence import Evidence
from nest_tune.study.proposals.history import History
from nest_tune.study.proposals.narrowing import not_admitted
from nest_tune.study.proposals.problem import Asked, SearchProblem
from nest_tune.study.proposals.proposals import Moves, propose
from nest_tune.study.proposals.screening import Prospects
from nest_tune.study.request.goals import Limit
from nest_tune.study.running.baseline import WORKER, measure_baseline, require_resources
from nest_tune.study.running.cached_calls import Calls
from nest_tune.study.running.classify import classify
from nest_tune.study.running.equal_errors import equal_errors
from nest_tune.study.running.in_flight import TrialInFlight
from nest_tune.study.running.noises import NotYetError
from nest_tune.study.running.observer import Budget, Observer
from nest_tune.study.running.sight import SAW, Sight, Windowed
from nest_tune.study.store.ended import Ended
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Request, StoredStudy
from nest_tune.study.trial import Outcome, OuterTrial, Point, Proposal
from nest_tune.study.tuning.seam import TaskSearches, TunedTask
from nest_tune.tuning.task_search import TaskSearch

_BEAT_S = 1.0
_PAUSE_S = 0.05


class _CancelledError(Exception):
    """Another process asked for the end of the running trials."""


class Engine:
    """Runs a study until its budget is spent.

    Args:
        study: Its row; taken by this process.
        storage: Where trials go.
        problem: What is searched.
        calls: Workers.
        tunings: Of tasks.
        observer: Told what happens.
        metric: Of accuracy, by name.
        moves: What is tried in the place of a sampler's proposal: of trials, points that were
            proposed, the number of the trial, and the budget.
        sight: What proposals see.
        enqueued: Points that somebody asks for, of which these are known; looked for with every
            sign of life.
        look: Looks after what is waited for beside the workers.
    """

    def __init__(
        self,
        study: StoredStudy,
        storage: StudyStorage,
        problem: SearchProblem,
        calls: Calls,
        tunings: TaskSearches,
        observer: Observer,
        metric: str = "top1",
        moves: Callable[[Sequence[OuterTrial], set[Point], int, int], Asked | None] | None = None,
        sight: Sight | None = None,
        enqueued: Callable[[tuple[Point, ...]], tuple[Point, ...]] = lambda known: known,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self._metric, self._moves = metric, moves
        self._study, self._storage, self._problem = study, storage, problem
        self._calls, self._tunings, self._observer = calls, tunings, observer
        self._sight: Sight = sight or Windowed()
        self._find_enqueued, self._look = enqueued, look
        self._enqueued: tuple[Point, ...] = ()
        self._prospects: Prospects | None = None
        self._trials: dict[int, OuterTrial] = {}
        self._proposals: dict[int, Proposal] = {}
        self._flying: dict[int, TrialInFlight] = {}
        self._next = 0
        self._refused: NestTuneError | None = None
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
        return self._tunings.tasks

    def poll(self) -> None:
        """Shows that the study lives and looks what others ask for."""
        if time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + _BEAT_S
        self._asked = self._storage.beat(self._study)
        self._enqueued = self._find_enqueued(self._enqueued)
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
        finished = [Proposal(t.number, t.point, t.tuned, t.attributes) for t in self.trials]
        open_ones = self._storage.proposals(self._study)
        self._proposals = {p.number: p for p in (*finished, *open_ones)}
        self._observer.began(self.trials, budget)
        self._observer.tuned(self.tasks)
        end = None if budget.timeout_s is None else time.monotonic() + budget.timeout_s
        try:
            self._measure_baseline()
            self._enqueued = self._find_enqueued(())
            reason = self._search(budget, end)
        except _CancelledError:
            reason = Ended.CANCELLED
        self._observer.ended(reason)
        return reason

    def _search(self, budget: Budget, end: float | None) -> Ended:
        reason: Ended | None = None
        while True:
            if reason is None:
                reason = self._fill(budget, end)
            if not self._flying and reason is not None:
                if self._refused is not None:
                    raise self._refused
                return reason
            self._look()
            if not self._calls.busy:  # other drivers are waited for
                time.sleep(_PAUSE_S)
            self._calls.step()

    def _fill(self, budget: Budget, end: float | None) -> Ended | None:
        """Proposes trials while that can be; why no others will follow, ``None`` where they have to
        wait."""
        while True:
            number = self._next
            if number in self._trials:
                self._tunings.survey(number)
                self._next += 1
                continue
            if number >= budget.trials:
                return Ended.TRIALS
            saw = self._sight.saw(number, self._trials, len(self._flying))
            if saw is None:
                return None
            history = self._history(number, saw)
            self._refused = equal_errors(history, self._first_trial)
            if self._refused is not None:
                return Ended.TRIALS
            if self._prospects is not None and self._prospects.is_ideal(history):
                return Ended.IDEAL
            self.poll()
            if self._asked is Request.STOP:
                return Ended.STOPPED
            if end is not None and number and time.monotonic() >= end:
                return Ended.TIME
            try:
                proposal = self._proposals.get(number) or self._proposed(history, number, budget)
            except NotYetError:
                return None
            if proposal is None:
                return Ended.EXHAUSTED
            self._next += 1
            self._begin(proposal, saw)

    def _first_trial(self) -> str | None:
        """What ``study show`` takes to show it; ``None`` where it is not found by that."""
        return None if self._storage.is_beside(self._study) else f"{self._study.name}:0"

    def _history(self, number: int, saw: Sequence[int]) -> History:
        known = set(saw)
        pending = tuple(self._proposals[n] for n in range(number) if n not in known)
        return History(tuple(self._trials[n] for n in saw), pending, self._enqueued)

    def _proposed(self, history: History, number: int, budget: Budget) -> Proposal | None:
        found = propose(self._problem, history, number, self._reckoned(budget))
        noted = self._sight.noted(number)
        if found is not None and noted is not None:
            found = replace(found, attributes={**found.attributes, SAW: list(noted)})
        if found is not None:
            self._proposals[number] = found
            self._storage.propose(self._study, found)
        return found

    def _reckoned(self, budget: Budget) -> Moves:
        def moves(trials: Sequence[OuterTrial], seen: set[Point], number: int) -> Asked | None:
            return self._moves and self._moves(trials, seen, number, budget.trials)

        return moves

    def _measure_baseline(self) -> None:
        """Also the first call, so that wrong files are found before any trial."""
        found = measure_baseline(self._calls, self._observer.noted)
        if found is not None:
            goals = self._problem.objectives, self._problem.limits
            prospects = Prospects(self._metric, *found, *goals, risk=self._problem.risk)
            known = self._trials.get(0)
            self._prospects = prospects if known is None else prospects.with_default(known)

    def _begin(self, proposal: Proposal, saw: tuple[int, ...]) -> None:
        decisions = self._problem.space.decode(proposal.point)
        trial = self._flying[proposal.number] = TrialInFlight(proposal, decisions, saw)
        self._start("survey", trial, {"decisions": decisions}, self._surveyed)

    def _start(
        self,
        function: str,
        trial: TrialInFlight,
        payload: Any,
        then: Callable[[TrialInFlight, Any], None],
        key: Any = None,
    ) -> None:
        def answered(answer: Answer) -> None:
            trial.wall_s += answer.wall_s
            require_resources(answer)
            if answer.ending is Ending.DONE:
                then(trial, answer.value)
            else:
                self._failed(trial, answer)

        self._calls.start(f"{WORKER}:{function}", payload, answered, key=key)

    def _surveyed(self, trial: TrialInFlight, value: Any) -> None:
        trial.scheme = value["scheme"]
        number = trial.proposal.number

        def ready(schedules: Mapping[str, Any]) -> None:
            trial.schedules = schedules
            payload = {"decisions": trial.decisions, "schedules": schedules}
            key = {"scheme": trial.scheme, "schedules": schedules, **value.get("beside", {})}
            self._start("measure", trial, payload, self._measured, key)

        tuned = trial.proposal.tuned
        tasks = self._tunings.read(value["tasks"], trial.decisions, tuned=tuned)
        self._tunings.survey(number, tasks, trial.saw, ready)

    def _measured(self, trial: TrialInFlight, value: Any) -> None:
        trial.measured, trial.bound_ms = value["metrics"], value["bound_ms"]
        trial.intervals = value.get("intervals", {})
        trial.doubts = tuple(value.get("doubts", ()))
        if value["accuracy"] is None:
            self._finish(trial, None)
            return
        assert self._prospects is not None
        trial.subset = Score(**value["accuracy"])
        if trial.subset.samples == self._prospects.full.samples:
            self._finish(trial, trial.subset)
        elif trial.proposal.number == 0 or self._prospects.may_join_front(
            trial.measured, trial.subset, self._known(trial), self._default_metrics()
        ):
            payload = {"decisions": trial.decisions, "subset": value["accuracy"]}
            self._start("full_accuracy", trial, payload, self._scored, {"scheme": trial.scheme})
        else:
            self._finish(trial, None)

    def _known(self, trial: TrialInFlight) -> tuple[OuterTrial, ...]:
        return tuple(self._trials[number] for number in trial.saw)

    def _scored(self, trial: TrialInFlight, value: Any) -> None:
        self._finish(trial, Score(**value))

    def _default_metrics(self) -> Mapping[str, float]:
        default = self._trials.get(0)
        return default.metrics if default is not None else {}

    def _metrics(self, trial: TrialInFlight, known: Score | None) -> dict[str, float]:
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

    def _finish(self, trial: TrialInFlight, full: Score | None) -> None:
        known = full or trial.subset
        metrics = self._metrics(trial, known)
        evidence = Evidence()
        if known is not None:
            assert self._prospects is not None
            evidence = self._prospects.evidence(known)
        judged = {**metrics, **evidence.pessimistic}
        broken = [
            _breach(shown_name(limit.metric.value, self._metric), judged[limit.metric.value], limit)
            for limit in self._problem.limits
            if limit.excess(judged[limit.metric.value]) > 0
        ]
        # Only the default trial can be outside of what is admitted: it is measured, not chosen.
        broken += not_admitted(self._problem.space, trial.proposal.point)
        outcome = Outcome.CONSTRAINTS if broken else Outcome.COMPLETE
        self._store(trial, outcome, metrics, "; ".join(broken), full, known, evidence)

    def _failed(self, trial: TrialInFlight, answer: Answer) -> None:
        if not trial.scheme:
            self._tunings.survey(trial.proposal.number)
        text = f"{answer.message}"[:500]
        self._store(trial, classify(answer), {}, text, None, None, Evidence(), answer.log)

    def _store(
        self,
        trial: TrialInFlight,
        outcome: Outcome,
        metrics: Mapping[str, float],
        message: str,
        full: Score | None,
        known: Score | None,
        evidence: Evidence,
        log: str = "",
    ) -> None:
        number = trial.proposal.number
        finished = trial.finished(outcome, metrics, message, full, known, evidence, log)
        self._trials[number] = finished
        del self._flying[number]
        self._sight.finished(number)
        self._storage.finish(self._study, finished)
        self._observer.finished(finished)


def _breach(name: str, value: float, limit: Limit) -> str:
    """A value that breaks a limit, as it is written everywhere, and told apart from the limit."""
    return f"{name} {figures((value, limit.low, limit.high), name)[0]} is not {limit.text}"
