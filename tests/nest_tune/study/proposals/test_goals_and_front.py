"""Objectives, limits, fronts and picks."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.accuracy.metric import Metric as Accuracy
from compiler_core.accuracy.metric import shown_name
from compiler_core.errors import InputError
from nest_tune.study.choice.pick import parse_rule, pick
from nest_tune.study.proposals.front import closest, dominates, losses, pareto_front
from nest_tune.study.request.goals import (
    Direction,
    Limit,
    Objective,
    TrialMetric,
    merged,
    parse_bounds,
    parse_constraint,
    parse_objective,
    violation,
)
from nest_tune.study.request.limits import check_goals
from nest_tune.study.trial import Outcome, OuterTrial

BOTH = (
    Objective(TrialMetric.LATENCY_MS, Direction.MINIMIZE),
    Objective(TrialMetric.ACCURACY, Direction.MAXIMIZE),
)


def trial(number: int, latency: float, accuracy: float, **changes: object) -> OuterTrial:
    metrics = {"latency_ms": latency, "accuracy": accuracy}
    fields = {"tuned": True, "outcome": Outcome.COMPLETE, "metrics": metrics, **changes}
    return OuterTrial(number, (), **fields)  # type: ignore[arg-type]


def test_objectives_are_read() -> None:
    assert parse_objective("latency_ms:min") == BOTH[0]
    assert parse_objective("accuracy") == BOTH[1]
    for text in ("latency:min", "latency_ms:down", ""):
        with pytest.raises(InputError):
            parse_objective(text)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("accuracy_drop<=0.01", -inf, 0.01),
        ("accuracy_drop <= 1%", -inf, 0.01),
        ("latency_ms>=2,<=3e0", 2.0, 3.0),
        ("accuracy>=70%", 0.7, inf),
    ],
)
def test_limits_are_read(text: str, low: float, high: float) -> None:
    limit = parse_constraint(text)
    assert (limit.low, limit.high) == (low, high)
    assert parse_bounds(limit.metric, limit.text, "again") == limit


@pytest.mark.parametrize(
    "text", ["latency_ms", "latency_ms<1", "latency_ms<=x", "latency_ms<=-1", "size_bytes>=2,<=1"]
)
def test_wrong_limits_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_constraint(text)


def test_limits_on_one_metric_are_joined_or_contradict() -> None:
    first, second = (
        Limit(TrialMetric.LATENCY_MS, high=3),
        Limit(TrialMetric.LATENCY_MS, low=1, high=5),
    )
    assert merged([first, second]) == (Limit(TrialMetric.LATENCY_MS, 1, 3),)
    with pytest.raises(InputError, match="contradictory"):
        merged([first, Limit(TrialMetric.LATENCY_MS, low=4)])


def test_violations_weigh_units_alike() -> None:
    limits = (Limit(TrialMetric.LATENCY_MS, high=2), Limit(TrialMetric.SIZE_BYTES, high=1000))
    assert violation(limits, {"latency_ms": 2, "size_bytes": 900}, {}) == 0
    assert violation(limits, {"latency_ms": 3, "size_bytes": 1500}, {}) == pytest.approx(1.0)


points = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=20)


@given(points)
def test_the_front_holds_exactly_what_nothing_dominates(values: list[tuple[int, int]]) -> None:
    trials = [trial(number, x, y) for number, (x, y) in enumerate(values)]
    front = pareto_front(trials, BOTH)
    rows = [losses(t, BOTH) for t in trials]
    for one in trials:
        own = losses(one, BOTH)
        best = not any(dominates(row, own) for row in rows)
        first = rows.index(own) == one.number
        assert (one in front) == (best and first)
    assert all(a.metrics["latency_ms"] < b.metrics["latency_ms"] for a, b in pairwise(front))


def test_only_feasible_settled_trials_are_in_the_front() -> None:
    trials = [
        trial(0, 5, 0.5),
        trial(1, 1, 0.9, outcome=Outcome.CONSTRAINTS),
        trial(2, 1, 0.9, settled=False),
        trial(3, 1, 0.9, outcome=Outcome.TIMEOUT, metrics={}),
    ]
    assert [t.number for t in pareto_front(trials, BOTH)] == [0]
    near = closest(trials, (Limit(TrialMetric.LATENCY_MS, high=2),), trials[0])
    assert [t.number for t in near] == [1, 2, 0]


def test_picks() -> None:
    front = [trial(0, 1, 0.5), trial(1, 2, 0.88), trial(2, 9, 0.9)]

    def number(rule: str) -> int:
        found = pick(front, BOTH, rule)
        assert found is not None
        return found.number

    assert number("knee") == 1
    assert number("min:latency_ms") == 0
    assert number("max:accuracy") == 2
    assert number("lex:accuracy,latency_ms") == 2
    assert pick([], BOTH, "knee") is None
    for rule in ("kne", "min", "min:speed", "min:accuracy,latency_ms", "knee:accuracy", "lex:"):
        with pytest.raises(InputError):
            pick(front, BOTH, rule)
    with pytest.raises(InputError, match="has no energy_mj"):
        pick(front, BOTH, "min:energy_mj")


@pytest.mark.parametrize("accuracy", [metric.value for metric in Accuracy])
@pytest.mark.parametrize("metric", [TrialMetric.ACCURACY, TrialMetric.ACCURACY_DROP])
def test_what_is_shown_is_taken_and_the_name_of_another_metric_is_not(
    accuracy: str, metric: TrialMetric
) -> None:
    front = [trial(0, 1, 0.5, metrics={metric.value: 0.5})]
    shown = shown_name(metric.value, accuracy)
    for name in (shown, metric.value):
        goal, limit = parse_objective(f"{name}:max"), parse_constraint(f"{name} <= 0.5")
        assert (goal.metric, limit.metric) == (metric, metric)
        check_goals([goal], [limit] if accuracy != "sqnr_db" else [], accuracy)
        assert pick(front, BOTH, f"max:{name}", accuracy) is front[0]
    other = "cosine" if accuracy != "cosine" else "agreement"
    wrong = shown_name(metric.value, other)
    for goals, limits in (
        ([parse_objective(f"{wrong}:max")], []),
        ([], [parse_constraint(f"{wrong} <= 0.5")]),
    ):
        check_goals(goals, limits, "")
        with pytest.raises(InputError, match=f"{wrong} is not measured.*{shown}") as error:
            check_goals(goals, limits, accuracy)
        assert f"--metric {other}" in str(error.value.hint)
    with pytest.raises(InputError, match=f"{wrong} is not measured"):
        pick(front, BOTH, f"lex:latency_ms,{wrong}", accuracy)
    with pytest.raises(InputError, match="has no latency_ms"):
        pick(front, BOTH, "min:latency_ms", accuracy)


def test_one_metric_has_one_limit_by_whatever_name() -> None:
    limits = merged([parse_constraint("agreement>=90%"), parse_constraint("accuracy<=95%")])
    assert limits == (Limit(TrialMetric.ACCURACY, 0.9, 0.95),)


def test_accuracy_cannot_be_picked_where_none_is_measured() -> None:
    assert parse_rule("min:latency_ms", evaluated=False).metrics == (TrialMetric.LATENCY_MS,)
    with pytest.raises(InputError, match="evaluation data"):
        parse_rule("max:accuracy", evaluated=False)
