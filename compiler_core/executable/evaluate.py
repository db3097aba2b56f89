"""How good a compiled model is on data: block by block, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.exam import Exam, Sameness
from compiler_core.accuracy.figures import Figures, estimate, joined_figures, worst
from compiler_core.accuracy.float_model import float_runs, joined_runs, stacked
from compiler_core.accuracy.intervals import Estimate
from compiler_core.accuracy.judge import Kind
from compiler_core.accuracy.metric import Metric, MetricKind
from compiler_core.accuracy.own_metric import OwnMetric, load_own_metric
from compiler_core.accuracy.samples import EvaluationData
from compiler_core.accuracy.score import drop, score_of
from compiler_core.errors import InputError
from compiler_core.executable.runner import BlockResult
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import model_batch

Arrays = dict[str, npt.NDArray[Any]]


class RunsBlocks(Protocol):
    """What executes a model: :class:`compiler_core.executable.runner.PackageRunner`, say."""

    @property
    def signature(self) -> Graph:
        """The model's inputs and outputs."""
        ...

    def blocks(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Iterator[BlockResult]:
        """Results block by block."""
        ...


@dataclass(frozen=True)
class PackageEvaluation:
    """What an evaluation found.

    Attributes:
        metric: Name, or ``module:function``.
        value: Of the output that decides, in the unit of the metric.
        samples: How many.
        interval: 95 % confidence interval; ``None`` for a user's metric.
        accuracy: The value where the metric compares with labels or is a user's.
        float_accuracy: That of the float model, where it was given.
        accuracy_drop: Absolute points that were lost against it.
        agreement: With the float model, where it was given and outputs can agree.
        outputs: Value of each output that counts.
        notes: What to know of the value.
        computed_by: What gave the outputs: a runtime, or onnxruntime where no unit is beside it.
    """

    metric: str
    value: float
    samples: int
    interval: Estimate | None = None
    accuracy: float | None = None
    float_accuracy: float | None = None
    accuracy_drop: float | None = None
    agreement: float | None = None
    outputs: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    computed_by: str = ""


def evaluate(
    runner: RunsBlocks,
    data: EvaluationData,
    exam: Exam,
    *,
    against: Graph | None = None,
    float_inputs: Arrays | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> PackageEvaluation:
    """Runs all samples and measures.

    Args:
        runner: The compiled model.
        data: Checked for ``exam``.
        exam: What to measure.
        against: The float model.
        float_inputs: Its inputs where they are others than those of ``data``: its own states.
        progress: Told the number of samples done.

    Raises:
        InputError: The float model is missing or does not fit, or a user's metric fails.
    """
    if exam.compares and against is None:
        raise InputError(
            f"metric {exam.metric} needs the float model", hint="give --against model.onnx"
        )
    for name in exam.judges:
        if name not in runner.signature.outputs:
            raise InputError(
                f"the package has no output {name!r}; it has {', '.join(runner.signature.outputs)}",
                hint="give the model that it was compiled from, or compile it again",
            )
    if against is not None:
        for name in exam.judges:
            if name not in against.outputs:
                raise InputError(
                    f"the float model has no output {name!r}; it has {', '.join(against.outputs)}"
                )
    measure = load_own_metric(exam.kind.function) if exam.kind.is_function else None
    theirs = data.inputs if float_inputs is None else float_inputs
    runs = None if against is None else float_runs(against, theirs, list(exam.judges))
    blocks = _blocks(runner, data, exam, against, runs, progress)
    if measure is not None:
        return _own(exam, measure, data, list(blocks))
    return _counted(exam, exam.kind, blocks, data, against is not None)


@dataclass(frozen=True, eq=False)
class _Block:
    ours: Arrays
    theirs: Arrays | None
    labels: npt.NDArray[Any] | None
    count: int


def _blocks(
    runner: RunsBlocks,
    data: EvaluationData,
    exam: Exam,
    against: Graph | None,
    runs: Iterator[Arrays] | None,
    progress: Callable[[int], None],
) -> Iterator[_Block]:
    names, graph = list(exam.judges), runner.signature
    batch = 1 if against is None else model_batch(against)
    labels = data.labels if exam.is_labelled or exam.kind.is_function else None
    for block in runner.blocks(data.inputs):
        theirs = None
        if runs is not None:
            theirs = joined_runs(list(islice(runs, block.count // batch)), names)
        part = None if labels is None else labels[block.first : block.first + block.count]
        ours = stacked(graph, block.outputs, names, block.count)
        yield _Block(ours, theirs, part, block.count)
        progress(block.first + block.count)


def _counted(
    exam: Exam, kind: MetricKind, blocks: Iterator[_Block], data: EvaluationData, compared: bool
) -> PackageEvaluation:
    agreeing = Exam(Metric.AGREEMENT.value, exam.judges)
    agrees = compared and (
        exam.is_labelled or all(j.kind is not Kind.REAL for j in exam.judges.values())
    )
    own: list[Mapping[str, Figures]] = []
    floats: list[Mapping[str, Figures]] = []
    alike: list[Mapping[str, Figures]] = []
    sameness = Sameness(agreeing)
    for block in blocks:
        samples, theirs = block.count, block.theirs
        own.append(exam.figures(block.ours, theirs, block.labels, samples))
        if theirs is not None and exam.is_labelled:
            floats.append(exam.figures(theirs, theirs, block.labels, samples))
        if theirs is not None and agrees:
            sameness.add(theirs, samples)
            alike.append(agreeing.figures(block.ours, theirs, block.labels, samples))
    if exam.is_labelled:
        sameness.check(data.labels)
    found = joined_figures(own)
    score = score_of(found, data.samples)
    reference = score_of(joined_figures(floats), data.samples) if floats else None
    common = {name: figure.value for name, figure in found.items()}
    agreement = score_of(joined_figures(alike), data.samples).value if alike else None
    return PackageEvaluation(
        exam.metric,
        score.value,
        data.samples,
        estimate(found[worst(found)]),
        score.value if kind.is_labelled else None,
        None if reference is None else reference.value,
        None if reference is None else drop(reference, score),
        agreement,
        common,
        sameness.notes() if kind.counts else (),
    )


def _own(
    exam: Exam, measure: OwnMetric, data: EvaluationData, blocks: list[_Block]
) -> PackageEvaluation:
    """A user's metric, which sees all samples at once."""
    names = list(exam.judges)
    theirs = [block.theirs for block in blocks if block.theirs is not None]
    reference = measure(joined_runs(theirs, names), data.labels) if theirs else None
    ours = joined_runs(
        [{n: np.atleast_1d(array) for n, array in block.ours.items()} for block in blocks], names
    )
    value = measure(ours, data.labels)
    lost = None if reference is None else round(reference - value, 12)
    return PackageEvaluation(
        exam.metric,
        value,
        data.samples,
        accuracy=value,
        float_accuracy=reference,
        accuracy_drop=lost,
    )
