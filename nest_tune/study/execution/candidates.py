"""What all candidates of a study have in common, loaded once, and what is made of one candidate.

A candidate is what a point of the joint space means, as plain values by part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.exam import Exam, Sameness, make_exam
from compiler_core.accuracy.fidelity import sums_of
from compiler_core.accuracy.float_model import float_outputs, stacked
from compiler_core.accuracy.holdout import Parts, split
from compiler_core.accuracy.own_metric import load_own_metric
from compiler_core.accuracy.samples import EvaluationData, read_evaluation, read_samples
from compiler_core.accuracy.score import Score, score_of, spliced
from compiler_core.accuracy.tally import chosen_samples
from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import FloatModel, QuantizedModel, load_model
from compiler_core.configuration.configuration import Configuration, Scheme, Subject, read_schedule
from compiler_core.configuration.launches import Launches
from compiler_core.errors import InputError
from compiler_core.graph.sampling import model_batch
from compiler_core.package.writer import write_package
from compiler_core.quantize.apply import apply_profile, apply_scheme
from compiler_core.quantize.assemble import CPU, assemble, without_room
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.scheme import QuantizationScheme, read_scheme
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from compiler_core.tensor.digest import digest
from nest_tune.board_measurers import load_measurer
from nest_tune.stores.profile_store import stored_profile
from nest_tune.stores.reconstruction_store import stored_reconstruction
from nest_tune.user_modules import allow_folder, working_folder

_KEPT = 4
"""Quantized candidates that a worker remembers."""


@dataclass(frozen=True)
class Subjects:
    """What a study is about.

    Attributes:
        model, calibration, evaluation: Files; no calibration where nothing needs ranges.
        shapes: Of inputs with dynamic axes.
        target: Name or file.
        metric: Of accuracy.
        judged_output: The only output that counts; ``None`` for all.
        measurer: Of latency and energy, by name; empty for the simulator.
        subset: Samples of the first accuracy measurement; 0 for all at once.
        merges: Whether layers that follow one another are one program.
        holdout: Share of the evaluation data that only reports.
        holdout_file: Data of their own that only report; ``None`` for none.
        module: A file in whose folder modules of the user's metric or measurer lie; ``None`` where
            they are installed.
    """

    model: str
    target: str
    calibration: str | None = None
    evaluation: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    metric: str = "top1"
    judged_output: str | None = None
    measurer: str = ""
    subset: int = 128
    merges: bool = False
    holdout: float = 0.0
    holdout_file: str | None = None
    module: str | None = None


@dataclass(frozen=True)
class Costs:
    """What a candidate costs, by metric, with 95 % intervals of what was measured by the clock."""

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]


class Bench:
    """A worker's state: everything that candidates have in common.

    Raises:
        InputError: A file is wrong.
    """

    def __init__(self, subjects: Subjects) -> None:
        self.subjects = subjects
        self.target: Target = load_target(subjects.target)
        self.model: FloatModel = load_model(Path(subjects.model), subjects.shapes)
        self._quantized: dict[str, QuantizedModel] = {}

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
    def _parts(self) -> Parts:
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

    def quantized(self, decisions: Mapping[str, Any]) -> QuantizedModel:
        """A candidate's quantized graph.

        Raises:
            InputError: It does not fit the model.
        """
        key = digest(dict(decisions))
        if key not in self._quantized:
            while len(self._quantized) >= _KEPT:
                self._quantized.pop(next(iter(self._quantized)))
            self._quantized[key] = self._quantize(decisions)
        return self._quantized[key]

    def _quantize(self, decisions: Mapping[str, Any]) -> QuantizedModel:
        graph = self.model.graph
        known = target_arithmetic(self.target)
        assignment = {
            **default_assignment(graph, cores=self.target.npu_cores, arithmetic=known),
            **decisions.get("partition", {}),
        }
        if self.target.npu_cores:
            # Beside other neighbours a layout may differ, and with it what has room.
            assignment |= dict.fromkeys(without_room(graph, known, assignment), CPU)
        scheme = read_scheme(decisions.get("quantization", {}), "quantization")
        if assemble(graph, assignment, known).calibrated or scheme != QuantizationScheme():
            kept = stored_reconstruction(self._profile, scheme)
            applied = apply_profile(graph, assignment, self._profile, scheme, kept, known)
        else:
            applied = apply_scheme(graph, assignment, {}, scheme, arithmetic=known)
        found = {n: tensor.exponent for n, tensor in sorted(applied.quantized.tensors.items())}
        configuration = Configuration(
            Scheme.of(found, scheme),
            dict(sorted(applied.placed(assignment).items())),
            model=Subject(self.model.name, self.model.digest),
            target=Subject(self.target.name, self.target.digest),
        )
        return QuantizedModel(self.model, applied.quantized, configuration, applied.reasons)

    def compiled(self, decisions: Mapping[str, Any], schedules: Mapping[str, Any]) -> CompiledModel:
        """A candidate's programs, verified and timed.

        Args:
            decisions: The candidate.
            schedules: Plain schedule per task id; others get the untuned default.

        Raises:
            InfeasibleError: A schedule does not fit.
            InternalError: A program breaks a rule of the machine.
        """
        source = self.quantized(decisions)
        given = {
            name: read_schedule(name, value, name) for name, value in sorted(schedules.items())
        }
        launches = Launches(merge=self.subjects.merges)
        configuration = replace(source.configuration, schedules=given, launches=launches)
        return compile_model(replace(source, configuration=configuration), self.target)

    def metrics(self, compiled: CompiledModel) -> dict[str, float]:
        """What a candidate costs, as of :meth:`costs`."""
        return dict(self.costs(compiled).metrics)

    def costs(self, compiled: CompiledModel) -> Costs:
        """What a candidate costs: by the simulator or the clock, but for what a measurer measured.

        Raises:
            InputError: The measurer is unknown, or what it returned is no measurement.
        """
        found, intervals = compiled.metrics.costs, compiled.metrics.intervals
        if self.subjects.measurer:
            with TemporaryDirectory(prefix="nest-tune-") as folder:
                package = Path(folder) / "package"
                write_package(compiled, package, {})
                measured = load_measurer(self.subjects.measurer).measure(package)
            intervals = {n: ends for n, ends in intervals.items() if n not in measured}
            found |= measured
        return Costs(found, intervals)

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
        outputs = ReferenceExecutor(self.quantized(decisions).quantized).run(inputs)
        names = list(self.exam.judges)
        return self._score(stacked(self.model.graph, outputs, names, len(rows)), rows)

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
            ours = ReferenceExecutor(self.quantized(decisions).quantized).run(data.inputs)
            outputs = stacked(self.model.graph, ours, names, data.samples)
        labels = None if self.exam.compares else data.labels
        return self._scored(outputs, theirs, labels, data.samples)

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
        if exam.kind.is_function or outputs is self.float_outputs:
            return found
        theirs = chosen_samples(self.float_outputs, self.samples, rows)
        labelled = self.data.labels is not None
        sums = sums_of(exam.judges, outputs, theirs, count, labelled=labelled)
        return replace(found, fidelity=sums)

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
