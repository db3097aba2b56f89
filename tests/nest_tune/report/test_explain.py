"""What each decision is worth: equal to what the study itself measured for the same point."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nest_tune.report.changes import changed_back
from nest_tune.report.explain import (
    Explanation,
    Verdict,
    explain,
    limit_text,
    verdict,
)
from nest_tune.study.request.goals import Limit, TrialMetric
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import Outcome, OuterTrial

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def ground(result: StudyResult) -> Ground:
    return survey_ground(result.settings, result.study)


@pytest.fixture(scope="module")
def chosen(result: StudyResult) -> OuterTrial:
    found = result.chosen("min:latency_ms")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def found(ground: Ground, result: StudyResult, chosen: OuterTrial) -> Explanation:
    return explain(ground, result, chosen)


def test_every_decision_beyond_the_default_has_an_effect(
    found: Explanation, ground: Ground, chosen: OuterTrial
) -> None:
    default = ground.space.default
    names = [
        parameter.name
        for parameter, value, usual in zip(
            ground.space.parameters, chosen.point, default, strict=True
        )
        if value != usual
    ]
    assert names
    assert [effect.decision for effect in found.effects] == names
    assert all(effect.metrics or effect.message for effect in found.effects)


def test_changing_the_only_decision_back_gives_the_default(
    ground: Ground, result: StudyResult, chosen: OuterTrial, found: Explanation
) -> None:
    """A trial one decision away from the default: without it, every metric is the default's."""
    index = next(
        i
        for i, parameter in enumerate(ground.space.parameters)
        if parameter.name == found.effects[0].decision
    )
    default = result.default
    assert default is not None
    point = list(default.point)
    point[index] = chosen.point[index]
    one = replace(chosen, point=tuple(point))
    (effect,) = explain(ground, result, one).effects
    for name, value in effect.metrics.items():
        assert value == pytest.approx(default.metrics[name], abs=1e-15), name


def test_limits_that_would_break_are_named(
    ground: Ground, result: StudyResult, chosen: OuterTrial, found: Explanation
) -> None:
    (binding,) = found.bindings
    limit = result.settings.limits[0]
    assert binding.slack == pytest.approx(0.5 - chosen.metrics["latency_ms"])
    tight = replace(limit, high=chosen.metrics["latency_ms"])
    settings = replace(result.settings, limits=(tight,))
    again = explain(ground, replace(result, settings=settings), chosen)
    for effect in again.effects:
        broken = effect.metrics["latency_ms"] > tight.high
        assert bool(effect.breaks) == broken
        less = effect.metrics["accuracy"] < chosen.metrics["accuracy"]
        loses = verdict(effect, chosen, result) in (Verdict.WORSE, Verdict.MIXED)
        assert loses == (broken or less)


def test_what_a_decision_does_is_said_in_words(
    result: StudyResult, chosen: OuterTrial, found: Explanation
) -> None:
    """The study minimizes the latency and maximizes the accuracy."""
    latency, accuracy = chosen.metrics["latency_ms"], chosen.metrics["accuracy"]

    def said(latency_ms: float, accuracy: float, breaks: tuple[str, ...] = ()) -> Verdict:
        metrics = {**chosen.metrics, "latency_ms": latency_ms, "accuracy": accuracy}
        effect = replace(found.effects[0], metrics=metrics, breaks=breaks)
        return verdict(effect, chosen, result)

    assert said(latency, accuracy) is Verdict.EQUAL
    assert said(latency / 2, accuracy) is Verdict.BETTER
    assert said(latency, accuracy + 0.1) is Verdict.BETTER
    assert said(latency / 2, accuracy - 0.1) is Verdict.MIXED
    assert said(latency * 2, accuracy) is Verdict.WORSE
    assert said(latency / 2, accuracy, ("energy_mj <= 1",)) is Verdict.BREAKS
    unmeasured = replace(found.effects[0], metrics={})
    assert verdict(unmeasured, chosen, result) is Verdict.UNKNOWN


def test_a_limit_binds_only_where_no_trial_within_the_limits_is_as_good(
    ground: Ground, result: StudyResult, chosen: OuterTrial
) -> None:
    """The trial that is explained need not be the fastest: others within the limits count, too."""
    limit = Limit(TrialMetric.ACCURACY_DROP, high=0.01)
    settings = replace(result.settings, limits=(limit,))

    def trial(number: int, latency_ms: float, drop: float, *, settled: bool = True) -> OuterTrial:
        metrics = {**chosen.metrics, "latency_ms": latency_ms, "accuracy_drop": drop}
        outcome = Outcome.CONSTRAINTS if drop > 0.01 else Outcome.COMPLETE
        return replace(
            chosen,
            number=number,
            metrics=metrics,
            outcome=outcome,
            settled=settled,
            accuracy_samples=128,
        )

    slow = trial(900, 0.9, 0.0)
    equal = (trial(901, 0.1, 0.0), trial(902, 0.1, 0.5))

    def binding(*others: OuterTrial) -> str:
        study = replace(result, settings=settings, trials=(slow, *others))
        (one,) = explain(ground, study, slow).bindings
        return limit_text(one, study)

    assert "it costs nothing" in binding(*equal)
    text = binding(*equal, trial(903, 0.05, 0.5, settled=False))
    assert "without it trial 903 would give latency_ms 0.05" in text
    assert "(accuracy on 128 samples)" in text
    assert "within all limits the best is 0.1" in text


def test_a_change_that_the_study_has_measured_is_not_measured_again(
    ground: Ground, result: StudyResult, chosen: OuterTrial, found: Explanation
) -> None:
    index = next(
        i
        for i, parameter in enumerate(ground.space.parameters)
        if parameter.name == found.effects[0].decision
    )
    point = changed_back(chosen.point, index, ground.space.default[index])
    metrics = {**chosen.metrics, "latency_ms": 42.0}
    known = replace(chosen, number=800, point=point, metrics=metrics, settled=True)
    again = explain(ground, replace(result, trials=(*result.trials, known)), chosen)
    assert again.effects[0].metrics["latency_ms"] == 42.0
    assert [e.metrics for e in again.effects[1:]] == [e.metrics for e in found.effects[1:]]


def test_values_read_as_in_a_scheme_file(found: Explanation) -> None:
    assert not [e for e in found.effects if "." in e.value and not e.value[0].isdigit()]


def test_cpu_nodes_have_reasons(found: Explanation, chosen: OuterTrial) -> None:
    moved = {e.decision.removeprefix("partition.") for e in found.effects if e.value == "cpu"}
    assert moved
    reasons = [found.on_cpu[node] for node in moved]
    assert all(
        text.startswith(f"decided by trial {chosen.number}; cost tables, ") for text in reasons
    )
    measured = [text for text in reasons if "measured on vta" in text]
    assert measured
    assert all(" ms on cpu, " in text and " ms on vta" in text for text in reasons)


def test_command_prints_and_answers_in_json(small_study: Any, nest_tune: Run) -> None:
    words = ("study", "explain", "small", "--storage", small_study.storage)
    code, output, errors = nest_tune(*words, "--json")
    assert code == 0, errors
    document = json.loads(output)
    assert document["schema"] == "nest-tune/study-explain/1"
    assert document["effects"]
    code, output, _ = nest_tune(*words)
    assert code == 0
    assert "changed back alone" in output
    assert all(effect["decision"][:30] in output for effect in document["effects"])
    # What is not measured is counted, and fills no table.
    for number in range(1, 12):
        words = ("study", "explain", f"small:{number}", *words[3:])
        code, output, _ = nest_tune(*words, "--effects", "0", "--json")
        effects = json.loads(output)["effects"] if code == 0 else []
        if left := [e["decision"] for e in effects if e["left_out"]]:
            break
    else:
        pytest.fail("all decisions of all trials are measured")
    code, output, _ = nest_tune(*words, "--effects", "0")
    assert f"{len(left)} of {len(effects)} decisions are not measured" in output
    assert not any(f" {decision} " in output for decision in left)
    assert nest_tune("study", "explain", "small:999", *words[3:])[0] == 2
