"""Divergence from the float model's probabilities, against a plain loop."""

from __future__ import annotations

from math import exp, log

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.accuracy import divergence as module
from compiler_core.accuracy.divergence import MOST_NATS, Divergence, divergence
from compiler_core.accuracy.figures import estimate, joined_figures
from compiler_core.accuracy.judge import Judge, Kind
from compiler_core.accuracy.metric import metric_kind, shown_name
from compiler_core.accuracy.score import drop, score_of
from compiler_core.errors import InputError
from nest_tune.study.request.goals import parse_constraint

LAST = Judge("y", Kind.CLASSES, (1, 3, 5), axis=2, classes=5)
SECOND = Judge("y", Kind.CLASSES, (1, 5, 3), axis=1, classes=5)


def plain(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> float:
    """Of one position, as it is written."""
    p, q = ([exp(x - max(v)) for x in v] for v in (theirs.tolist(), ours.tolist()))
    p, q = ([x / sum(v) for x in v] for v in (p, q))
    return sum(a * (log(a) - log(b)) for a, b in zip(p, q, strict=True) if a > 0)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.floats(0.1, 20.0))
def test_it_is_the_plain_sum(seed: int, samples: int, scale: float) -> None:
    generator = np.random.default_rng(seed)
    ours, theirs = scale * generator.standard_normal((2, samples, 3, 5))
    found = divergence(LAST, ours, theirs, samples)
    expected = [
        np.mean([plain(ours[n, at], theirs[n, at]) for at in range(3)]) for n in range(samples)
    ]
    assert found.nats == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert found.value == pytest.approx(-np.mean(expected), rel=1e-9, abs=1e-12)
    turned = divergence(SECOND, ours.transpose(0, 2, 1), theirs.transpose(0, 2, 1), samples)
    assert turned.nats == pytest.approx(found.nats)


def test_blocks_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = np.random.default_rng(0).standard_normal((2, 4, 7, 5))
    judge = Judge("y", Kind.CLASSES, (1, 7, 5), axis=2, classes=5)
    whole = divergence(judge, ours, theirs, 4)
    for size in (1, 11, 40):
        monkeypatch.setattr(module, "_BLOCK", size)
        assert divergence(judge, ours, theirs, 4).nats == pytest.approx(whole.nats, rel=1e-12)


def test_probabilities_are_taken_as_they_are() -> None:
    ours, theirs = np.random.default_rng(1).standard_normal((2, 6, 3, 5))
    one, other = (np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True) for x in (ours, theirs))
    expected = divergence(LAST, ours, theirs, 6).nats
    assert divergence(LAST, one, other, 6).nats == pytest.approx(expected)


def test_the_float_model_is_at_zero_and_what_is_lost_is_the_divergence() -> None:
    ours, theirs = np.random.default_rng(2).standard_normal((2, 8, 3, 5))
    itself = divergence(LAST, theirs, theirs, 8)
    assert itself.value == 0
    own, floats = (
        score_of({"y": found}, 8) for found in (divergence(LAST, ours, theirs, 8), itself)
    )
    assert drop(floats, own) == pytest.approx(-own.value)
    assert own.low is not None
    assert own.high is not None
    assert own.low < own.value < own.high < 0
    assert parse_constraint("kl_drop <= 0.05").high == 0.05
    assert shown_name("accuracy_drop", "kl") == "kl_drop"
    assert metric_kind("kl").compares


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_counts_as_the_most(value: float) -> None:
    theirs = np.random.default_rng(3).standard_normal((2, 3, 5))
    ours = theirs.copy()
    ours[1, 2, 0] = value
    found = divergence(LAST, ours, theirs, 2)
    assert found.nats[0] == 0
    assert found.nats[1] == pytest.approx(MOST_NATS / 3)
    with pytest.raises(InputError, match="not finite"):
        divergence(LAST, theirs, ours, 2)


def test_what_has_no_classes_is_refused() -> None:
    judge = Judge("present", Kind.REAL, (1, 3), reason="it is a cache")
    with pytest.raises(InputError) as caught:
        divergence(judge, np.zeros((2, 3)), np.zeros((2, 3)), 2)
    assert "it is a cache" in caught.value.message
    assert "judged-output" in (caught.value.hint or "")
    with pytest.raises(InputError, match="of 4 classes"):
        divergence(LAST, np.zeros((2, 3, 4)), np.zeros((2, 3, 5)), 2)


def test_blocks_of_samples_are_joined() -> None:
    one, two = Divergence(np.array([1.0, 2.0])), Divergence(np.array([3.0]))
    joined = joined_figures([{"y": one}, {"y": two}])["y"]
    assert joined.value == -2.0
    assert estimate(joined).value == -2.0
