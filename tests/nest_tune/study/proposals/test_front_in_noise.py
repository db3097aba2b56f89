"""Trials whose intervals by the clock meet are equal: fronts, picks, words and colours."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nest_tune.report.changes import Effect
from nest_tune.report.explain import Verdict, verdict
from nest_tune.study.choice.chance import preferred
from nest_tune.study.choice.gains import doubts_of, gain_text, warnings_of, within_noise
from nest_tune.study.choice.pick import pick
from nest_tune.study.proposals.front import ends, is_worse, least, pareto_front
from nest_tune.study.request.goals import Objective, parse_objective
from nest_tune.study.store.trial_document import read_trial, trial_text
from nest_tune.study.trial import Outcome, OuterTrial

LATENCY, ACCURACY = parse_objective("latency_ms"), parse_objective("accuracy")
BOTH = (LATENCY, ACCURACY)


def trial(number: int, latency: float, noise: float, accuracy: float = 0.9) -> OuterTrial:
    return OuterTrial(
        number, (), True, Outcome.COMPLETE,
        metrics={"latency_ms": latency, "accuracy": accuracy},
        intervals={"latency_ms": [latency - noise, latency + noise], "accuracy": [0.0, 1.0]},
    )  # fmt: skip


def leaves_out(one: OuterTrial, other: OuterTrial) -> bool:
    """Written out: nowhere worse, where latencies are worse only if their intervals are apart."""
    slower = one.intervals["latency_ms"][0] > other.intervals["latency_ms"][1]
    return not slower and one.metrics["accuracy"] >= other.metrics["accuracy"]


rows = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3), st.integers(0, 4)), max_size=9)


@given(rows)
def test_a_front_leaves_out_exactly_what_its_own_trials_do(values: list[tuple[int, ...]]) -> None:
    trials = [trial(n, x, noise, y) for n, (x, noise, y) in enumerate(values)]
    front = pareto_front(trials, BOTH)
    for one in trials:
        others = [member for member in front if member is not one]
        assert any(leaves_out(member, one) for member in others) != (one in front)


@given(rows)
def test_without_noise_it_is_the_usual_front(values: list[tuple[int, ...]]) -> None:
    trials = [trial(n, x, 0, y) for n, (x, _, y) in enumerate(values)]
    plain = [replace(t, intervals={}) for t in trials]
    found, usual = pareto_front(trials, BOTH), pareto_front(plain, BOTH)
    assert [t.number for t in found] == [t.number for t in usual]


def test_a_chain_of_equals_does_not_drive_out_the_fastest() -> None:
    """The second is equal to both others, and more accurate than the first."""
    chain = [trial(0, 10, 1, 0.90), trial(1, 11.5, 1, 0.95), trial(2, 13, 1, 0.96)]
    for order in permutations(chain):
        assert {t.number for t in pareto_front(order, BOTH)} == {0, 2}


def test_picks_go_on_to_the_next_objective_among_equals() -> None:
    trials = [trial(0, 10.0, 0.5, 0.90), trial(1, 9.8, 0.5, 0.89), trial(2, 5.0, 0.5, 0.5)]
    assert least(trials[:2], BOTH) is trials[0]
    assert least(trials, BOTH) is trials[2]
    assert least(trials[:2], [LATENCY]) is trials[0]  # equal in all that counts: the first
    assert least([], BOTH) is None
    found = pick(trials[:2], BOTH, "min:latency_ms")
    assert found is trials[0]
    assert pick(trials[:2], BOTH, "fastest") is trials[0]


def test_without_accuracy_the_default_is_kept_where_nothing_is_faster_beyond_noise() -> None:
    trials = [trial(0, 10.0, 0.5), trial(1, 9.8, 0.5), trial(2, 9.7, 0.1)]
    bare = [replace(t, metrics={"latency_ms": t.metrics["latency_ms"]}) for t in trials]
    (best,) = pareto_front(bare, [LATENCY])
    assert best.number == 2
    assert preferred(best, bare, [LATENCY]).number == 0
    faster = replace(bare[2], intervals={"latency_ms": [8.0, 8.1]}, metrics={"latency_ms": 8.05})
    assert preferred(faster, [*bare[:2], faster], [LATENCY]) is faster


def test_equal_costs_and_accuracies_within_chance_leave_it_to_the_witnesses() -> None:
    def seen(number: int, latency: float, agreement: float) -> OuterTrial:
        found = trial(number, latency, 0.5)
        fidelity = {"agreement": agreement, "sqnr_db": 20.0}
        return replace(found, fidelity=fidelity, accuracy_samples=50)

    lucky, faithful, slow = seen(1, 10.0, 0.9), seen(2, 10.3, 0.95), seen(3, 12.0, 0.99)
    assert preferred(lucky, [lucky, faithful, slow], BOTH) is faithful
    first = replace(faithful, number=0)
    assert preferred(lucky, [lucky, faithful, slow, first], BOTH) is first  # the simplest of them


def test_words_say_what_is_noise() -> None:
    one, other = trial(3, 9.9, 0.5), trial(0, 10.0, 0.5)
    assert within_noise(one, other) == ("latency_ms",)
    assert gain_text({"latency_ms": -1.0}, ("latency_ms",)) == "latency_ms within noise"
    slower = trial(4, 10.2, 0.5)
    assert warnings_of(slower, other, BOTH) == ()
    assert warnings_of(trial(5, 12.0, 0.5), other, BOTH) != ()
    assert within_noise(trial(5, 12.0, 0.5), other) == ()
    assert within_noise(replace(one, intervals={}), other) == ()


@pytest.mark.parametrize(
    ("latency", "expected"),
    [(10.4, Verdict.EQUAL), (12.0, Verdict.WORSE), (8.0, Verdict.BETTER)],
)
def test_a_decision_is_worth_something_beyond_noise_alone(
    latency: float, expected: Verdict
) -> None:
    class Result:
        class settings:  # noqa: N801
            objectives = (LATENCY,)

    effect = Effect(
        "d", "a", "b", {"latency_ms": latency},
        intervals={"latency_ms": [latency - 0.5, latency + 0.5]},
    )  # fmt: skip
    assert verdict(effect, trial(1, 10.0, 0.5), Result()) is expected  # type: ignore[arg-type]


def test_doubts_are_counted_and_kept() -> None:
    plain, doubtful = trial(0, 10.0, 0.5), replace(trial(1, 9.0, 0.5), doubts=("it was loaded",))
    assert doubts_of([plain]) == ()
    (told,) = doubts_of([plain, doubtful])
    assert told == "1 of 2 trials were timed under doubt; trial 1: it was loaded"
    assert "doubts" not in trial_text(plain)
    assert read_trial(trial_text(doubtful), "here").doubts == ("it was loaded",)


def test_ends_follow_the_direction() -> None:
    most = Objective(LATENCY.metric, parse_objective("latency_ms:max").direction)
    one = trial(0, 10.0, 1.0)
    assert ends(LATENCY, one.metrics, one.intervals) == (9.0, 11.0)
    assert ends(most, one.metrics, one.intervals) == (-11.0, -9.0)
    assert ends(ACCURACY, one.metrics, one.intervals) == (-0.9, -0.9)
    assert is_worse(trial(1, 5.0, 1.0), one, most)
    assert not is_worse(one, trial(1, 5.0, 1.0), most)
