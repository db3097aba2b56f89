"""Tallies, noise and their intervals, against plain loops and drawn samples."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.accuracy import intervals
from compiler_core.accuracy.intervals import mean, paired_difference, share, sqnr, wilson
from compiler_core.accuracy.judge import Judge, Kind
from compiler_core.accuracy.labels import check_labels, correct
from compiler_core.accuracy.noise import MOST_DB, Noise, cosines, noise
from compiler_core.accuracy.tally import Tally, agreement, joined
from compiler_core.errors import InputError

CLASSES = Judge("y", Kind.CLASSES, (1, 5), axis=1, classes=5)
MAP = Judge("y", Kind.CLASSES, (1, 3, 4, 6), axis=1, classes=3)
TOKENS = Judge("y", Kind.CLASSES, (7, 1, 4), False, axis=2, classes=4)
WHOLE = Judge("y", Kind.INTEGERS, (1, 4, 6), classes=3)
RANKED = Judge("y", Kind.INTEGERS, (1, 3), classes=9, ranked=1)
BINARY = Judge("y", Kind.REAL, (1, 1), threshold=0.5, reason="it is one value per sample")
PIXELS = Judge("y", Kind.REAL, (1, 1, 4, 6), threshold=0.5, reason="it is one value per position")


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@given(st.integers(0, 1000), st.integers(1, 5))
def test_a_map_is_compared_pixel_by_pixel(seed: int, samples: int) -> None:
    ours, theirs = random(seed, samples, 3, 4, 6), random(seed + 1, samples, 3, 4, 6)
    found = agreement(MAP, ours, theirs, samples)
    plain = [
        sum(
            int(np.argmax(ours[n, :, i, j]) == np.argmax(theirs[n, :, i, j]))
            for i in range(4)
            for j in range(6)
        )
        for n in range(samples)
    ]
    assert found.right.tolist() == plain
    assert found.positions == 24
    assert found.value == sum(plain) / (24 * samples)
    labels = theirs.argmax(axis=1)
    assert correct(MAP, ours, labels, samples).right.tolist() == plain


@given(st.integers(0, 1000), st.integers(1, 5))
def test_a_sequence_along_the_first_axis_is_the_sample_s_own(seed: int, samples: int) -> None:
    ours, theirs = random(seed, samples, 7, 1, 4), random(seed + 1, samples, 7, 1, 4)
    found = agreement(TOKENS, *(a.reshape(samples * 7, 1, 4) for a in (ours, theirs)), samples)
    same = ours[:, :, 0].argmax(2) == theirs[:, :, 0].argmax(2)
    assert found.right.tolist() == same.sum(axis=1).tolist()


@given(st.integers(0, 1000))
def test_parts_count_as_the_whole(seed: int) -> None:
    ours, theirs = random(seed, 6, 3, 4, 6), random(seed + 1, 6, 3, 4, 6)
    whole = agreement(MAP, ours, theirs, 6)
    parts = [agreement(MAP, ours[a:b], theirs[a:b], b - a) for a, b in ((0, 2), (2, 6))]
    assert joined(parts).right.tolist() == whole.right.tolist()


def test_integers_are_equal_or_not() -> None:
    ours = np.array([[1, 2, 3], [1, 2, 4]])
    found = agreement(RANKED, ours, np.array([[1, 2, 3], [2, 1, 4]]), 2)
    assert found.right.tolist() == [3, 1]
    # Of ordered positions the first ones count against labels.
    assert correct(RANKED, ours, np.array([1, 4]), 2).right.tolist() == [1, 0]
    assert correct(RANKED, ours, np.array([1, 4]), 2, best=3).right.tolist() == [1, 1]


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_labels_of_one_value_are_compared_by_its_threshold(shape: tuple[int, ...]) -> None:
    labels = np.array([1, 0, 1]).reshape(shape)
    check_labels(BINARY, labels, 3)
    ours = np.array([[0.51], [0.5], [0.49]])
    assert correct(BINARY, ours, labels, 3).right.tolist() == [1, 1, 0]


def test_labels_of_one_value_per_pixel() -> None:
    labels = np.random.default_rng(0).integers(0, 2, (3, 1, 4, 6))
    check_labels(PIXELS, labels, 3)
    assert correct(PIXELS, labels.astype(float), labels[:, 0], 3).value == 1.0


def test_a_nan_is_never_right() -> None:
    ours = np.eye(5)
    theirs = ours.copy()
    ours[2, 0] = np.nan
    assert agreement(CLASSES, ours, theirs, 5).right.tolist() == [1, 1, 0, 1, 1]
    assert correct(CLASSES, ours, np.arange(5), 5).right.tolist() == [1, 1, 0, 1, 1]
    with pytest.raises(InputError, match="'y' of the float model is not finite"):
        agreement(CLASSES, theirs, ours, 5)
    assert noise(ours, theirs, 5, "y").value == -MOST_DB
    with pytest.raises(InputError, match="not finite"):
        noise(theirs, ours, 5, "y")


def test_real_values_do_not_agree() -> None:
    with pytest.raises(InputError, match="one value per sample") as error:
        agreement(BINARY, np.zeros((2, 1)), np.zeros((2, 1)), 2)
    assert "sqnr_db" in str(error.value.hint)


@pytest.mark.parametrize(
    ("judge", "labels", "best", "words"),
    [
        (CLASSES, np.zeros(3, int), 1, r"int64\[3\]; int64\[4\] is needed"),
        (CLASSES, np.zeros(4), 1, "labels 'y' are float64"),
        (CLASSES, np.eye(5, dtype=int)[:4], 1, r"int64\[4, 5\]; int64\[4\]"),
        (CLASSES, np.full(4, 5), 1, "from 5 to 5; the model has 5 classes"),
        (CLASSES, np.full(4, -1), 1, "from -1"),
        (CLASSES, np.zeros(4, int), 5, "top5: output 'y' tells 5 classes apart"),
        (MAP, np.zeros(4, int), 1, r"int64\[4, 4, 6\] is needed"),
        (MAP, np.full((4, 4, 6), 3), 1, "3 classes"),
        (BINARY, np.full(4, 2), 1, "tells 0 from 1"),
        (BINARY, np.zeros((4, 1)), 1, "float64"),
        (BINARY, np.zeros(4, int), 5, "2 classes apart"),
        (WHOLE, np.zeros((4, 4, 6), int), 5, "1 classes apart"),
        (RANKED, np.zeros(4, int), 5, "9 classes|3 classes"),
    ],
)
def test_labels_that_do_not_fit(judge: Judge, labels: np.ndarray, best: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_labels(judge, labels, 4, best)


def test_one_hot_labels_are_named_so() -> None:
    with pytest.raises(InputError) as error:
        check_labels(CLASSES, np.eye(5)[:4], 4)
    assert "argmax" in str(error.value.hint)


def test_ragged_outputs_are_refused() -> None:
    with pytest.raises(InputError, match="differs from sample to sample"):
        agreement(WHOLE, np.zeros((7, 2)), np.zeros((7, 2)), 3)


def test_cosines_of_zero_vectors() -> None:
    ours = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [-1e200, 0.0], [np.nan, 1.0]])
    theirs = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1e-200, 0.0], [1.0, 1.0]])
    assert cosines(ours, theirs, 5, "y").tolist() == [1.0, 0.0, 0.0, -1.0, 0.0]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_an_interval_holds_its_value_and_grows_no_narrower_with_positions(
    right: list[int],
) -> None:
    tally = Tally(np.array(right), 9)
    found = share(tally)
    assert 0 <= found.low <= found.value <= found.high <= 1
    # Were all positions independent, the interval would be the narrowest that there can be.
    dense = wilson(tally.hits, tally.total)
    assert found.high - found.low >= dense.high - dense.low - 1e-12


def test_intervals_of_maps_cover_the_truth() -> None:
    """Samples of which each is right in most or in few of its 400 pixels: 95 of 100 intervals hold
    the mean, where pixels taken for independent would hold it in few."""
    generator = np.random.default_rng(0)
    inside = dense = 0
    for _ in range(400):
        chance = generator.beta(4, 2, 30)
        tally = Tally(generator.binomial(400, chance), 400)
        found, narrow = share(tally), wilson(tally.hits, tally.total)
        inside += found.low <= 2 / 3 <= found.high
        dense += narrow.low <= 2 / 3 <= narrow.high
    assert inside >= 0.92 * 400
    assert dense <= 0.4 * 400


def test_intervals_of_noise_and_means() -> None:
    theirs = random(0, 50, 8)
    ours = theirs + 0.1 * random(1, 50, 8)
    found = sqnr(noise(ours, theirs, 50, "y"))
    assert found.value == pytest.approx(20, abs=1)
    assert found.low < found.value < found.high
    assert sqnr(Noise(np.ones(3), np.zeros(3))).value == MOST_DB
    angles = mean(cosines(ours, theirs, 50, "y"))
    assert 0.98 < angles.low < angles.value < angles.high < 1


@pytest.mark.parametrize("samples", [1, 2, 150, 9000])
def test_an_interval_by_bootstrap_is_that_of_all_draws_at_once(
    samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = random(samples, samples)
    draws = max(200, min(1000, (1 << 23) // samples))
    drawn = np.random.default_rng(0).integers(0, samples, (draws, samples))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    monkeypatch.setattr(intervals, "_TOGETHER", 1 << 12)
    found = paired_difference(values, np.zeros(samples))
    assert (found.low, found.high) == (low, high)


def test_an_interval_of_many_samples_takes_little_memory() -> None:
    values = random(0, 40_000)
    tracemalloc.start()
    mean(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
