"""The outer loop: same trials in any order of answers and after any interruption; outcomes."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from compiler_core.errors import InputError, NestTuneError
from nest_tune.figures import figure
from nest_tune.records.database import RecordDatabase
from nest_tune.runners.runner import Answer, Ending, Work
from nest_tune.study.request.goals import Direction, Limit, Objective, TrialMetric
from nest_tune.study.store import ground
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.ended import Ended
from nest_tune.study.store.rehearsal import rehearse
from nest_tune.study.store.result import compile_trial
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Status
from nest_tune.study.trial import Outcome
from tests.nest_tune.trials_digest import trials_digest


class BrokenOff(BaseException):
    """Stands for a killed process."""


def after(count: int) -> Any:
    """A hurdle that breaks off before call number ``count``."""
    calls = iter(range(count))

    def hurdle(_work: Work) -> Answer | None:
        if next(calls, None) is None:
            raise BrokenOff
        return None

    return hurdle


@pytest.mark.parametrize("sampler", ["xgb", "tpe", "nsga2", "random", "exhaustive"])
def test_the_order_of_answers_changes_nothing(studies: Any, sampler: str) -> None:
    other = f"sqlite:///{studies.folder / 'other.db'}"
    first = studies.run(studies.settings(sampler=sampler), seed=1)
    second = studies.run(studies.settings(sampler=sampler, storage=other), seed=2)
    assert len(first.trials) == 17
    assert first.ended is Ended.TRIALS
    assert trials_digest(first.trials) == trials_digest(second.trials)


def test_another_seed_gives_other_trials(studies: Any) -> None:
    first = studies.run(studies.settings(name="a", trials=41))
    second = studies.run(studies.settings(name="b", trials=41, seed=1))
    assert [t.point for t in first.trials] != [t.point for t in second.trials]


@pytest.mark.parametrize("calls", [1, 3, 12, 30])
def test_a_broken_off_study_goes_on_as_if_nothing_had_been(studies: Any, calls: int) -> None:
    whole = studies.run(studies.settings(name="whole"))
    # Another storage, or every result would be found again.
    other = f"sqlite:///{studies.folder / 'other.db'}"
    with pytest.raises(BrokenOff):
        studies.run(studies.settings(storage=other), seed=5, hurdle=after(calls))
    result = studies.run(studies.settings(storage=other), if_exists="resume", seed=6)
    assert trials_digest(result.trials) == trials_digest(whole.trials)


def test_tuned_trials_survive_a_break_too(studies: Any) -> None:
    whole = studies.run(studies.settings(tiling=True, partition=False, trials=3))
    assert sum(task.measurements for task in whole.tasks.values()) > 0
    default, tuned = whole.trials[:2]
    assert default.point == tuned.point
    assert tuned.metrics["npu_cycles"] < default.metrics["npu_cycles"]
    other = f"sqlite:///{studies.folder / 'other.db'}"
    settings = studies.settings(storage=other, tiling=True, partition=False, trials=3)
    with pytest.raises(BrokenOff):
        studies.run(settings, hurdle=after(6))
    result = studies.run(settings, if_exists="resume")
    assert trials_digest(result.trials) == trials_digest(whole.trials)


def test_a_journal_gives_the_same_trials_and_survives_a_break(studies: Any) -> None:
    whole = studies.run(studies.settings(tiling=True, partition=False, trials=3))
    journal = f"journal:///{studies.folder / 'n.log'}"
    settings = studies.settings(storage=journal, tiling=True, partition=False, trials=3)
    with pytest.raises(BrokenOff):
        studies.run(settings, hurdle=after(6))
    result = studies.run(settings, if_exists="resume")
    assert trials_digest(result.trials) == trials_digest(whole.trials)


def test_more_trials_go_on_behind_the_last_step(studies: Any) -> None:
    """The first run ended with a last step of its own, which stays; what follows is the same
    whenever it follows."""
    short = studies.run(studies.settings(trials=12))
    result = studies.run(studies.settings(trials=20), if_exists="resume")
    assert trials_digest(result.trials[:12]) == trials_digest(short.trials)
    assert len(result.trials) == 20
    other = f"sqlite:///{studies.folder / 'other.db'}"
    studies.run(studies.settings(trials=12, storage=other), seed=3)
    again = studies.run(studies.settings(trials=20, storage=other), if_exists="resume", seed=4)
    assert trials_digest(again.trials) == trials_digest(result.trials)


def test_no_point_is_tried_twice_and_a_small_space_ends(studies: Any) -> None:
    result = studies.run(studies.settings(quantization=False, trials=100))
    assert result.ended is Ended.EXHAUSTED
    assert len(result.trials) == 64
    points = [(trial.point, trial.tuned) for trial in result.trials]
    assert len(set(points)) == len(points)


def test_a_study_ends_where_nothing_can_be_better(studies: Any, synthetic: ModuleType) -> None:
    np.savez(studies.folder / "eval.npz", **synthetic.samples("residual", 3, 3))
    accuracy = Objective(TrialMetric.ACCURACY, Direction.MAXIMIZE)
    result = studies.run(
        studies.settings(metric="agreement", objectives=(accuracy,), trials=100, sampler="random")
    )
    assert result.ended is Ended.IDEAL
    assert result.front[0].metrics["accuracy"] == 1.0
    assert len(result.trials) < 100


def test_results_are_found_again(studies: Any) -> None:
    studies.run(studies.settings(name="a"))
    studies.run(studies.settings(name="b"))
    assert studies.runner.calls == []


def test_accuracy_is_measured_in_full_only_where_it_matters(
    studies: Any, synthetic: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground, "SUBSET", 128)
    np.savez(studies.folder / "eval.npz", **synthetic.samples("residual", 512, 3))
    result = studies.run(studies.settings(metric="agreement", trials=25, sampler="random"))
    full = [trial for trial in result.trials if trial.accuracy_samples == 512]
    assert result.trials[0] in full
    assert all(trial.settled == (trial in full) for trial in result.trials)
    assert {trial.number for trial in result.front} <= {trial.number for trial in full}
    assert len(full) < len(result.trials)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(0, Ending.TIMEOUT, message="ran longer than 60 s"), Outcome.TIMEOUT),
        (Answer(0, Ending.ERROR, error="InfeasibleError", message="no"), Outcome.INFEASIBLE),
        (Answer(0, Ending.ERROR, error="InputError", message="no"), Outcome.COMPILE),
        (Answer(0, Ending.ERROR, error="InternalError", message="no"), Outcome.CORRECTNESS),
        (Answer(0, Ending.ERROR, error="ZeroDivisionError", message="no"), Outcome.RUNTIME),
        (Answer(0, Ending.LOST, message="signal 9"), Outcome.RUNTIME),
    ],
)
def test_a_trial_that_fails_is_classed_and_the_study_goes_on(
    studies: Any, answer: Answer, outcome: Outcome
) -> None:
    broken: list[Any] = []

    def hurdle(work: Work) -> Answer | None:
        if not work.function.endswith(":measure"):
            return None
        if len(broken) == 0 and work.payload["decisions"]["partition"]:
            broken.append(work.payload)
        return replace(answer, ticket=work.ticket) if work.payload in broken else None

    result = studies.run(studies.settings(), hurdle=hurdle)
    assert len(result.trials) == 17
    failed = [trial for trial in result.trials if trial.outcome is outcome]
    assert len(failed) == 1
    assert failed[0].message.startswith(answer.message)
    assert result.front


def test_a_lost_worker_costs_a_retry(studies: Any) -> None:
    lost: list[Any] = []

    def hurdle(work: Work) -> Answer | None:
        if work.payload in lost:
            return None
        lost.append(work.payload)
        return Answer(work.ticket, Ending.LOST, message="signal 9")

    result = studies.run(studies.settings(trials=9), hurdle=hurdle)
    assert {trial.outcome for trial in result.trials} == {Outcome.COMPLETE}


def test_ten_equal_errors_at_the_start_end_the_study(studies: Any) -> None:
    def hurdle(work: Work) -> Answer | None:
        if work.function.endswith(":float_accuracy"):
            return None
        return Answer(work.ticket, Ending.ERROR, error="ValueError", message="always")

    with pytest.raises(NestTuneError, match=r"first 10 trials.*runtime.*always"):
        studies.run(studies.settings(trials=100), hurdle=hurdle)
    storage = StudyStorage(studies.settings().storage)
    assert len(storage.trials(storage.find("s"))) == 17
    assert storage.find("s").status is Status.FAILED
    storage.close()


def test_limits_make_trials_infeasible_and_nothing_is_chosen(studies: Any) -> None:
    limit = Limit(TrialMetric.LATENCY_MS, high=1e-6)
    result = studies.run(studies.settings(limits=(limit,), trials=9))
    assert {trial.outcome for trial in result.trials} == {Outcome.CONSTRAINTS}
    latency = figure(result.trials[0].metrics["latency_ms"], "latency_ms")
    assert result.trials[0].message == f"latency_ms {latency} is not <= 1e-06"
    assert result.front == ()
    assert result.chosen() is None


def test_a_default_that_is_not_admitted_is_measured_and_not_chosen(studies: Any) -> None:
    free = studies.run(studies.settings(name="free", quantization=False))
    names = [name for name, _ in free.study.document["parameters"]]
    on_npu = next(at for at, index in enumerate(free.trials[0].point) if index)
    pins = {names[on_npu]: ("cpu",)}
    result = studies.run(studies.settings(name="pinned", quantization=False, values=pins))
    default, *others = result.trials
    assert default.point == free.trials[0].point
    assert default.metrics == free.trials[0].metrics
    assert default.outcome is Outcome.CONSTRAINTS
    assert default.message == f"{names[on_npu]} is vta, not cpu"
    assert {trial.point[on_npu] for trial in others} == {0}
    chosen = result.chosen()
    assert chosen is not None
    assert chosen.point[on_npu] == 0
    assert all(trial.point[on_npu] == 0 for trial in result.front)


def test_wrong_evaluation_data_end_the_study_before_any_trial(studies: Any) -> None:
    arrays = dict(np.load(studies.folder / "eval.npz"))
    np.savez(studies.folder / "eval.npz", **{**arrays, "y": arrays["y"] + 100})
    with pytest.raises(InputError, match="labels 'y' reach from"):
        studies.run(studies.settings())


def test_the_final_compile_gives_what_the_trial_measured(studies: Any) -> None:
    settings = studies.settings(tiling=True, trials=5)
    result = studies.run(settings)
    ground = survey_ground(settings, result.study)
    for trial in result.trials:
        compiled = compile_trial(ground, result, trial)
        assert compiled.metrics.npu_cycles == trial.metrics["npu_cycles"]
        assert compiled.metrics.latency_ms == trial.metrics["latency_ms"]
        assert compiled.configuration.measured["accuracy"] == trial.metrics["accuracy"]


def test_trials_of_merged_launches_are_compiled_so(studies: Any) -> None:
    apart = studies.run(studies.settings(trials=1, launches="apart"))
    settings = studies.settings(tiling=True, trials=3, launches="merged", name="merged")
    result = studies.run(settings)
    ground = survey_ground(settings, result.study)
    first = result.trials[0].metrics
    assert first["latency_ms"] < 0.8 * apart.trials[0].metrics["latency_ms"]
    for trial in result.trials:
        compiled = compile_trial(ground, result, trial)
        assert compiled.configuration.launches.merge
        assert compiled.metrics.latency_ms == trial.metrics["latency_ms"]
    again = studies.settings(tiling=True, trials=3, launches="apart", name="merged")
    with pytest.raises(InputError, match="launches: 'merged' -> 'apart'"):
        studies.run(again, if_exists="resume")


def test_the_first_trials_aim_at_what_is_asked_for(studies: Any) -> None:
    """With energy to be small the first guess is the plan of least energy, and it is less."""
    energy = (Objective(TrialMetric.ENERGY_MJ, Direction.MINIMIZE),)
    settings = studies.settings(trials=6, objectives=energy, limits=(), sampler="random")
    result = studies.run(settings)
    space = survey_ground(settings, result.study).space
    first = result.trials[1].point
    prices = [space.price(trial.point, "energy_mj") or 0.0 for trial in result.trials]
    assert first == space.known_guesses[0]
    assert prices[1] == min(prices) < prices[0]
    measured = [trial.metrics["energy_mj"] for trial in result.trials]
    assert measured[1] < measured[0]


def test_noise_is_measured_on_workers_once_and_beside_trials(studies: Any) -> None:
    drop = Limit(TrialMetric.ACCURACY_DROP, high=0.02)
    settings = studies.settings(limits=(drop,), trials=24)
    whole = studies.run(settings)
    noises = [at for at, call in enumerate(studies.runner.calls) if call[0].endswith(":noise")]
    others = [at for at, call in enumerate(studies.runner.calls) if at not in noises]
    assert len(noises) > 4
    assert any(noises[0] < at < noises[-1] for at in others)
    assert "scheme with little noise" in [t.attributes.get("move") for t in whole.trials]
    # Broken off in the middle of them: what was measured is not measured again.
    other = replace(settings, storage=f"sqlite:///{studies.folder / 'other.db'}")
    with pytest.raises(BrokenOff):
        studies.run(other, hurdle=after(noises[len(noises) // 2]))
    before = sum(call[0].endswith(":noise") for call in studies.runner.calls)
    result = studies.run(other, if_exists="resume", seed=3)
    again = sum(call[0].endswith(":noise") for call in studies.runner.calls)
    assert before > 0
    assert before + again == len(noises)
    assert trials_digest(result.trials) == trials_digest(whole.trials)


def test_another_search_under_the_same_name_is_refused(studies: Any) -> None:
    studies.run(studies.settings(trials=1))
    with pytest.raises(InputError, match="seed: 0 -> 7"):
        studies.run(studies.settings(seed=7), if_exists="resume")
    with pytest.raises(InputError, match="the name is taken"):
        studies.run(studies.settings())
    replaced = studies.run(studies.settings(seed=7, trials=1), if_exists="replace")
    assert len(replaced.trials) == 1


def test_changed_data_are_refused(studies: Any) -> None:
    studies.run(studies.settings(trials=1))
    path = studies.folder / "eval.npz"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InputError, match="evaluation: digest"):
        studies.run(studies.settings(), if_exists="resume")


def failing(function: str, error: str) -> Any:
    """A hurdle at which every call of a function fails."""

    def hurdle(work: Work) -> Answer | None:
        if not work.function.endswith(function):
            return None
        message = "the plug is out"
        return Answer(work.ticket, Ending.ERROR, error=error, message=message, hint="put it in")

    return hurdle


@pytest.mark.parametrize("error", ["InputError", "OSError"])
def test_a_start_that_fails_before_its_first_trial_leaves_no_name(studies: Any, error: str) -> None:
    settings = studies.settings(trials=2)
    with pytest.raises(NestTuneError, match="the plug is out") as told:
        studies.run(settings, hurdle=failing(":float_accuracy", error))
    assert told.value.hint == "put it in"
    with pytest.raises(InputError, match="no study"):
        StudyStorage(settings.storage).find(settings.name)
    assert len(studies.run(settings).trials) == 2  # under the same name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sampler": "GridSampler"}, "writes down all points"),
        ({"sampler": "TPESampler", "arguments": {"colour": "red"}}, "colour"),
    ],
)
def test_a_sampler_that_cannot_be_made_starts_no_study(
    studies: Any, changes: dict[str, Any], said: str
) -> None:
    settings = studies.settings(**changes)
    with pytest.raises(InputError, match=said):
        rehearse(settings)
    with pytest.raises(InputError, match=said):
        studies.run(settings)
    with pytest.raises(InputError, match="no study"):
        StudyStorage(settings.storage).find(settings.name)


def test_a_resume_that_is_broken_off_keeps_its_trials(studies: Any) -> None:
    settings = studies.settings(trials=1)
    studies.run(settings)
    more = replace(settings, trials=2)
    with pytest.raises(BrokenOff):
        studies.run(more, if_exists="resume", hurdle=after(0))
    storage = StudyStorage(settings.storage)
    study = storage.find(settings.name)
    assert study.status is Status.STOPPED
    assert len(storage.trials(study)) == 1


def test_where_every_trial_failed_the_first_reason_is_known(studies: Any) -> None:
    result = studies.run(studies.settings(trials=3), hurdle=failing(":survey", "InputError"))
    assert [trial.outcome for trial in result.trials] == [Outcome.COMPILE] * 3
    assert result.first_failure is result.trials[0]
    assert result.first_failure.message == "the plug is out"
    assert studies.run(studies.settings(trials=3, name="good")).first_failure is None


def test_a_resume_sees_the_records_of_the_start(studies: Any) -> None:
    first = studies.settings(tiling=True, partition=False, trials=2)
    studies.run(first)
    second = replace(first, name="second", trials=2)
    whole = studies.run(second)
    database = RecordDatabase(first.storage)
    records = database.snapshot().records
    # Somebody measures otherwise: what the study began with stays what it was.
    database.add([replace(r, cycles=(r.cycles or 0) + 7).sealed() for r in records[::3]])
    result = studies.run(replace(second, trials=3), if_exists="resume")
    assert trials_digest(result.trials[:2]) == trials_digest(whole.trials)
    with database.connection._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM nest_tune_record WHERE number < 5")
    database.close()
    with pytest.raises(InputError, match=r"measured schedules .* or are gone"):
        studies.run(replace(second, trials=4), if_exists="resume")
