"""Statistics of repeats against plain references, and against what they promise."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.clock.statistics import (
    Interval,
    alikeness,
    chance_of_slower,
    drifts,
    interval_rank,
    is_steady,
    median_interval,
    ratio_interval,
)

times = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=60)


def below(count: int, rank: int) -> float:
    """Chance that at most ``rank`` of ``count`` fair coins show heads, by counting sets."""
    sets = sum(len(list(combinations(range(count), size))) for size in range(rank + 1))
    return float(sets / 2**count)


@given(st.integers(1, 14), st.floats(0.5, 0.999))
def test_ranks_are_the_innermost_that_hold_the_level(count: int, level: float) -> None:
    rank = interval_rank(count, level)
    legal = [
        k for k in range(count) if 2 * k < count and (k == 0 or 1 - 2 * below(count, k) >= level)
    ]
    assert rank == max(legal)


@given(times)
def test_an_interval_holds_its_median_and_consists_of_samples(samples: list[float]) -> None:
    found = median_interval(samples)
    assert found.value == np.median(samples)
    assert found.low <= found.value <= found.high
    assert {found.low, found.high} <= set(samples)
    assert found.samples == len(samples)
    assert (found.level >= 0.95) == (len(samples) >= 6)


@given(times, st.floats(0.1, 100))
def test_intervals_scale_as_their_samples(samples: list[float], factor: float) -> None:
    one, other = median_interval(samples), median_interval([factor * s for s in samples])
    assert other.low == pytest.approx(factor * one.low)
    assert other.high == pytest.approx(factor * one.high)


def test_known_ranks() -> None:
    """Of published tables: n = 10 gives the 2nd to the 9th, n = 30 the 10th to the 21st."""
    assert [interval_rank(n, 0.95) + 1 for n in (6, 8, 9, 10, 20, 30, 50)] == [
        1,
        1,
        2,
        2,
        6,
        10,
        18,
    ]


@pytest.mark.parametrize("draw", ["exponential", "standard_cauchy", "normal"])
def test_intervals_hold_the_median_as_often_as_they_say(draw: str) -> None:
    generator = np.random.default_rng(7)
    middle = {"exponential": np.log(2), "standard_cauchy": 0.0, "normal": 0.0}[draw]
    held = 0
    for _ in range(1000):
        found = median_interval(getattr(generator, draw)(size=30))
        held += found.low <= middle <= found.high
    assert held >= 935  # 950 are promised, three deviations are 20


def test_alike_neighbours_widen_an_interval_so_that_it_holds() -> None:
    """Each repeat is half of the one before: intervals for independent ones hold too seldom."""
    generator = np.random.default_rng(3)
    held = plain = 0
    for _ in range(400):
        noise = generator.normal(size=80)
        values = [noise[0]]
        for step in noise[1:]:
            values.append(0.7 * values[-1] + step)
        found = median_interval(values)
        held += found.low <= 0 <= found.high
        ordered, rank = sorted(values), interval_rank(80, 0.95)
        plain += ordered[rank] <= 0 <= ordered[79 - rank]
    assert plain < 330
    assert held > plain + 40


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=1, max_size=40))
def test_ratios_are_those_of_pairs(pairs: list[tuple[float, float]]) -> None:
    found = ratio_interval([a for a, _ in pairs], [b for _, b in pairs])
    ratios = sorted(a / b for a, b in pairs)
    assert found.value == pytest.approx(np.median(ratios))
    assert any(found.low == pytest.approx(r) for r in ratios)


def test_what_slows_a_round_leaves_its_ratio() -> None:
    generator = np.random.default_rng(1)
    weather = generator.uniform(1, 3, 40)
    found = ratio_interval(1.1 * weather, weather)
    assert (found.low, found.high) == pytest.approx((1.1, 1.1))
    assert median_interval(1.1 * weather).meets(median_interval(weather))


few = st.lists(st.integers(1, 12).map(float), min_size=8, max_size=40)


@settings(deadline=None, max_examples=40)
@given(few, few)
def test_mann_whitney_is_that_of_scipy(ours: list[float], theirs: list[float]) -> None:
    from scipy.stats import mannwhitneyu

    if len({*ours, *theirs}) == 1:
        assert chance_of_slower(ours, theirs) == 1.0
        return
    expected = mannwhitneyu(ours, theirs, alternative="greater", method="asymptotic").pvalue
    assert chance_of_slower(ours, theirs) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


@given(few, few)
def test_only_the_order_counts(ours: list[float], theirs: list[float]) -> None:
    bent = chance_of_slower([x**3 for x in ours], [x**3 for x in theirs])
    assert bent == pytest.approx(chance_of_slower(ours, theirs))


def test_false_alarms_are_as_rare_as_asked_for() -> None:
    generator = np.random.default_rng(5)
    alarms = sum(
        chance_of_slower(generator.exponential(size=30), generator.exponential(size=30)) < 0.01
        for _ in range(1000)
    )
    assert alarms <= 20
    assert chance_of_slower(np.arange(30) + 20.0, np.arange(30) + 1.0) < 1e-6


def test_intervals_that_touch_meet() -> None:
    one, other = Interval(2, 1, 3, 9, 0.95), Interval(4, 3, 5, 9, 0.95)
    assert one.meets(other)
    assert other.meets(one)
    assert not one.meets(Interval(4, 3.1, 5, 9, 0.95))
    assert one.spread == 0.5
    assert Interval(0, 0, 0, 9, 0.95).spread == 0


def test_a_falling_series_is_not_steady() -> None:
    assert not is_steady([9, 8, 7, 6, 5], [4, 4, 3, 3, 2])
    assert not is_steady([1, 1, 2, 2, 2], [3, 3, 4, 3, 3])
    assert is_steady([3, 5, 4, 3, 4], [4, 3, 9, 4, 4])


def test_a_drift_is_seen_and_noise_is_none() -> None:
    generator = np.random.default_rng(2)
    noise = generator.normal(1, 0.02, 60)
    assert not drifts(noise, 0.03)
    assert drifts(noise * np.linspace(1, 1.2, 60), 0.03)
    assert not drifts(noise * np.linspace(1, 1.2, 60), 0.3)
    assert not drifts([1.0, 2.0, 3.0], 0.03)
    assert alikeness([1.0, 2.0]) == alikeness([3.0] * 20) == 0
    assert alikeness([1.0] * 10 + [2.0] * 10) > 0.8
