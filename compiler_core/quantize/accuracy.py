"""How good a quantized model is: every metric that its outputs take, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.exam import Exam
from compiler_core.accuracy.figures import estimate, worst
from compiler_core.accuracy.intervals import Estimate
from compiler_core.accuracy.judge import Judge, Kind
from compiler_core.accuracy.metric import Metric
from compiler_core.accuracy.tally import Tally
from compiler_core.errors import InputError

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Accuracy:
    """What a set of samples says of a quantized model.

    Attributes:
        samples: How many.
        metrics: By metric, of the output that is worst in it; those that need labels only where
            there are some, agreement only where no output is of real values.
        correct: Share of each sample that is right, by its labels or, without, by the float model;
            1 where nothing can be counted. Pairs with another model's on the same samples.
    """

    samples: int
    metrics: Mapping[Metric, Estimate]
    correct: npt.NDArray[Any]

    @property
    def counted(self) -> Metric:
        """The metric that people look at first."""
        for metric in (Metric.TOP1, Metric.AGREEMENT):
            if metric in self.metrics:
                return metric
        return Metric.SQNR


def measure(
    judged: Mapping[str, Judge],
    ours: Arrays,
    theirs: Arrays,
    labels: npt.NDArray[Any] | None,
    samples: int,
) -> Accuracy:
    """Compare outputs with those of the float model, and with labels where there are some.

    Args:
        judged: Outputs that count.
        ours: Of the quantized model, by name.
        theirs: Of the float model.
        labels: Of all samples, or ``None``.
        samples: How many.

    Raises:
        InputError: Shapes or labels do not fit, or outputs of the float model are not finite.
    """
    for name in judged:
        if ours[name].shape != theirs[name].shape or not samples:
            raise InputError(
                f"output {name!r} is {ours[name].shape}; the float model's is {theirs[name].shape}"
            )
    exams = [Exam(metric.value, judged) for metric in _metrics(judged, labels, samples)]
    metrics: dict[Metric, Estimate] = {}
    correct: npt.NDArray[Any] | None = None
    for exam in exams:
        found = exam.figures(ours, theirs, labels, samples)
        deciding = found[worst(found)]
        metrics[Metric(exam.metric)] = estimate(deciding)
        if correct is None and isinstance(deciding, Tally):
            correct = deciding.shares
    return Accuracy(samples, metrics, np.ones(samples) if correct is None else correct)


def _metrics(
    judged: Mapping[str, Judge], labels: npt.NDArray[Any] | None, samples: int
) -> list[Metric]:
    """Metrics that can be measured, those that count first."""
    found = []
    if labels is not None:
        Exam(Metric.TOP1.value, judged).check_labels(labels, samples)
        found.append(Metric.TOP1)
        try:
            Exam(Metric.TOP5.value, judged).check_labels(labels, samples)
            found.append(Metric.TOP5)
        except InputError:  # fewer classes than guesses
            pass
    if labels is not None or all(judge.kind is not Kind.REAL for judge in judged.values()):
        found.append(Metric.AGREEMENT)
    return [*found, Metric.SQNR, Metric.COSINE]
