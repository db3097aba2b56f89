"""Accuracy of a compiled model on labelled data, and its agreement with the float model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.executable.runner import Runner
from compiler_core.graph.ir import Graph
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.calibration import model_batch

Scores = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]


class Metric(Enum):
    """What is counted; all are fractions of the samples, and more is better."""

    TOP1 = "top1"
    """The label has the highest score."""
    TOP5 = "top5"
    """The label is among the five highest scores."""
    AGREEMENT = "agreement"
    """The highest score is that of the float model."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        metric: What was counted.
        accuracy: Of the compiled model.
        float_accuracy: Of the float model, where it was given and there are labels.
        agreement: With the float model, where it was given.
        samples: How many.
    """

    metric: Metric
    accuracy: float
    float_accuracy: float | None
    agreement: float | None
    samples: int

    @property
    def accuracy_drop(self) -> float | None:
        """Absolute points that were lost against the float model."""
        return None if self.float_accuracy is None else self.float_accuracy - self.accuracy


def evaluate(
    runner: Runner,
    inputs: Mapping[str, npt.NDArray[Any]],
    labels: npt.NDArray[Any] | None,
    metric: Metric,
    *,
    output: str,
    against: Graph | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Runs all samples and counts.

    Args:
        runner: The compiled model.
        inputs: Samples per input.
        labels: ``int64[samples]``, or ``None`` where agreement is the metric.
        metric: What to count.
        output: Output whose values are the scores of the classes.
        against: The float model.
        progress: Told the number of samples done.

    Raises:
        InputError: Labels or the float model are missing or do not fit.
    """
    if metric is Metric.AGREEMENT and against is None:
        raise InputError("metric agreement needs the float model", hint="give --against model.onnx")
    if metric is not Metric.AGREEMENT and labels is None:
        raise InputError(
            f"metric {metric.value} needs labels: array 'y' is missing",
            hint="add y, or use --metric agreement --against model.onnx",
        )
    if against is not None and output not in against.outputs:
        raise InputError(
            f"the float model has no output {output!r}; it has {', '.join(against.outputs)}"
        )
    known = None if labels is None else _labels(labels, len(next(iter(inputs.values()))))
    floats = None if against is None else _float_scores(against, inputs, output)
    right = right_float = agreeing = samples = 0
    for block in runner.blocks(inputs):
        scores = _scores(block.outputs[output], block.count, output)
        samples += block.count
        part = None
        if known is not None:
            part = known[block.first : block.first + block.count]
            right += _hits(scores, part, metric)
        if floats is not None:
            theirs = np.concatenate([next(floats) for _ in range(block.count)])
            agreeing += int((scores.argmax(axis=1) == theirs.argmax(axis=1)).sum())
            if part is not None:
                right_float += _hits(theirs, part, metric)
        progress(samples)
    agreement = None if floats is None else agreeing / samples
    if metric is Metric.AGREEMENT:
        assert agreement is not None
        return Evaluation(metric, agreement, None, agreement, samples)
    float_accuracy = None if floats is None else right_float / samples
    return Evaluation(metric, right / samples, float_accuracy, agreement, samples)


def _labels(labels: npt.NDArray[Any], samples: int) -> Labels:
    if labels.shape != (samples,) or labels.dtype.kind not in "iu":
        raise InputError(
            f"labels 'y' are {labels.dtype}{list(labels.shape)}; int64[{samples}] is needed"
        )
    return labels.astype(np.int64)


def _scores(array: npt.NDArray[Any], samples: int, output: str) -> Scores:
    if not array.ndim or len(array) != samples or array.dtype.kind not in "fiu":
        raise InputError(
            f"output {output!r} is {array.dtype}{list(array.shape)}: no scores of {samples} samples"
        )
    return array.reshape(samples, -1)


def _hits(scores: Scores, labels: Labels, metric: Metric) -> int:
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < scores.shape[1]:
        raise InputError(
            f"labels 'y' reach from {labels.min()} to {labels.max()}; the model has "
            f"{scores.shape[1]} classes"
        )
    if metric is Metric.TOP1:
        return int((scores.argmax(axis=1) == labels).sum())
    # A stable order gives equal scores the rank of the smaller class, as argmax does.
    best = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")[:, :5]
    return int((best == labels[:, None]).any(axis=1).sum())


def _float_scores(
    graph: Graph, inputs: Mapping[str, npt.NDArray[Any]], output: str
) -> Iterator[Scores]:
    """Scores of the float model, ``[1, classes]`` sample by sample."""
    session = FloatSession(graph, [output])
    batch = model_batch(graph)
    count = len(next(iter(inputs.values())))
    for first in range(0, count, batch):
        feeds = {name: array[first : first + batch] for name, array in inputs.items()}
        scores = _scores(session.run(feeds)[output], batch, output)
        yield from (row[None] for row in scores)
