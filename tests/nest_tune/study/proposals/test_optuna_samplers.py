"""Samplers of Optuna's kind in studies, and the project's own in studies of Optuna's."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.errors import InputError, MissingDependencyError, NestTuneError
from nest_tune.samplers.registry import OPTUNA_SAMPLERS, load_configuration_sampler
from nest_tune.study.proposals.base_samplers import ExhaustiveSampler, XgbSampler, suggest
from nest_tune.study.proposals.front import dominates, nondominated
from nest_tune.study.proposals.history import History
from nest_tune.study.proposals.making import require_sampler
from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.proposals.proposals import propose
from nest_tune.study.proposals.sampler_traits import takes_seed, traits_of
from nest_tune.study.proposals.sampler_warnings import tell_once
from nest_tune.study.request.goals import scale_of
from nest_tune.study.trial import OuterTrial, Point, Proposal
from search_spaces.joint import JointSpace
from tests.nest_tune.study.proposals.test_guided import LIMIT, OBJECTIVES, measured, space

WITHOUT_TORCH = [name for name in OPTUNA_SAMPLERS if name not in ("GPSampler", "GridSampler")]
FIXED = {"fixed_params": {"partition.g3": "cpu"}, "base_sampler": {"name": "tpe"}}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "nsga2": {"population_size": 6},
    "NSGAIIISampler": {"population_size": 6, "crossover": "SBXCrossover"},
    "PartialFixedSampler": FIXED,
}


class Counting(optuna.samplers.RandomSampler):
    """Nobody can give it a seed, and it counts."""

    made = 0

    def __init__(self) -> None:
        super().__init__(seed=1)
        Counting.made += 1


class Nosy(optuna.samplers.RandomSampler):
    """Keeps what it sees of a study."""

    seen: tuple[tuple[int, str], ...] = ()

    def __init__(self, seed: int, width: int = 1) -> None:
        super().__init__(seed=seed)
        self.width = width

    def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        trials = study.get_trials(deepcopy=False)
        Nosy.seen = tuple((t.number, t.state.name) for t in trials if t.number != trial.number)


class Outdated(optuna.samplers.RandomSampler):
    """Warns whenever it is made, and fails whenever it is asked."""

    def __init__(self, seed: int) -> None:
        warnings.warn("this goes away", FutureWarning, stacklevel=2)
        super().__init__(seed=seed)

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        del study, trial
        return optuna.samplers.intersection_search_space()


class Leaving(optuna.samplers.RandomSampler):
    """Ends the process where it is asked."""

    def sample_independent(self, *_given: Any) -> Any:
        raise SystemExit(9)


class Missing:
    """A package that is imported when it is first used, and is not there."""

    def __getattr__(self, name: str) -> Any:
        raise ModuleNotFoundError("No module named 'cmaes'", name="cmaes")


def problem_for(sampler: str, whole: JointSpace | None = None, **arguments: Any) -> SearchProblem:
    goals = OBJECTIVES[:1] if sampler == "CmaEsSampler" else OBJECTIVES
    return SearchProblem(whole or space(), goals, (LIMIT,), sampler, 3, False, arguments=arguments)


def search(
    make: Callable[[int], SearchProblem], trials: int, window: int = 8
) -> tuple[list[Proposal], list[OuterTrial]]:
    """Proposals one by one; ``make`` gives the problem for a trial."""
    proposals: list[Proposal] = []
    history: list[OuterTrial] = []
    for number in range(trials):
        known = max(1, number - window + 1) if number else 0
        seen = History(tuple(history[:known]), tuple(proposals[known:]))
        found = propose(make(number), seen, number)
        if found is None:
            break
        proposals.append(found)
        trial = measured(number, found.point)
        history.append(replace(trial, attributes=found.attributes))
    return proposals, history


@pytest.mark.parametrize("name", ["tpe", "nsga2", "random", *WITHOUT_TORCH])
@pytest.mark.filterwarnings("ignore")
def test_a_sampler_proposes_the_same_from_what_is_stored(name: str) -> None:
    if name == "CmaEsSampler":
        pytest.importorskip("cmaes")
    arguments = ARGUMENTS.get(name, {})
    one = problem_for(name, **arguments)
    through, _ = search(lambda _: one, 30)
    # As after a kill before each trial: nothing is left of the sampler and of what it saw.
    again, _ = search(lambda _: problem_for(name, **arguments), 30)
    assert through == again
    points = [proposal.point for proposal in through]
    assert len(set(points)) == len(points)
    assert all(one.space.is_legal(point) for point in points)


def test_what_a_sampler_refuses_is_told() -> None:
    one = SearchProblem(space(), OBJECTIVES, (), "CmaEsSampler", 0, False)
    with pytest.raises(NestTuneError, match=r"'CmaEsSampler'.*multi-objective"):
        search(lambda _: one, 14)


@pytest.mark.parametrize("startup", [3, 20])
def test_what_a_sampler_refuses_is_told_before_the_first_trial(startup: int) -> None:
    arguments = {"n_startup_trials": startup}
    one = SearchProblem(space(), OBJECTIVES, (), "CmaEsSampler", 0, False, arguments=arguments)
    with pytest.raises(InputError, match=r"'CmaEsSampler'.*multi-objective"):
        require_sampler(one)
    assert one.memory == {}


def test_a_package_that_a_sampler_lacks_is_told_before_the_first_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(optuna.samplers._cmaes, "cmaes", Missing())
    with pytest.raises(MissingDependencyError, match="cmaes") as told:
        require_sampler(problem_for("CmaEsSampler"))
    assert "install cmaes" in str(told.value.hint)


@pytest.mark.parametrize("name", ["tpe", "nsga2", "random", *WITHOUT_TORCH])
@pytest.mark.filterwarnings("ignore")
def test_samplers_that_will_do_are_not_refused(name: str) -> None:
    if name == "CmaEsSampler":
        pytest.importorskip("cmaes")
    require_sampler(problem_for(name, **ARGUMENTS.get(name, {})))


@pytest.mark.filterwarnings("ignore")
def test_cma_es_learns_from_results() -> None:
    """Optuna passes over categories: it would draw all of them at random."""
    pytest.importorskip("cmaes")
    one = problem_for("CmaEsSampler")
    proposals, _ = search(lambda _: one, 40)
    written = [p.attributes.get("sampler", {}).get("trial", {}) for p in proposals]
    assert any("cma" in key for attributes in written for key in attributes)


@pytest.mark.filterwarnings("ignore")
def test_a_low_discrepancy_sequence_covers_each_decision() -> None:
    one = problem_for("QMCSampler")
    proposals, _ = search(lambda _: one, 66)
    written = [p.attributes.get("sampler", {}) for p in proposals]
    assert any("study" in attributes for attributes in written)


def test_fixed_decisions_stay() -> None:
    one = problem_for("PartialFixedSampler", **FIXED)
    names = [parameter.name for parameter in one.space.parameters]
    at = names.index("partition.g3")
    proposals, _ = search(lambda _: one, 30)
    free = [p for p in proposals if "sampler" in p.attributes]
    assert free
    assert {p.point[at] for p in free} == {0}


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("PartialFixedSampler", {"fixed_params": {"partition.g33": "cpu"}}, "no decision"),
        ("PartialFixedSampler", {"fixed_params": {"partition.g3": "npu"}}, "none of 'cpu', "),
        ("PartialFixedSampler", {}, "fixed_params"),
        ("NSGAIISampler", {"crossover": "SBX"}, "known are .*SBXCrossover"),
        ("PartialFixedSampler", FIXED | {"base_sampler": "xgb"}, "no sampler of Optuna's kind"),
        ("PartialFixedSampler", FIXED | {"base_sampler": {"n": 1}}, "its name is missing"),
        ("CmaEsSampler", {"independent_sampler": {"name": "tpe", "m": 1}}, "'tpe'.* 'm'"),
    ],
)
def test_objects_that_cannot_be_made_are_named(
    name: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        require_sampler(problem_for(name, **arguments))


def test_all_of_optunas_samplers_have_a_name() -> None:
    theirs = {name for name in optuna.samplers.__all__ if name.endswith("Sampler")}
    assert set(OPTUNA_SAMPLERS) == theirs - {
        "BaseSampler",
        "BaseGASampler",
    }
    assert all(takes_seed(load_configuration_sampler(name)[0]) for name in OPTUNA_SAMPLERS)


def test_a_sampler_sees_results_it_may_know_and_the_rest_running() -> None:
    one = problem_for(f"{__name__}:Nosy", width=2)
    search(lambda _: one, 14)
    assert Nosy.seen == tuple(
        (number, "COMPLETE" if number <= 13 - 8 else "RUNNING") for number in range(13)
    )


def test_what_a_sampler_warns_of_is_told_once_and_its_faults_before_the_first_trial(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = problem_for(f"{__name__}:Outdated")
    tell_once.cache_clear()
    require_sampler(one)
    told = [record.getMessage() for record in caplog.records]
    assert [text.partition(": ")[2] for text in told] == [
        "this goes away",
        "failed with made-up results: AttributeError: module 'optuna.samplers' has no attribute "
        "'intersection_search_space'",
    ]
    with pytest.raises(NestTuneError, match="intersection_search_space"):
        search(lambda _: one, 14)
    assert len(caplog.records) == len(told)


def test_a_sampler_does_not_end_the_process() -> None:
    one = problem_for(f"{__name__}:Leaving")
    require_sampler(one)
    with pytest.raises(NestTuneError, match=r"sampler '.*:Leaving': trial .*: SystemExit: 9"):
        search(lambda _: one, 14)


def test_a_sampler_with_a_state_lives_as_long_as_the_run() -> None:
    name = f"{__name__}:Counting"
    one = problem_for(name)
    assert traits_of(one, load_configuration_sampler(name)[0]).keeps_state
    Counting.made = 0  # it was tried before
    search(lambda _: one, 14)
    assert Counting.made == 1


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("TPESampler", {"startup": 3}, "unexpected keyword argument 'startup'"),
        (f"{__name__}:space", {}, "a JointSpace was made"),
        (f"{__name__}:nothing", {}, "cannot be loaded"),
        ("TPESamplr", {}, "known are .*TPESampler"),
    ],
)
def test_what_is_no_sampler_is_refused(name: str, arguments: dict[str, Any], said: str) -> None:
    one = problem_for(name, **arguments)
    with pytest.raises(InputError, match=said):
        search(lambda _: one, 14)


@pytest.mark.parametrize("name", ["xgb", "tpe", "nsga2", "CmaEsSampler", "exhaustive"])
@pytest.mark.filterwarnings("ignore")
def test_narrowed_decisions_stay_inside(name: str) -> None:
    if name == "CmaEsSampler":
        pytest.importorskip("cmaes")
    whole = space()
    admitted = {"quantization.range": (1, 2), "quantization.bias": (1,), "partition.g3": (0,)}
    narrow = JointSpace(whole.parts, admitted)
    assert narrow.digest == whole.digest
    one = problem_for(name, narrow)
    proposals, _ = search(lambda _: one, 24)
    names = [parameter.name for parameter in whole.parameters]
    assert proposals[0].point == whole.default
    assert len(proposals) == 24
    for proposal in proposals[1:]:
        for name, allowed in admitted.items():
            assert proposal.point[names.index(name)] in allowed


@pytest.mark.filterwarnings("ignore")
def test_a_grid_is_walked_where_it_can_be_written_down() -> None:
    whole = space()
    free = ("quantization.range", "quantization.bias", "partition.g3", "partition.g4")
    admitted = {p.name: (0,) for p in whole.parameters if p.name not in free}
    narrow = JointSpace(whole.parts, admitted)
    assert narrow.product_size < 1 << 8

    def points(make: Callable[[int], SearchProblem]) -> list[Point]:
        return [proposal.point for proposal in search(make, 300)[0][1:]]

    one = problem_for("GridSampler", narrow)
    found = points(lambda _: one)
    assert set(found) == set(narrow.enumerate())
    assert len(found) == len(set(found))
    assert found == points(lambda _: problem_for("GridSampler", narrow))
    with pytest.raises(InputError, match="writes down all points, and the space has"):
        search(lambda _: problem_for("GridSampler"), 12)


def test_the_guided_sampler_does_in_a_plain_study_what_it_does_in_ours() -> None:
    one = problem_for("xgb")
    ours, history = search(lambda _: one, 26, window=1)
    scale = scale_of(LIMIT, history[0].metrics)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        found = measured(trial.number, suggest(one, trial)).metrics
        trial.set_constraint("accuracy_drop", LIMIT.slack(found["accuracy_drop"], scale))
        return found["latency_ms"], found["accuracy"]

    directions = [goal.direction.value for goal in OBJECTIVES]
    study = optuna.create_study(directions=directions, sampler=XgbSampler(one))
    study.optimize(objective, n_trials=26)
    theirs = [tuple(trial.params.values()) for trial in study.trials]
    assert len(set(theirs)) == 26
    values = [(t.metrics["latency_ms"], t.metrics["accuracy"]) for t in history]
    assert [tuple(trial.values) for trial in study.trials] == values
    assert len(ours) == 26


def test_trials_side_by_side_of_a_plain_study_are_different(tmp_path: Path) -> None:
    one = problem_for("xgb")
    directions = [goal.direction.value for goal in OBJECTIVES]
    study = optuna.create_study(
        storage=f"sqlite:///{tmp_path}/n.db", directions=directions, sampler=XgbSampler(one)
    )
    asked = [study.ask() for _ in range(6)]  # none of them knows its decisions yet
    proposed = {tuple(trial.relative_params.items()) for trial in asked}
    assert len(proposed) == 6

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        found = measured(trial.number, suggest(one, trial)).metrics
        return found["latency_ms"], found["accuracy"]

    study.optimize(objective, n_trials=18, n_jobs=3)
    points = [tuple(trial.params.items()) for trial in study.trials[6:]]
    assert len(set(points)) == len(points) == 18
    assert not proposed & set(points)


def test_trials_are_enqueued_by_decisions_and_what_cannot_be_is_pruned() -> None:
    one = problem_for("xgb")
    whole = one.space
    assert all(value in one.choices[name] for name, value in one.decisions(whole.default).items())
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=XgbSampler(one))
    study.enqueue_trial(one.decisions(whole.default))
    assert suggest(one, study.ask()) == whole.default
    every = product(*(range(len(parameter)) for parameter in whole.parameters))
    illegal = next(point for point in every if not whole.is_legal(point))
    study.enqueue_trial(one.decisions(illegal))

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        found = measured(trial.number, suggest(one, trial)).metrics
        return found["latency_ms"], found["accuracy"]

    study.optimize(objective, n_trials=3)
    states = [trial.state.name for trial in study.trials]
    assert states == ["RUNNING", "PRUNED", "COMPLETE", "COMPLETE"]
    assert len(repr(one)) < 200
    assert "points" in repr(one)


def test_samplers_can_be_kept_in_a_file() -> None:
    one = problem_for("xgb")
    made = pickle.loads(pickle.dumps(XgbSampler(one, seed=3)))
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=made)
    assert suggest(one, study.ask()) == one.space.start


def test_the_exhaustive_sampler_ends_a_plain_study() -> None:
    part = space().parts[0]
    one = SearchProblem(JointSpace([part]), OBJECTIVES[:1], (), "exhaustive", 0, False)
    study = optuna.create_study(sampler=ExhaustiveSampler(one))
    study.optimize(lambda trial: float(sum(suggest(one, trial))), n_trials=1000)
    legal = len(list(one.space.enumerate()))
    assert len({tuple(trial.params.items()) for trial in study.trials}) == legal
    assert len(study.trials) == legal + 1  # the last one says that nothing is left


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3).flatmap(
        lambda m: st.lists(st.tuples(*[st.integers(0, 5)] * m), min_size=0, max_size=30).map(
            lambda rows: np.array(rows, np.float64).reshape(len(rows), m)
        )
    )
)
def test_the_front_is_what_none_dominates(table: np.ndarray) -> None:
    rows = [tuple(row) for row in table.tolist()]
    expected = [
        n
        for n, row in enumerate(rows)
        if not any(dominates(other, row) for other in rows) and row not in rows[:n]
    ]
    assert sorted(nondominated(table)) == expected
    assert [rows[n][0] for n in nondominated(table)] == sorted(rows[n][0] for n in expected)
