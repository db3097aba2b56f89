"""A study's model and data, and how good a candidate is on them, whatever a candidate is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.exam import Exam, Sameness, make_exam
from compiler_core.accuracy.fidelity import sums_of
from compiler_core.accuracy.float_model import float_outputs
from compiler_core.accuracy.holdout import EvaluationSplit, split
from compiler_core.accuracy.own_metric import load_own_metric
from compiler_core.accuracy.samples import EvaluationData, read_evaluation, read_samples
from compiler_core.accuracy.score import Score, score_of, spliced
from compiler_core.accuracy.tally import chosen_samples
from compiler_core.compile.sources import FloatModel, load_model
from compiler_core.errors import InputError
from compiler_core.graph.sampling import model_batch
from compiler_core.quantize.profile import Profile
from nest_tune.stores.profile_store import stored_profile
from nest_tune.study.execution.subjects import Subjects
from nest_tune.user_modules import allow_folder, working_folder


@dataclass(frozen=True)
class Costs:
    """What a candidate costs, by metric, with 95 % intervals of what was measured by the clock, and
    what speaks against the measurement."""

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    doubts: tuple[str, ...] = ()


class ExaminedModel(ABC):
    """A model, the data that candidates are examined on, and how good one is.

    Args:
        subjects: What the study is about.

    Raises:
        InputError: A file is wrong.
    """

    def __init__(self, subjects: Subjects) -> None:
        self.subjects = subjects
        self.model: FloatModel = load_model(Path(subjects.model), subjects.shapes)

    @abstractmethod
    def outputs(
        self, decisions: Mapping[str, Any], inputs: Mapping[str, npt.NDArray[Any]], samples: int
    ) -> dict[str, npt.NDArray[Any]]:
        """Outputs of a candidate that count, samples first.

        Args:
            decisions: The candidate.
            inputs: Array per input of the model.
            samples: In them.
        """

    @abstractmethod
    def warm(self) -> None:
        """Does what every trial needs, so that no trial's time is spent on it."""

    @abstractmethod
    def survey(self, decisions: Mapping[str, Any]) -> dict[str, Any]:
        """See :func:`nest_tune.study.execution.worker.survey`."""

    @abstractmethod
    def measure(
        self, decisions: Mapping[str, Any], schedules: Mapping[str, Any]
    ) -> tuple[Costs, float]:
        """Costs of a candidate, and its latency if all of it reached its lower bound."""

    @abstractmethod
    def float_costs(self) -> dict[str, float]:
        """What the float model costs, by metric; empty where that is not measured."""

    @cached_property
    def _profile(self) -> Profile:
        if self.subjects.calibration is None:
            raise InputError(
                f"model {self.model.name!r} has operators to quantize and there are no calibration "
                "data",
                hint="give --calibration calib.npz with the model's inputs",
            )
        samples = read_samples(Path(self.subjects.calibration), self.model.graph)
        return stored_profile(self.model.graph, samples)

    @cached_property
    def exam(self) -> Exam:
        """How outputs are measured."""
        subjects, graph = self.subjects, self.model.graph
        return make_exam(graph, subjects.metric, labelled=True, output=subjects.judged_output)

    @cached_property
    def _parts(self) -> EvaluationSplit:
        assert self.subjects.evaluation is not None
        found = read_evaluation(Path(self.subjects.evaluation), self.model.graph)
        found.check(self.exam)
        return split(found, self.model.graph, self.subjects.holdout)

    @cached_property
    def data(self) -> EvaluationData:
        """What accuracy is measured on, checked; what only reports is left out."""
        return self._parts.choosing

    @cached_property
    def reporting(self) -> EvaluationData | None:
        """What accuracy is reported on, checked; ``None`` where nothing is kept out."""
        if self.subjects.holdout_file is None:
            return self._parts.reporting
        found = read_evaluation(Path(self.subjects.holdout_file), self.model.graph)
        found.check(self.exam)
        return found

    @cached_property
    def float_outputs(self) -> dict[str, npt.NDArray[Any]]:
        """Outputs of the float model that count, for all samples."""
        return float_outputs(self.model.graph, self.data.inputs, list(self.exam.judges))

    @cached_property
    def _own_metric(self) -> Callable[..., float]:
        allow_folder(working_folder())
        return load_own_metric(self.exam.kind.function)

    @property
    def samples(self) -> int:
        """Number of evaluation samples."""
        return self.data.samples

    def chosen(self, subset: int) -> npt.NDArray[np.int64]:
        """Which samples a measurement on ``subset`` of them takes; all for 0."""
        count, batch = self.samples, model_batch(self.model.graph)
        if not 0 < subset < count or batch != 1:
            return np.arange(count)
        return np.sort(np.random.default_rng(0).permutation(count)[:subset])

    def accuracy(self, decisions: Mapping[str, Any], subset: int) -> Score:
        """Accuracy on ``subset`` samples, or all for 0."""
        return self._accuracy(decisions, self.chosen(subset))

    def completed(self, decisions: Mapping[str, Any], known: Score) -> Score:
        """Accuracy on all samples, with what is known of the subset: samples that are counted
        alone are not run again."""
        rows = self.chosen(self.subjects.subset)
        if not known.hits or len(rows) != known.samples:
            return self.accuracy(decisions, 0)
        rest = np.setdiff1d(np.arange(self.samples), rows)
        other = self._accuracy(decisions, rest)
        return spliced(known, rows.tolist(), other, rest.tolist())

    def _accuracy(self, decisions: Mapping[str, Any], rows: npt.NDArray[np.int64]) -> Score:
        inputs = {name: array[rows] for name, array in self.data.inputs.items()}
        return self._score(self.outputs(decisions, inputs, len(rows)), rows)

    def float_accuracy(self, subset: int) -> Score:
        """Accuracy of the float model, as :meth:`accuracy`."""
        rows = self.chosen(subset)
        return self._score(chosen_samples(self.float_outputs, self.samples, rows), rows)

    def reported(self, decisions: Mapping[str, Any] | None) -> Score:
        """Accuracy on what only reports, of a candidate or for ``None`` of the float model.

        Raises:
            InputError: Nothing only reports.
        """
        data, names = self.reporting, list(self.exam.judges)
        if data is None:
            raise InputError("nothing of the evaluation data is kept out", hint="--holdout 0.25")
        theirs = float_outputs(self.model.graph, data.inputs, names)
        outputs = theirs
        if decisions is not None:
            outputs = self.outputs(decisions, data.inputs, data.samples)
        labels = None if self.exam.compares else data.labels
        found = self._scored(outputs, theirs, labels, data.samples)
        return self._with_fidelity(found, outputs, theirs)

    def notes(self) -> tuple[str, ...]:
        """What to know of the metric on these data.

        Raises:
            InputError: It tells nothing apart in the float model's outputs.
        """
        if not self.exam.kind.counts:
            return ()
        found = Sameness(self.exam)
        found.add(self.float_outputs, self.samples)
        if self.exam.is_labelled:
            found.check(self.data.labels)
        return found.notes()

    def _score(self, outputs: Mapping[str, npt.NDArray[Any]], rows: npt.NDArray[np.int64]) -> Score:
        exam, count, labels = self.exam, len(rows), None
        if self.data.labels is not None and not exam.compares:
            labels = self.data.labels[rows]
        floats = None
        if exam.compares:
            floats = chosen_samples(self.float_outputs, self.samples, rows)
        found = self._scored(outputs, floats, labels, count)
        if outputs is self.float_outputs:
            return found
        theirs = chosen_samples(self.float_outputs, self.samples, rows)
        return self._with_fidelity(found, outputs, theirs)

    def _with_fidelity(
        self,
        found: Score,
        outputs: Mapping[str, npt.NDArray[Any]],
        theirs: Mapping[str, npt.NDArray[Any]],
    ) -> Score:
        """With agreement and noise against the float model, but for a user's own metric."""
        if self.exam.kind.is_function:
            return found
        labelled = self.data.labels is not None
        judges, count = self.exam.judges, found.samples
        return replace(found, fidelity=sums_of(judges, outputs, theirs, count, labelled=labelled))

    def _scored(
        self,
        outputs: Mapping[str, npt.NDArray[Any]],
        floats: Mapping[str, npt.NDArray[Any]] | None,
        labels: npt.NDArray[Any] | None,
        count: int,
    ) -> Score:
        if self.exam.kind.is_function:
            return Score(self._own_metric(outputs, labels), count)
        return score_of(self.exam.figures(outputs, floats, labels, count), count)
