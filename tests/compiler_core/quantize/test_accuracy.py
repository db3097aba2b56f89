"""Metrics of quantized outputs and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.accuracy.intervals import paired_difference, wilson
from compiler_core.accuracy.judge import Judge, Kind
from compiler_core.accuracy.metric import Metric
from compiler_core.accuracy.noise import MOST_DB, noise
from compiler_core.errors import InputError
from compiler_core.quantize.accuracy import measure as measure_outputs

CLASSES = Judge("y", Kind.CLASSES, (1, 10), axis=1, classes=10)


def measure(ours, theirs, labels, judge=CLASSES):
    return measure_outputs({"y": judge}, {"y": ours}, {"y": theirs}, labels, len(ours))


def scores(seed=0, samples=200, classes=10):
    return np.random.default_rng(seed).standard_normal((samples, classes))


def test_wilson_of_known_values():
    found = wilson(8, 10)
    assert (found.value, round(found.low, 4), round(found.high, 4)) == (0.8, 0.4902, 0.9433)
    assert wilson(0, 5).low == 0.0
    assert wilson(5, 5).high == 1.0


def test_metrics_of_noisy_scores():
    expected = scores()
    ours = expected + 0.1 * scores(1)
    labels = expected.argmax(axis=1)
    labels[:50] = (labels[:50] + 1) % 10
    found = measure(ours, expected, labels)
    agree = (ours.argmax(axis=1) == expected.argmax(axis=1)).mean()
    assert found.metrics[Metric.AGREEMENT].value == agree
    assert found.metrics[Metric.TOP1].value == (ours.argmax(axis=1) == labels).mean()
    assert found.metrics[Metric.TOP5].value >= found.metrics[Metric.TOP1].value
    decibels = 10 * np.log10((expected**2).sum() / ((ours - expected) ** 2).sum())
    assert found.metrics[Metric.SQNR].value == pytest.approx(decibels)
    for estimate in found.metrics.values():
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.low < estimate.high


def test_without_labels_the_float_model_counts():
    expected = scores()
    found = measure(expected, expected, None)
    assert set(found.metrics) == {Metric.AGREEMENT, Metric.SQNR, Metric.COSINE}
    assert found.correct.all()
    assert found.metrics[Metric.SQNR].value == MOST_DB
    assert found.metrics[Metric.COSINE].value == pytest.approx(1.0)


def test_zero_scores_give_finite_numbers():
    zeros = np.zeros((3, 4))
    found = measure(zeros, zeros, None)
    assert found.metrics[Metric.COSINE].value == 1.0
    assert noise(zeros + 1, zeros, 3, "y").value == -MOST_DB


def test_paired_difference():
    ours = np.arange(100) % 10 != 0
    theirs = np.arange(100) % 5 != 0
    found = paired_difference(ours, theirs)
    assert found.value == pytest.approx(0.1)
    assert 0.02 < found.low < 0.1 < found.high < 0.2
    assert paired_difference(ours, ours).high == 0.0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(199, np.int64), r"int64\[200\] is needed"),
        (np.zeros(200), "labels 'y' are float64"),
        (np.full(200, 10), "reach from 10 to 10; the model has 10 classes"),
        (np.full(200, -1), "reach from -1"),
    ],
)
def test_wrong_labels(labels, message):
    with pytest.raises(InputError, match=message):
        measure(scores(), scores(), labels)


def test_float_scores_have_to_be_finite():
    expected = scores()
    expected[3, 2] = np.inf
    with pytest.raises(InputError, match="not finite"):
        measure(scores(), expected, None)


def test_the_worst_output_decides_each_metric():
    expected, broken = scores(), scores(7)
    good = expected + 1e-6 * scores(1)
    other = Judge("z", Kind.CLASSES, (1, 10), axis=1, classes=10)
    both = measure_outputs(
        {"y": CLASSES, "z": other},
        {"y": good, "z": broken},
        {"y": expected, "z": expected},
        None,
        200,
    )
    alone = measure(broken, expected, None)
    assert both.metrics == alone.metrics
    assert measure(good, expected, None).metrics[Metric.AGREEMENT].value == 1.0


def test_real_values_do_not_agree_but_with_labels():
    judge = Judge("y", Kind.REAL, (1, 1), threshold=0.5)
    expected = np.array([[0.1], [0.9], [0.8], [0.2]])
    ours = np.array([[0.2], [0.8], [0.4], [0.3]])
    found = measure(ours, expected, None, judge)
    assert set(found.metrics) == {Metric.SQNR, Metric.COSINE}
    assert found.counted is Metric.SQNR
    labelled = measure(ours, expected, np.array([0, 1, 1, 1]), judge)
    assert labelled.metrics[Metric.TOP1].value == 0.5
    assert labelled.metrics[Metric.AGREEMENT].value == 0.75
    assert labelled.correct.tolist() == [1, 1, 0, 0]
