"""What a sampler of Optuna's sees: a study in memory with the results that it may know.

Trials have their numbers and their decisions by name; those whose results are not known are
RUNNING. The study is never written to but from here, and by samplers: what they keep as attributes
of trials and of the study is handed back, so that it can be kept with the trial that was proposed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from nest_tune.study.proposals.history import History
from nest_tune.study.proposals.offered import Offered, domain_of
from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.request.goals import scale_of
from nest_tune.study.trial import OuterTrial, Point, Proposal

optuna.logging.set_verbosity(optuna.logging.ERROR)

SAMPLER = "sampler"
"""Attribute of a proposal: what its sampler wrote, ``{"trial": {…}, "study": {…}}``."""

INFEASIBLE = 1e6
"""Constraint of what does not exist on the target."""

Tell = Callable[[optuna.Study, FrozenTrial, TrialState, list[float] | None], None]
"""What is told of a trial that ends: as :meth:`optuna.samplers.BaseSampler.after_trial`."""

_USER, _STATE = "user", "trial"
_STUDY, _STUDY_USER = "study", "study_user"
_CONSTRAINT = "constraints"
"""Beginning of the attributes that :meth:`optuna.Trial.set_constraint` writes."""


class InMemoryStudy:
    """A study in memory.

    Args:
        problem: What is searched.
        numbers: Whether values of decisions are shown as numbers.
    """

    def __init__(self, problem: SearchProblem, *, numbers: bool = False) -> None:
        self._problem = problem
        self.domain = domain_of(problem.space)
        self._offered = Offered(problem.space, numbers=numbers)
        self._storage = optuna.storages.InMemoryStorage()
        self.study = optuna.create_study(
            storage=self._storage,
            directions=[o.direction.value for o in problem.objectives],
            sampler=optuna.samplers.RandomSampler(0),
        )
        self._known: list[OuterTrial] = []
        self._proposed: list[Point] = []

    def follows(self, history: History, number: int) -> bool:
        """Whether the view holds a beginning of what a proposal may know."""
        known = self._known
        return (
            len(self._proposed) <= number
            and len(known) <= len(history)
            and all(a is b for a, b in zip(known, history, strict=False))
        )

    def show(self, history: History, number: int, tell: Tell | None = None) -> None:
        """Adds what a proposal may know beyond the one before it.

        Args:
            history: What it may know.
            number: Of the proposal.
            tell: Called with each trial that has ended, before it is shown so.
        """
        self.study._thread_local.in_optimize_loop = True  # samplers may call study.stop()
        points: dict[int, OuterTrial | Proposal] = {p.number: p for p in history.pending}
        points |= {t.number: t for t in history.trials}
        for at in range(len(self._proposed), number):
            self._create(points[at].point, points[at].attributes)
        default = history[0].metrics if history else {}
        for trial in history.trials[len(self._known) :]:
            self._end(trial, default, tell)
        self._known = list(history.trials)

    def begin(self, sampler: optuna.samplers.BaseSampler) -> optuna.Trial:
        """The trial that is to be sampled."""
        self.study.sampler = sampler
        return self.study.ask()

    def sampled(self, trial: optuna.Trial) -> Point:
        """What the study's sampler gives a trial, as :meth:`optuna.Trial._suggest` would ask.

        Raises:
            ValueError: A value was not offered.
        """
        sampler, found = self.study.sampler, {}
        together = trial.relative_params
        frozen = self._storage.get_trial(trial._trial_id)
        for name, spread in self._offered.distributions.items():
            if spread.single():
                found[name] = self._offered.only(name)
            elif name in together:
                found[name] = together[name]
            else:
                found[name] = sampler.sample_independent(self.study, frozen, name, spread)
            frozen.params = {**frozen.params, name: found[name]}
            frozen.distributions = {**frozen.distributions, name: spread}
        return self.domain.point(self._offered.chosen(found))

    def settle(self, key: int, point: Point) -> None:
        """Gives the sampled trial its decisions."""
        self._set(key, point)
        self._proposed.append(point)

    def attributes(self, key: int, before: Mapping[str, Any]) -> dict[str, Any]:
        """What the sampler wrote about a trial, and about the study since ``before``."""
        trial = self._storage.get_trial(key)
        found: dict[str, Any] = {
            _STATE: dict(trial.system_attrs),
            _USER: dict(trial.user_attrs),
        }
        for part, values in self.study_attributes().items():
            known = before.get(part, {})
            found[part] = {name: v for name, v in values.items() if known.get(name) != v}
        kept = {name: values for name, values in found.items() if values}
        plain: dict[str, Any] = json.loads(json.dumps(kept, default=_plain))
        return plain

    def study_attributes(self) -> dict[str, dict[str, Any]]:
        """Attributes that samplers gave the study, by kind."""
        key = self.study._study_id
        return {
            _STUDY: dict(self._storage.get_study_system_attrs(key)),
            _STUDY_USER: dict(self._storage.get_study_user_attrs(key)),
        }

    def _create(self, point: Point, attributes: Mapping[str, Any]) -> None:
        key = self._storage.create_new_trial(self.study._study_id)
        kept = attributes.get(SAMPLER, {})
        for name, value in kept.get(_STATE, {}).items():
            self._storage.set_trial_system_attr(key, name, value)
        for name, value in kept.get(_USER, {}).items():
            self._storage.set_trial_user_attr(key, name, value)
        for name, value in kept.get(_STUDY, {}).items():
            self._storage.set_study_system_attr(self.study._study_id, name, value)
        for name, value in kept.get(_STUDY_USER, {}).items():
            self._storage.set_study_user_attr(self.study._study_id, name, value)
        self.settle(key, point)

    def _set(self, key: int, point: Point) -> None:
        values = self.domain.params(point)
        for (name, spread), index, admitted in zip(
            self._offered.distributions.items(), point, self._problem.space.admitted, strict=True
        ):
            if index in admitted:
                internal = spread.to_internal_repr(self._offered.value(name, values[name]))
                self._storage.set_trial_param(key, name, internal, spread)

    def _end(self, trial: OuterTrial, default: Mapping[str, float], tell: Tell | None) -> None:
        """Infeasible trials are complete ones that exceed a limit by far; those that broke, and
        what is not admitted, are failed ones, which samplers pass over."""
        key = self._key(trial.number)
        problem = self._problem
        metrics = trial.metrics if trial.outcome.is_measured else default
        names = [o.metric.value for o in problem.objectives]
        values = [metrics[name] for name in names if name in metrics]
        point = trial.point
        inside = problem.space.moved_inside(point) == point
        if trial.outcome.is_error or len(values) < len(names) or not inside:
            self._set_state(key, TrialState.FAIL, None, tell)
            return
        for name, value in self._constraints(trial, default).items():
            self._storage.set_trial_system_attr(key, f"{_CONSTRAINT}:{name}", value)
        self._set_state(key, TrialState.COMPLETE, values, tell)

    def _set_state(
        self, key: int, state: TrialState, values: list[float] | None, tell: Tell | None
    ) -> None:
        if tell is not None:
            tell(self.study, self._storage.get_trial(key), state, values)
        self._storage.set_trial_state_values(key, state, values)

    def _key(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self.study._study_id, number)

    def _constraints(self, trial: OuterTrial, default: Mapping[str, float]) -> dict[str, float]:
        limits = self._problem.limits
        if not trial.outcome.is_measured:
            names = [limit.metric.value for limit in limits] or ["feasible"]
            return dict.fromkeys(names, INFEASIBLE)
        return {
            limit.metric.value: limit.slack(
                trial.judged[limit.metric.value], scale_of(limit, default)
            )
            for limit in limits
        }


def _plain(value: Any) -> Any:
    """Numbers of numpy as Python's."""
    return value.item() if hasattr(value, "item") else str(value)
