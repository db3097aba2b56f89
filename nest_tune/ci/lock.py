"""Writing lock files: a configuration with where it came from and what its compile measures."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

from compiler_core.accuracy.metric import is_in_decibels, shown_name
from compiler_core.compile.compile import CompiledModel
from compiler_core.compile.host_timing import timed_parts
from compiler_core.compile.sources import Arrays, FloatModel, read_samples
from compiler_core.configuration.configuration import Configuration
from compiler_core.configuration.lock import Lock, LockedLayer
from compiler_core.executable.report import CONVERSIONS
from compiler_core.files.file_digest import file_digest
from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import lowering_versions
from compiler_core.units.names import CPU
from nest_tune.ci.by_clock import locked_clock, with_enough_repeats

ACCURACY_ENTRIES = ("accuracy", "accuracy_drop")
_VERSIONS = ("nest-tune", "numpy", "onnx", "onnxruntime")


@dataclass(frozen=True)
class LockSources:
    """What a compile was made from.

    Attributes:
        model: ONNX file.
        target: Name, or path of a ``.toml`` file.
        shapes: Of inputs with dynamic axes.
        evaluation: File that accuracy was measured on.
        metric: Of accuracy.
        judged_output: The only output that counts; empty for all.
        samples: Of the evaluation data.
        calibration: File that ranges were taken from.
    """

    model: Path
    target: str
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    evaluation: Path | None = None
    metric: str = ""
    judged_output: str = ""
    samples: int = 0
    calibration: Path | None = None

    def calibration_samples(self, model: FloatModel, configuration: Configuration) -> Arrays | None:
        """What was calibrated with, where a configuration takes it again, else ``None``.

        Raises:
            InputError: It cannot be read or does not fit the model.
        """
        if self.calibration is None or not configuration.scheme.quantization().needs_statistics:
            return None
        return read_samples(self.calibration, model.graph)


def locked(compiled: CompiledModel, sources: LockSources, folder: Path) -> Configuration:
    """The configuration of a compile as a lock file says it.

    Args:
        compiled: Its ``measured`` numbers may hold ``accuracy`` and ``accuracy_drop``; the lock
            calls them by its metric.
        sources: What it was made from.
        folder: Where the lock file will lie.

    Raises:
        InputError: Data cannot be read.
    """
    compiled, target = with_enough_repeats(compiled), sources.target
    if target.endswith(".toml"):
        target = relative_to(Path(target), folder)
    has_accuracy = sources.evaluation is not None
    lock = Lock(
        relative_to(sources.model, folder),
        target,
        sources.metric if has_accuracy else "",
        "" if sources.evaluation is None else file_digest(sources.evaluation),
        sources.samples if has_accuracy else 0,
        constants_sha256(compiled),
        dict(sorted(sources.shapes.items())),
        versions(compiled.executable.target),
        locked_layers(compiled),
        "" if sources.calibration is None else relative_to(sources.calibration, folder),
        "" if sources.calibration is None else file_digest(sources.calibration),
        "" if sources.evaluation is None else relative_to(sources.evaluation, folder),
        sources.judged_output if has_accuracy else "",
        locked_clock(compiled),
    )
    kept = accuracy_of(compiled.configuration.measured, sources.metric)
    return replace(compiled.configuration, measured={**compiled.metrics.costs, **kept}, lock=lock)


def accuracy_of(measured: Mapping[str, float], metric: str) -> dict[str, float]:
    """The entries of ``measured`` about accuracy, under the names that a metric gives them: only
    comparison with labels is accuracy. A loss in dB is none of a compile alone and left out."""
    found = {}
    for entry in ACCURACY_ENTRIES:
        shown = shown_name(entry, metric)
        if entry == "accuracy_drop" and is_in_decibels(metric):
            continue
        for name in (entry, shown):
            if name in measured:
                found[shown] = measured[name]
    return found


def locked_layers(compiled: CompiledModel) -> dict[str, LockedLayer]:
    """Every step of a compile by a unique name; none by the clock, where kernels are the runtime's
    and have no time that stays."""
    if compiled.metrics.by_clock is not None:
        return {}
    launches = {part.name: iter(part.launches) for part in compiled.executable.npu_segments}
    found: dict[str, LockedLayer] = {}
    for layer in compiled.report.layers:
        program = ""
        if layer.unit != CPU:
            program = hashlib.sha256(next(launches[layer.segment]).own_code).hexdigest()
        name = layer.name
        if layer.operator in CONVERSIONS:
            name = f"{layer.operator} {layer.name}"
        if name in found:
            name = f"{name} in {layer.segment}"
        found[name] = LockedLayer(
            layer.unit,
            layer.operator,
            layer.cycles,
            layer.latency_ms,
            layer.energy_mj,
            layer.instructions,
            sum(layer.bytes.values()),
            layer.task,
            layer.schedule,
            program,
        )
    return found


def constants_sha256(compiled: CompiledModel) -> str:
    """Digest of the memory images: weights, biases, micro-ops; by the clock of the models."""
    found = hashlib.sha256()
    if compiled.metrics.by_clock is not None:
        for model in timed_parts(compiled.executable):
            found.update(model.model)
    for part in compiled.executable.npu_segments:
        found.update(part.constants)
    return found.hexdigest()


def versions(target: Target) -> dict[str, str]:
    """Of what compiles for a target."""
    found = {"lowering": lowering_versions(target), "python": platform.python_version()}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def relative_to(path: Path, folder: Path) -> str:
    """A path as a lock file in a folder writes it."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
