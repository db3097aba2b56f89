"""Locks of generated sources: a configuration of sources with what its build measures.

The file is the configuration, with the tables ``lock`` and ``measured`` behind it: a compile reads
the one and leaves the others aside.
"""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from compiler_core.accuracy.exam import Exam
from compiler_core.accuracy.float_model import stacked
from compiler_core.accuracy.metric import shown_name
from compiler_core.accuracy.samples import EvaluationData
from compiler_core.compile.sources import FloatModel
from compiler_core.configuration.lock import Lock, LockedLayer, read_lock
from compiler_core.errors import InputError
from compiler_core.files.file_digest import file_digest
from compiler_core.files.plain import from_plain, to_plain
from compiler_core.files.toml_file import read_toml, toml_text
from compiler_core.targets.source_kinds import candidates_for
from compiler_core.units.facets.bundles import BundleReport, BundleRequest
from compiler_core.units.names import CPU
from nest_tune.bundling import configures_bundle, self_test_samples
from nest_tune.ci.lock import LockSources, relative_to
from nest_tune.named import Named, named_by
from nest_tune.study.execution.scoring import accuracy_metrics, measure_outputs

SOURCES = "sources"
"""What a difference of the generated files is called."""

_FILES = ("model.h", "model.c", "weights.h", "weights.c")
_OWN = ("lock", "measured")
_LAYERS = "layers"


@dataclass(frozen=True)
class SourceLock:
    """What a lock file of generated sources says beside its configuration.

    Attributes:
        lock: Where it came from; its layers are operators, its constants the sources.
        measured: By metric.
    """

    lock: Lock
    measured: Mapping[str, float]


def is_source_lock(path: Path) -> bool:
    """Whether a file is the configuration of generated sources, with a lock or without."""
    return configures_bundle(path) is not None


def read_source_lock(path: Path) -> SourceLock:
    """What a lock file says.

    Raises:
        InputError: It has no lock, or a value is wrong.
    """
    plain = read_toml(path)
    if "lock" not in plain:
        raise InputError(
            f"{path}: a configuration without [lock]: there is nothing to compare with",
            hint="nest-tune study export NAME -o best.toml writes one",
        )
    found = plain.get("measured", {})
    measured = from_plain(dict[str, float], found, f"{path}: measured")
    return SourceLock(read_lock(plain["lock"], f"{path}: lock"), measured)


def named_by_sources(path: Path) -> Named | None:
    """What a configuration of generated sources names; ``None`` where it has no lock.

    Raises:
        InputError: A value of it is wrong.
    """
    if "lock" not in read_toml(path):
        return None
    return named_by(path, read_source_lock(path).lock)


def lock_text(configuration: str | Path, found: SourceLock) -> str:
    """The text of a lock file.

    Args:
        configuration: Text, or a file that may have a lock already.
        found: What is locked.
    """
    import tomllib

    if isinstance(configuration, Path):
        configuration = configuration.read_text(encoding="utf-8")
    plain = tomllib.loads(configuration)
    kept = {name: value for name, value in plain.items() if name not in _OWN}
    lock = {n: v for n, v in to_plain(found.lock).items() if v not in ("", {}, [], None)}
    lock |= {_LAYERS: {n: _known(layer) for n, layer in lock.get(_LAYERS, {}).items()}}
    return toml_text({**kept, "measured": dict(found.measured), "lock": lock})


def _known(layer: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a layer: nothing times it, or moves data; few targets count it."""
    return {name: value for name, value in layer.items() if value}


def build_lock(
    configuration: Path,
    model: FloatModel,
    sources: LockSources,
    folder: Path,
    examination: tuple[Exam, EvaluationData] | None,
) -> SourceLock:
    """Builds the sources of a configuration and takes down what they are.

    Args:
        configuration: File.
        model: That it is for.
        sources: What it was made from.
        folder: Where the lock file will lie.
        examination: How accuracy is measured, on what; ``None`` to leave it out.

    Raises:
        InputError: The configuration is not for this model.
        InfeasibleError: It does not fit the target.
        MissingDependencyError: The target's compiler or emulator are not installed.
    """
    bundles = configures_bundle(configuration)
    if bundles is None:
        raise InputError(f"{configuration}: it is not the configuration of generated sources")
    measured: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="nest-tune-") as scratch:
        place = Path(scratch) / "package"
        samples = self_test_samples(model.graph, None, 1)
        request = BundleRequest(
            model.graph,
            {},
            samples,
            "",
            place,
            model.name,
            source=model.digest,
            configuration=configuration,
        )
        report = bundles.write(request)
        if bundles.counts(report.core):
            report = bundles.count(report, place)
        digest = hashlib.sha256(b"".join((place / name).read_bytes() for name in _FILES))
        if examination is not None:
            exam, data = examination
            opened = bundles.open(place)
            rows = opened.reference(data.inputs)
            names = list(exam.judges)
            real = {name: opened.real(name, rows[name]) for name in names}
            ours = stacked(model.graph, real, names, data.samples)
            own, floats = measure_outputs(exam, data, model.graph, ours)
            entries = accuracy_metrics(exam.metric, own, floats)
            measured = {shown_name(name, exam.metric): value for name, value in entries.items()}
            sources = replace(sources, metric=exam.metric, samples=data.samples)
    lock = _lock(report, digest.hexdigest(), sources, folder)
    return SourceLock(lock, {**_costs(report), **measured})


def _costs(report: BundleReport) -> dict[str, float]:
    found: dict[str, float] = {
        "constant_bytes": report.constant_bytes,
        "ram_peak_bytes": report.ram_peak_bytes,
    }
    if report.flash_bytes is not None:
        found["flash_bytes"] = report.flash_bytes
    counted = [item.instructions for item in report.operators if item.instructions is not None]
    if counted:
        found["instructions"] = sum(counted)
    return dict(sorted(found.items()))


def _lock(report: BundleReport, digest: str, sources: LockSources, folder: Path) -> Lock:
    layers: dict[str, LockedLayer] = {}
    for item in report.operators:
        name, number = item.name, 2
        while name in layers:
            name, number = f"{item.name} {number}", number + 1
        count = round(item.instructions or 0)
        layers[name] = LockedLayer(CPU, item.operator, instructions=count)
    has_accuracy = sources.evaluation is not None
    target = sources.target
    return Lock(
        relative_to(sources.model, folder),
        relative_to(Path(target), folder) if target.endswith(".toml") else target,
        sources.metric if has_accuracy else "",
        "" if sources.evaluation is None else file_digest(sources.evaluation),
        sources.samples if has_accuracy else 0,
        digest,
        dict(sorted(sources.shapes.items())),
        _versions(target),
        layers,
        "",
        "",
        "" if sources.evaluation is None else relative_to(sources.evaluation, folder),
        sources.judged_output if has_accuracy else "",
    )


def _versions(target: str) -> dict[str, str]:
    found: dict[str, Any] = {
        "nest-tune": metadata.version("nest-tune"),
        "python": platform.python_version(),
        "sources": candidates_for(target).identity(target),
    }
    return found
