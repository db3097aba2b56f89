"""What each decision is worth: equal to what the study itself measured for the same point."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nest_tune.report.explain import Explanation, explain, is_worse
from nest_tune.study.store.dependencies import Ground, survey_ground
from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import OuterTrial

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
        assert is_worse(effect, chosen, result) == (broken or less)
    same = replace(again.effects[0], metrics=chosen.metrics)
    assert is_worse(same, chosen, result) is False
    assert is_worse(replace(same, metrics={}), chosen, result) is None


def test_values_read_as_in_a_scheme_file(found: Explanation) -> None:
    assert not [e for e in found.effects if "." in e.value and not e.value[0].isdigit()]


def test_cpu_nodes_have_reasons(found: Explanation, chosen: OuterTrial) -> None:
    moved = {e.decision.removeprefix("partition.") for e in found.effects if e.value == "cpu"}
    assert moved
    assert all(found.on_cpu[node] == f"decided by trial {chosen.number}" for node in moved)


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
    assert nest_tune("study", "explain", "small:999", *words[3:])[0] == 2
