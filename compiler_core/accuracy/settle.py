"""What is measured where nobody says it, with a look at what the float model says.

Counting says nothing where the float model says the same for every sample: a model that is stuck
there agrees with it everywhere. Noise is measured then.
"""

from __future__ import annotations

from collections.abc import Iterator

from compiler_core.accuracy.exam import ENOUGH_TO_DIFFER, Exam, Sameness, make_exam
from compiler_core.accuracy.float_model import float_runs
from compiler_core.accuracy.metric import Metric
from compiler_core.accuracy.samples import EvaluationData
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import check_samples, choose, model_batch

_FIRST = 16
"""Runs to look at first, spread over all: nearly always two of them differ."""


def settled_exam(
    graph: Graph, data: EvaluationData, metric: str | None, output: str | None = None
) -> tuple[Exam, tuple[str, ...]]:
    """How a model is measured on given data.

    Args:
        graph: The float model.
        data: Inputs that it takes, and labels where there are some.
        metric: Name, ``module:function``, or ``None`` for what follows from labels, outputs and
            what the float model says.
        output: The only output that counts; ``None`` for all that are computed.

    Returns:
        The exam, and what to tell of how it was found.

    Raises:
        InputError: As :func:`~compiler_core.accuracy.exam.make_exam`, or onnxruntime cannot run the
            model.
    """
    exam = make_exam(graph, metric, labelled=data.labels is not None, output=output)
    if metric is not None or exam.metric != Metric.AGREEMENT.value:
        return exam, ()
    name = _always_alike(graph, data, exam)
    if name is None:
        return exam, ()
    other = make_exam(graph, Metric.SQNR.value, labelled=False, output=output)
    told = (
        f"output {name!r}: the float model says the same for all {data.samples} samples, so "
        "agreement would say nothing; sqnr_db is measured"
    )
    return other, (told,)


def _always_alike(graph: Graph, data: EvaluationData, exam: Exam) -> str | None:
    """An output that says the same for all samples; ``None`` for none, and for few samples."""
    if data.samples < ENOUGH_TO_DIFFER:
        return None
    check_samples(graph, data.inputs)
    batch, sameness = model_batch(graph), Sameness(exam)
    for numbers in _in_two_parts(data.samples // batch):
        part = choose(graph, data.inputs, numbers)
        for outputs in float_runs(graph, part, list(exam.judges)):
            sameness.add(outputs, batch)
            if not sameness.alike:
                return None
    return sameness.alike[0]


def _in_two_parts(count: int) -> Iterator[list[int]]:
    step = max(1, count // _FIRST)
    yield list(range(0, count, step))
    rest = [number for number in range(count) if number % step]
    if rest:
        yield rest
