"""What all candidates of a study have in common, loaded once, and what is made of one candidate.

A candidate is what a point of the joint space means, as plain values by part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import (
    LABELS,
    FloatModel,
    QuantizedModel,
    load_model,
    read_samples,
)
from compiler_core.configuration.configuration import Configuration, Scheme, Subject, read_schedule
from compiler_core.errors import InputError
from compiler_core.files.npz import read_npz
from compiler_core.package.writer import write_package
from compiler_core.quantize.apply import apply_profile, apply_scheme
from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.calibration import model_batch
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.scheme import QuantizationScheme, read_scheme
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from compiler_core.tensor.digest import digest
from nest_tune.board_measurers import load_measurer
from nest_tune.stores.profile_store import stored_profile
from nest_tune.stores.reconstruction_store import stored_reconstruction
from nest_tune.study.execution.scoring import (
    Score,
    counted,
    float_outputs,
    score,
    unpacked_hits,
)
from nest_tune.study.request.goals import COMPARING

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
        measurer: Of latency and energy, by name; empty for the simulator.
        subset: Samples of the first accuracy measurement; 0 for all at once.
        module: A file in whose folder modules of the user's metric or measurer lie; ``None`` where
            they are installed.
    """

    model: str
    target: str
    calibration: str | None = None
    evaluation: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    metric: str = "top1"
    measurer: str = ""
    subset: int = 128
    module: str | None = None


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
    def _inputs(self) -> dict[str, npt.NDArray[Any]]:
        assert self.subjects.evaluation is not None
        return read_samples(Path(self.subjects.evaluation), self.model.graph)

    @cached_property
    def _labels(self) -> npt.NDArray[Any] | None:
        assert self.subjects.evaluation is not None
        return read_npz(Path(self.subjects.evaluation), names=[LABELS]).get(LABELS)

    @cached_property
    def _float_outputs(self) -> dict[str, npt.NDArray[Any]]:
        return float_outputs(self.model.graph, self._inputs)

    @property
    def samples(self) -> int:
        """Number of evaluation samples."""
        return len(next(iter(self._inputs.values())))

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
        assignment = {
            **default_assignment(graph, cores=self.target.npu_cores),
            **decisions.get("partition", {}),
        }
        scheme = read_scheme(decisions.get("quantization", {}), "quantization")
        if assemble(graph, assignment).calibrated or scheme != QuantizationScheme():
            kept = stored_reconstruction(self._profile, scheme)
            applied = apply_profile(graph, assignment, self._profile, scheme, kept)
        else:
            applied = apply_scheme(graph, assignment, {}, scheme)
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
        given = {name: read_schedule(value, name) for name, value in sorted(schedules.items())}
        configuration = replace(source.configuration, schedules=given)
        return compile_model(replace(source, configuration=configuration), self.target)

    def metrics(self, compiled: CompiledModel) -> dict[str, float]:
        """What a candidate costs: by the simulator, but for what a measurer measured.

        Raises:
            InputError: The measurer is unknown, or what it returned is no measurement.
        """
        found = compiled.metrics.costs
        if self.subjects.measurer:
            with TemporaryDirectory(prefix="nest-tune-") as folder:
                package = Path(folder) / "package"
                write_package(compiled, package, {})
                found |= load_measurer(self.subjects.measurer).measure(package)
        return found

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
        hits = np.zeros(self.samples, bool)
        hits[rows], hits[rest] = unpacked_hits(known), unpacked_hits(other)
        return counted(hits)

    def _accuracy(self, decisions: Mapping[str, Any], rows: npt.NDArray[np.int64]) -> Score:
        inputs = {name: array[rows] for name, array in self._inputs.items()}
        outputs = ReferenceExecutor(self.quantized(decisions).quantized).run(inputs)
        return self._score(outputs, rows)

    def float_accuracy(self, subset: int) -> Score:
        """Accuracy of the float model, as :meth:`accuracy`."""
        rows = self.chosen(subset)
        outputs = {name: array[rows] for name, array in self._float_outputs.items()}
        return self._score(outputs, rows)

    def _score(self, outputs: Mapping[str, npt.NDArray[Any]], rows: npt.NDArray[np.int64]) -> Score:
        graph, metric = self.model.graph, self.subjects.metric
        kept = {name: a for name, a in outputs.items() if name not in graph.constants}
        floats = None
        if metric in COMPARING:
            floats = {name: array[rows] for name, array in self._float_outputs.items()}
        labels = self._labels
        return score(metric, kept, None if labels is None else labels[rows], floats)
