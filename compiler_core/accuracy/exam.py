"""How the outputs of one model are measured: a metric, and the outputs that count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.intervals import Estimate, mean, share, sqnr
from compiler_core.accuracy.judge import ONE_OUTPUT, Judge, Kind, Shapes, computed_outputs, judges
from compiler_core.accuracy.labels import check_labels, correct
from compiler_core.accuracy.metric import Metric, check_name, default_metric, is_own
from compiler_core.accuracy.noise import Noise, cosines, noise
from compiler_core.accuracy.tally import Tally, agreement, decisions, joined, not_counted
from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.graph.ir import Graph

Arrays = Mapping[str, npt.NDArray[Any]]

_ENOUGH_TO_DIFFER = 8
"""Samples of which one expects that they are not all alike."""


@dataclass(frozen=True, eq=False)
class Angles:
    """Cosines by sample: ``float64[n]``."""

    cosines: npt.NDArray[np.float64]

    @property
    def value(self) -> float:
        """Their mean."""
        return float(self.cosines.mean())


Figures = Tally | Noise | Angles
"""What one metric says of one output, sample by sample."""


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
    def kind(self) -> Metric | None:
        """The metric; ``None`` for a user's own."""
        return None if is_own(self.metric) else Metric(self.metric)

    @property
    def is_labelled(self) -> bool:
        """Whether labels are asked for."""
        return self.kind is not None and self.kind.is_labelled

    @property
    def compares(self) -> bool:
        """Whether outputs of the float model are asked for."""
        return self.kind is not None and not self.kind.is_labelled

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
        best = 5 if self.kind is Metric.TOP5 else 1
        for judge in self.judges.values():
            if judge.kind is Kind.REAL and judge.axis is not None and len(self.judges) > 1:
                raise InputError(
                    f"output {judge.output!r} cannot be compared with labels: {judge.reason}",
                    hint=f"--metric sqnr_db judges all; {ONE_OUTPUT} judges one alone",
                )
            check_labels(judge, labels, samples, best)

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
        kind = self.kind
        assert kind is not None
        if kind.is_labelled:
            assert labels is not None
            return correct(judge, ours, labels, samples, 5 if kind is Metric.TOP5 else 1)
        assert theirs is not None
        reference = theirs[judge.output]
        if kind is Metric.AGREEMENT:
            return agreement(judge, ours, reference, samples, labelled=labels is not None)
        if kind is Metric.SQNR:
            return noise(ours, reference, samples, judge.output)
        return Angles(cosines(ours, reference, samples, judge.output))


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
    chosen = metric or default_metric(counting.values(), labelled=labelled).value
    if chosen == Metric.AGREEMENT.value:
        for judge in counting.values():
            if judge.kind is Kind.REAL:
                raise not_counted(judge)
    return Exam(chosen, counting)


def joined_figures(parts: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """Figures of blocks of samples, one after another, as one."""
    return {name: _joined([part[name] for part in parts]) for name in parts[0]}


def _joined(parts: Sequence[Figures]) -> Figures:
    if isinstance(parts[0], Tally):
        return joined([part for part in parts if isinstance(part, Tally)])
    if isinstance(parts[0], Noise):
        found = [part for part in parts if isinstance(part, Noise)]
        signal, lost = ([getattr(p, name) for p in found] for name in ("signal", "noise"))
        return Noise(np.concatenate(signal), np.concatenate(lost))
    return Angles(np.concatenate([part.cosines for part in parts if isinstance(part, Angles)]))


def worst(found: Mapping[str, Figures]) -> str:
    """The output that decides: the one with the lowest value, of equal ones the first."""
    return min(found, key=lambda name: found[name].value)


def estimate(figures: Figures) -> Estimate:
    """A value with its interval."""
    if isinstance(figures, Tally):
        return share(figures)
    return sqnr(figures) if isinstance(figures, Noise) else mean(figures.cosines)


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

    def check(self, labels: npt.NDArray[Any] | None) -> None:
        """Refuses to count by a threshold that tells nothing apart.

        Args:
            labels: Of all samples, checked; ``None`` where nothing is compared with them.

        Raises:
            InputError: There are labels of both values, and all values of the float model lie on
                one side of the threshold: a model that loses everything would count as well.
        """
        if labels is None or self._samples < _ENOUGH_TO_DIFFER or len(np.unique(labels)) < 2:
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
        if self._samples < _ENOUGH_TO_DIFFER:
            return ()
        return tuple(
            f"output {name!r}: the float model says the same for all {self._samples} samples, so "
            "a model that always says so seems as good; --metric sqnr_db sees more"
            for name, said in self._said.items()
            if said is not None
        )
