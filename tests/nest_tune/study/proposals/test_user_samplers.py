"""Samplers of other people in studies: what they need is found out by trying them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from compiler_core.errors import NestTuneError
from nest_tune.samplers.registry import load_configuration_sampler
from nest_tune.study.proposals.making import require_sampler
from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.proposals.sampler_traits import Traits, traits_of
from tests.nest_tune.study.proposals.test_optuna_samplers import problem_for, search

Space = dict[str, BaseDistribution]


class Own(optuna.samplers.BaseSampler):
    """Draws all decisions together."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)

    def infer_relative_search_space(self, study: optuna.Study, _trial: FrozenTrial) -> Space:
        return optuna.search_space.intersection_search_space(study.get_trials(deepcopy=False))

    def sample_relative(
        self, _study: optuna.Study, _trial: FrozenTrial, search_space: Space
    ) -> dict[str, Any]:
        return {name: self._drawn(spread) for name, spread in search_space.items()}

    def sample_independent(
        self, _study: optuna.Study, _trial: FrozenTrial, _name: str, spread: BaseDistribution
    ) -> Any:
        return self._drawn(spread)

    def _drawn(self, spread: BaseDistribution) -> Any:
        if isinstance(spread, CategoricalDistribution):
            return spread.choices[int(self._rng.integers(len(spread.choices)))]
        assert isinstance(spread, IntDistribution)
        return int(self._rng.integers(spread.low, spread.high + 1))


class Lazy(Own):
    """Holds what follows from the space alone, from its first proposal on."""

    dim = 0

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Space
    ) -> dict[str, Any]:
        self.dim = len(search_space)
        self.seen = len(study.trials)
        return super().sample_relative(study, trial, search_space)


class Queued(Own):
    """Takes a seed, and proposes what it has thought of some trials before."""

    alive: list[Queued] = []  # noqa: RUF012 - what tests look at

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._queue: list[dict[str, Any]] = []
        Queued.alive.append(self)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Space
    ) -> dict[str, Any]:
        if not self._queue:
            self._queue = [super().sample_relative(study, trial, search_space)] * 3
        return self._queue.pop(0)


class Listening(Own):
    """Learns from :meth:`after_trial` alone."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.heard: list[tuple[int, str, bool]] = []

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self.heard.append((trial.number, state.name, values is not None))
        study.stop()


class Numeric(Own):
    """Refuses categories."""

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Space
    ) -> dict[str, Any]:
        if any(isinstance(spread, CategoricalDistribution) for spread in search_space.values()):
            raise NotImplementedError("CategoricalDistribution is not supported")
        return super().sample_relative(study, trial, search_space)


class PassingOver(Own):
    """Leaves categories to chance."""

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Space:
        found = super().infer_relative_search_space(study, trial)
        return {n: s for n, s in found.items() if not isinstance(s, CategoricalDistribution)}


class Given(Own):
    """Takes Optuna's distributions, as samplers of OptunaHub do."""

    def __init__(self, search_space: dict[str, BaseDistribution] | None = None, seed: int = 0):
        super().__init__(seed)
        assert search_space is not None
        self._space = search_space

    def infer_relative_search_space(self, _study: optuna.Study, _trial: FrozenTrial) -> Space:
        assert all(isinstance(spread, BaseDistribution) for spread in self._space.values())
        return self._space


class Writing(Own):
    """Keeps its state where it is stored."""

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Space
    ) -> dict[str, Any]:
        count = study.user_attrs.get("count", 0)
        study.set_user_attr("count", count + 1)
        choices = {name: self._drawn(spread) for name, spread in search_space.items()}
        study._storage.set_trial_user_attr(trial._trial_id, "count", count)
        return choices


class Broken(Own):
    """Fails whatever it is shown."""

    def sample_relative(self, *_: Any) -> dict[str, Any]:
        raise RuntimeError("never")


def problem(kind: type[Own], **arguments: Any) -> SearchProblem:
    return problem_for(f"{__name__}:{kind.__name__}", **arguments)


def traits(kind: type[Own]) -> Traits:
    one = problem(kind)
    return traits_of(one, load_configuration_sampler(one.sampler)[0])


@pytest.mark.parametrize(
    ("kind", "numbers", "keeps_state"),
    [
        (Own, False, False),
        (Lazy, False, False),
        (Queued, False, True),
        (Listening, False, True),
        (Numeric, True, False),
        (PassingOver, True, False),
        (Given, False, False),
        (Writing, False, False),
    ],
)
def test_what_a_sampler_needs_is_found_out(
    kind: type[Own], numbers: bool, keeps_state: bool
) -> None:
    assert traits(kind) == Traits(numbers, keeps_state)


@pytest.mark.parametrize("window", [1, 8, 64])
@pytest.mark.parametrize("kind", [Own, Lazy, Numeric, PassingOver, Given, Writing])
def test_samplers_without_a_state_propose_the_same_from_what_is_stored(
    kind: type[Own], window: int
) -> None:
    one = problem(kind)
    require_sampler(one)
    through, _ = search(lambda _: one, 20, window)
    again, _ = search(lambda _: problem(kind), 20, window)  # as after a kill before each trial
    assert through == again


def test_a_sampler_that_carries_something_lives_as_long_as_the_run() -> None:
    one = problem(Queued)
    require_sampler(one)
    search(lambda _: one, 24)
    through = [*Queued.alive]
    search(lambda _: one, 24)
    assert Queued.alive == through


def test_a_sampler_hears_of_each_trial_once() -> None:
    one = problem(Listening)
    _, history = search(lambda _: one, 24, window=4)
    heard = one.memory["kept"].heard
    assert [number for number, *_ in heard] == list(range(20))
    one.memory.pop("view")  # as where a view has to be built anew
    search(lambda _: one, 24, window=4)
    assert [number for number, *_ in one.memory["kept"].heard] == list(range(20))
    states = {trial.number: trial.outcome.is_error for trial in history}
    assert all((state == "FAIL") == states[number] for number, state, _ in heard)


def test_what_a_sampler_writes_about_the_study_is_kept() -> None:
    proposals, _ = search(lambda _: problem(Writing), 20, window=1)
    counts = [
        p.attributes["sampler"]["user"]["count"] for p in proposals if "sampler" in p.attributes
    ]
    assert counts == sorted(set(counts))  # a point that was tried before counts, too
    assert len(counts) > 5


def test_what_fails_with_made_up_results_is_told_by_its_trial() -> None:
    one = problem(Broken)
    require_sampler(one)
    with pytest.raises(NestTuneError, match=r"Broken.*trial \d+: RuntimeError: never"):
        search(lambda _: one, 20)
