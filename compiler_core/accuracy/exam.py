"""How the outputs of one model are measured: a metric, and the outputs that count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.figures import Figures
from compiler_core.accuracy.judge import ONE_OUTPUT, Judge, Kind, Shapes, computed_outputs, judges
from compiler_core.accuracy.labels import check_labels
from compiler_core.accuracy.metric import MetricKind, check_name, default_metric, metric_kind
from compiler_core.accuracy.tally import decisions, not_counted
from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.graph.ir import Graph
from compiler_core.plugins.registry import load

Arrays = Mapping[str, npt.NDArray[Any]]

ENOUGH_TO_DIFFER = 8
"""Samples of which one expects that they are not all alike."""


@dataclass(frozen=True)
class Exam:
    """A metric and the outputs that it takes.

    Attributes:
        metric: Name, or ``module:function``.
        judges: Of the outputs that count, by name.
    """

    metric: str
    judges: Mapping[str, Judge]

    @property
    def kind(self) -> MetricKind:
        """The metric."""
        return metric_kind(self.metric)

    @property
    def is_labelled(self) -> bool:
        """Whether labels are asked for."""
        return self.kind.is_labelled

    @property
    def compares(self) -> bool:
        """Whether outputs of the float model are asked for."""
        return self.kind.compares

    def check_labels(self, labels: npt.NDArray[Any] | None, samples: int) -> None:
        """Refuses labels that do not fit, before anything runs; looks at them only where they are
        asked for.

        Raises:
            InputError: They are missing, or say nothing about an output that counts.
        """
        if not self.is_labelled:
            return
        if labels is None:
            raise InputError(
                f"metric {self.metric} needs labels: array 'y' is missing",
                hint="add y, or use --metric agreement: it compares with the float model",
            )
        for judge in self.judges.values():
            if judge.kind is Kind.REAL and judge.axis is not None and len(self.judges) > 1:
                raise InputError(
                    f"output {judge.output!r} cannot be compared with labels: {judge.reason}",
                    hint=f"--metric sqnr_db judges all; {ONE_OUTPUT} judges one alone",
                )
            check_labels(judge, labels, samples, self.kind.best)

    def figures(
        self,
        ours: Arrays,
        theirs: Arrays | None,
        labels: npt.NDArray[Any] | None,
        samples: int,
    ) -> dict[str, Figures]:
        """What the metric says of each output that counts, sample by sample.

        Args:
            ours: Outputs of the quantized model by name.
            theirs: Those of the float model where the metric compares with it.
            labels: Checked, of these samples, where there are some.
            samples: How many.

        Raises:
            InputError: Outputs of the float model are not finite or differ in shape.
        """
        return {
            name: self._figure(judge, ours[name], theirs, labels, samples)
            for name, judge in self.judges.items()
        }

    def _figure(
        self,
        judge: Judge,
        ours: npt.NDArray[Any],
        theirs: Arrays | None,
        labels: npt.NDArray[Any] | None,
        samples: int,
    ) -> Figures:
        make: Any = load(self.kind.figure, f"metric {self.metric!r}")
        reference = None if theirs is None else theirs[judge.output]
        found: Figures = make(judge, ours, reference, labels, samples)
        return found


def make_exam(
    graph: Graph,
    metric: str | None,
    *,
    labelled: bool,
    output: str | None = None,
    shapes: Shapes | None = None,
) -> Exam:
    """How a model's outputs are measured.

    Args:
        graph: The float model.
        metric: Name, ``module:function``, or ``None`` for what follows from labels and outputs.
        labelled: Whether there are labels.
        output: The only output that counts; ``None`` for all that are computed.
        shapes: Of outputs for one run of the model, where the graph does not know them.

    Raises:
        InputError: There is no such metric or output, nothing computes the output, or the metric
            cannot judge one that counts.
    """
    known = judges(graph, shapes)
    if metric is not None:
        check_name(metric)
    if output is not None and output not in known:
        names = computed_outputs(graph)
        constant = " that is computed" if output in graph.outputs else ""
        raise InputError(
            f"output {output!r}: the model has no such output{constant}; it has "
            f"{', '.join(map(repr, names)) or 'none'}",
            hint=did_you_mean(output, names),
        )
    counting = known if output is None else {output: known[output]}
    if not counting:
        raise InputError("the model computes none of its outputs: there is nothing to measure")
    # What holds no values is always right, as constants are.
    counting = {name: judge for name, judge in counting.items() if 0 not in (judge.shape or ())}
    if not counting:
        what = "the model's outputs hold" if output is None else f"output {output!r} holds"
        raise InputError(f"{what} no values: there is nothing to measure")
    chosen = metric or default_metric(counting.values(), labelled=labelled).value
    kind = metric_kind(chosen)
    if kind.counts and kind.compares:
        for judge in counting.values():
            if judge.kind is Kind.REAL:
                raise not_counted(judge)
    return Exam(chosen, counting)


class Sameness:
    """Outputs of which counting says little: the float model says the same for every sample, so a
    model that is stuck at that seems as good.

    Args:
        exam: Whose outputs to look at.
    """

    def __init__(self, exam: Exam) -> None:
        self._exam = exam
        self._said: dict[str, npt.NDArray[Any] | None] = {}
        self._samples = 0

    def add(self, theirs: Arrays, samples: int) -> None:
        """Looks at further samples of the float model."""
        self._samples += samples
        for name, judge in self._exam.judges.items():
            said = decisions(judge, theirs[name], samples).values
            first = self._said.setdefault(name, said[0])
            if first is not None and not (said == first).all():
                self._said[name] = None

    @property
    def alike(self) -> tuple[str, ...]:
        """Outputs that have said the same so far."""
        return tuple(name for name, said in self._said.items() if said is not None)

    def check(self, labels: npt.NDArray[Any] | None) -> None:
        """Refuses to count by a threshold that tells nothing apart.

        Args:
            labels: Of all samples, checked; ``None`` where nothing is compared with them.

        Raises:
            InputError: There are labels of both values, and all values of the float model lie on
                one side of the threshold: a model that loses everything would count as well.
        """
        if labels is None or self._samples < ENOUGH_TO_DIFFER or len(np.unique(labels)) < 2:
            return
        for name, said in self._said.items():
            judge = self._exam.judges[name]
            if said is None or judge.kind is not Kind.REAL:
                continue
            side = "above" if said.all() else "not above" if not said.any() else "always alike to"
            raise InputError(
                f"output {name!r}: the float model's values for all {self._samples} samples are "
                f"{side} {judge.threshold:g}, which is to tell labels 0 from 1: 0.5 after a "
                "sigmoid, else 0; --metric sqnr_db needs none",
                hint="end the model with a sigmoid, or --metric module:function for one of yours",
            )

    def notes(self) -> tuple[str, ...]:
        """What to tell; nothing of few samples, which may well be alike."""
        if self._samples < ENOUGH_TO_DIFFER:
            return ()
        return tuple(
            f"output {name!r}: the float model says the same for all {self._samples} samples, so "
            "a model that always says so seems as good; --metric sqnr_db sees more"
            for name, said in self._said.items()
            if said is not None
        )
