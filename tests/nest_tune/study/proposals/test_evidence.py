"""Intervals of accuracies, limits that are judged by their ends, exact limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.accuracy.intervals import Z_95, paired_share_difference, wilson
from compiler_core.accuracy.score import Score, counted, drop
from compiler_core.accuracy.tally import Tally
from nest_tune.study.execution.scoring import accuracy_metrics
from nest_tune.study.proposals.evidence import (
    differs_by_chance,
    evidence_of,
    interval_text,
    trial_score,
    within_chance,
)
from nest_tune.study.request.goals import TrialMetric, parse_bounds
from nest_tune.study.trial import Outcome, OuterTrial


def score(right: list[int]):
    return counted([Tally(np.array(right, np.int64))])


@given(st.integers(1, 3000), st.integers(0, 300), st.data())
def test_a_drop_of_just_so_many_samples_keeps_its_limit(
    per: int, lost: int, drawn: st.DataObject
) -> None:
    """A drop of k of n samples keeps a limit of k/n written as a decimal, one more breaks it."""
    samples = 100 * per
    lost = min(lost, samples - 1)
    more = drawn.draw(st.integers(0, 1))
    floats = score([1] * samples)
    own = score([0] * (lost + more) + [1] * (samples - lost - more))
    limit = parse_bounds(TrialMetric.ACCURACY_DROP, f"<= {lost / samples!r}", "here")
    assert (limit.excess(drop(floats, own)) == 0) == (not more)
    points, rest = divmod(lost * 100, samples)
    if not rest:
        limit = parse_bounds(TrialMetric.ACCURACY_DROP, f"<= {points}%", "here")
        assert (limit.excess(drop(floats, own)) == 0) == (not more)


def test_intervals_are_wilsons_and_paired() -> None:
    generator = np.random.default_rng(1)
    theirs = generator.integers(0, 2, 300)
    ours = np.where(generator.random(300) < 0.05, 1 - theirs, theirs)
    own, floats = score(ours.tolist()), score(theirs.tolist())
    found = evidence_of(own, floats, accuracy_metrics("top1", own, floats), "top1")
    expected = wilson(int(ours.sum()), 300)
    assert found.intervals["accuracy"] == (expected.low, expected.high)
    gained, lost = int((theirs > ours).sum()), int((theirs < ours).sum())
    paired = paired_share_difference(gained, lost, 300)
    assert found.intervals["accuracy_drop"] == (paired.low, paired.high)
    assert found.pessimistic == {}
    assert interval_text((0.1, 0.25)) == "[0.1, 0.25]"
    assert interval_text(None) == ""


def _drop_interval(own: Score, floats: Score) -> tuple[float, float]:
    metrics = accuracy_metrics("top1", own, floats)
    return evidence_of(own, floats, metrics, "top1").intervals["accuracy_drop"]


@given(st.integers(1, 5000), st.integers(0, 5000), st.sampled_from([1, 7]))
def test_no_sample_that_differs_says_only_that_few_do(
    samples: int, right: int, positions: int
) -> None:
    """The end is exact: of this share of samples that are lost, none shows itself in so many by
    chance as Wilson's interval of 0 says."""
    shares = np.array([positions] * min(right, samples) + [0] * max(0, samples - right), np.int64)
    floats = counted([Tally(shares, positions)])
    low, high = _drop_interval(floats, floats)
    assert high == pytest.approx(wilson(0, samples).high)
    assert low == pytest.approx(-high)


def test_outputs_of_the_float_model_lose_nothing_for_certain() -> None:
    floats = score([1] * 200 + [0] * 100)
    assert _drop_interval(replace(floats, fidelity=((300, 300, 5.0, 0.0),)), floats) == (0, 0)
    assert _drop_interval(replace(floats, fidelity=((300, 300, 5.0, 1e-9),)), floats)[1] > 0.01


@given(st.integers(1, 2000), st.data())
def test_paired_intervals_hold_their_value_and_tell_what_mc_nemar_tells(
    samples: int, drawn: st.DataObject
) -> None:
    gained = drawn.draw(st.integers(0, samples))
    lost = drawn.draw(st.integers(0, samples - gained))
    found = paired_share_difference(gained, lost, samples)
    assert -1 <= found.low <= found.value <= found.high <= 1
    other = paired_share_difference(lost, gained, samples)
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low), abs=1e-12)
    told = (gained - lost) ** 2 > Z_95**2 * (gained + lost)
    assert told == (not found.low <= 0 <= found.high)


@pytest.mark.parametrize("lost", [0, 3, 20])
def test_less_risk_asks_for_more(lost: int) -> None:
    floats = score([1] * 280 + [0] * 20)
    own = score([0] * lost + [1] * (280 - lost) + [0] * 20)
    metrics = accuracy_metrics("top1", own, floats)
    ends = [
        evidence_of(own, floats, metrics, "top1", risk).pessimistic for risk in (0.5, 0.05, 0.001)
    ]
    drops = [end["accuracy_drop"] for end in ends]
    assert drops == sorted(drops)
    assert drops[0] == pytest.approx(lost / 300)
    assert drops[1] > lost / 300
    accuracies = [end["accuracy"] for end in ends]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] == pytest.approx(own.value)


def test_what_may_be_chance_is_told_from_what_is_not() -> None:
    floats = score([1] * 200 + [0] * 100)
    near = score([0] * 2 + [1] * 199 + [0] * 99)
    far = score([0] * 60 + [1] * 140 + [0] * 100)
    assert within_chance(floats, near)
    assert not within_chance(floats, far)
    assert differs_by_chance(floats, near)
    assert not differs_by_chance(floats, floats)
    assert not differs_by_chance(floats, None)


def test_a_trial_tells_its_score_where_all_samples_were_measured() -> None:
    own = score([1, 1, 0, 1])
    ends = {"accuracy": (own.low, own.high)}
    trial = OuterTrial(
        3,
        (),
        tuned=True,
        outcome=Outcome.COMPLETE,
        metrics={"accuracy": own.value},
        accuracy_samples=4,
        intervals=ends,
        all_hits=own.hits,
    )
    assert trial_score(trial) == own
    assert trial_score(OuterTrial(3, (), tuned=True, outcome=Outcome.TIMEOUT)) is None
