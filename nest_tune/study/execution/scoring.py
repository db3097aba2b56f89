"""What a trial's accuracy adds to its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from compiler_core.accuracy.exam import Exam
from compiler_core.accuracy.float_model import float_outputs, stacked
from compiler_core.accuracy.metric import is_in_decibels
from compiler_core.accuracy.own_metric import load_own_metric
from compiler_core.accuracy.samples import EvaluationData
from compiler_core.accuracy.score import Score, drop, score_of
from compiler_core.graph.ir import Graph
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.quantize.reference import ReferenceExecutor


def accuracy_metrics(
    metric: str, own: Score, floats: Score, default: Score | None = None
) -> dict[str, float]:
    """``accuracy``, and ``accuracy_drop``: what was lost.

    Args:
        metric: Name of the study's metric.
        own: Of a trial.
        floats: Of the float model on the same samples: the loss is counted from there, but in dB,
            for the float model has no noise against itself.
        default: Of the default trial on the same samples: the loss in dB is counted from there;
            ``None`` where it was not measured.
    """
    in_decibels = is_in_decibels(metric)
    reference = default if in_decibels and default is not None else floats
    return {"accuracy": own.value, "accuracy_drop": drop(reference, own)}


def measure_all(
    exam: Exam, data: EvaluationData, graph: Graph, quantized: QuantizedGraph
) -> tuple[Score, Score]:
    """Scores of a quantized model and of the float model on all samples.

    Args:
        exam: How to measure.
        data: Checked for it.
        graph: The float model.
        quantized: What was made of it.

    Raises:
        InputError: Outputs of the float model are not finite, or a user's metric fails.
    """
    ours = ReferenceExecutor(quantized).run(data.inputs)
    own = stacked(graph, ours, list(exam.judges), data.samples)
    return measure_outputs(exam, data, graph, own)


def measure_outputs(
    exam: Exam, data: EvaluationData, graph: Graph, own: Mapping[str, npt.NDArray[Any]]
) -> tuple[Score, Score]:
    """Scores of outputs that count, on all samples, and of the float model on them.

    Args:
        exam: How to measure.
        data: Checked for it.
        graph: The float model.
        own: Samples first.

    Raises:
        InputError: Outputs of the float model are not finite, or a user's metric fails.
    """
    theirs = float_outputs(graph, data.inputs, list(exam.judges))
    if exam.kind.is_function:
        measure = load_own_metric(exam.kind.function)
        values = [measure(outputs, data.labels) for outputs in (own, theirs)]
        return Score(values[0], data.samples), Score(values[1], data.samples)
    labels = None if exam.compares else data.labels
    found = [exam.figures(outputs, theirs, labels, data.samples) for outputs in (own, theirs)]
    return score_of(found[0], data.samples), score_of(found[1], data.samples)
