"""Measures the golden numbers of one case: flat, by readable names."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import nest_tune
from compiler_core.compile.sources import load_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.files.plain import to_plain
from compiler_core.tensor.digest import digest
from compiler_core.units.names import CPU
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.trial import OuterTrial
from tests import synthetic_models
from tests.golden.cases import CLOCKED_TARGET, TRAINED, Case, Compiled, Searched, Tuned
from tests.nest_tune.trials_digest import trials_digest

Numbers = dict[str, int | float | str]
ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits"
CALIBRATION_SAMPLES = 16


def measure(case: Case, folder: Path, trained: Path | None = None) -> Numbers:
    """Golden numbers of a case.

    Args:
        case: What to measure.
        folder: Empty one, for files.
        trained: Folder of trained models; may be missing for other cases.
    """
    with _own_cache(folder):
        match case:
            case Compiled():
                return _compiled(case, folder, trained)
            case Searched():
                return _searched(case, folder)
            case Tuned():
                return _tuned(case, folder)


@contextmanager
def _own_cache(folder: Path) -> Iterator[None]:
    """Nothing is found again of what others computed."""
    before = os.environ.get("NEST_TUNE_CACHE")
    os.environ["NEST_TUNE_CACHE"] = str(folder / "cache")
    try:
        yield
    finally:
        if before is None:
            del os.environ["NEST_TUNE_CACHE"]
        else:
            os.environ["NEST_TUNE_CACHE"] = before


def _files(model: str, folder: Path, trained: Path | None = None) -> tuple[Path, Path]:
    """ONNX file and calibration data of a model."""
    if model == "digits":
        return DIGITS / "model.onnx", DIGITS / "calib.npz"
    if model in TRAINED:
        assert trained is not None
        return trained / model / "model.onnx", trained / model / "calib.npz"
    calibration = folder / "calib.npz"
    np.savez(calibration, **synthetic_models.samples(model, CALIBRATION_SAMPLES))
    return synthetic_models.write(model, folder), calibration


def _compiled(case: Compiled, folder: Path, trained: Path | None) -> Numbers:
    model, calibration = _files(case.model, folder, trained)
    package, config = folder / "package", None
    if case.target == CLOCKED_TARGET:  # number formats that the clock finds differ by the run
        nodes = load_model(model).graph.nodes
        config = Configuration(plan=dict.fromkeys((node.name for node in nodes), CPU))
    made = nest_tune.compile(model, case.target, package, config=config, calibration=calibration)
    found: Numbers = {"segments": " ".join(made.segments), "tasks": len(made.tasks)}
    found |= {f"task {number:02}": task for number, task in enumerate(made.tasks)}
    if case.target == CLOCKED_TARGET:
        configuration = tomllib.loads((package / "config.toml").read_text())
        return {**found, "plan": digest(configuration.get("plan", {}))}
    found |= {f"metric {name}": value for name, value in asdict(made.metrics).items() if value}
    found |= {
        f"layer {number:02} {layer.unit} {layer.name}": (
            f"{layer.cycles} cycles, {layer.instructions} instructions, "
            f"{sum(layer.bytes.values())} bytes, schedule {layer.schedule}"
        )
        for number, layer in enumerate(made.layers)
        if layer.task
    }
    return found | {f"file {name}": value for name, value in _file_digests(package)}


def _file_digests(package: Path) -> Iterator[tuple[str, str]]:
    """Digest of the bytes of every file of a package, and one of each segment's folder."""
    for path in sorted(package.iterdir()):
        if path.name != "segments":
            yield path.name, _sha256(path)
    for path in sorted((package / "segments").iterdir()):
        parts = sorted(path.rglob("*")) if path.is_dir() else [path]
        told = [[str(part.relative_to(path)), _sha256(part)] for part in parts if part.is_file()]
        yield f"segments/{path.name}", digest(told)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _searched(case: Searched, folder: Path) -> Numbers:
    model, calibration = _files(case.model, folder)
    storage = f"sqlite:///{folder / 'study.db'}"
    study = nest_tune.Study.start(
        model=model,
        target=case.target,
        calibration=calibration,
        evaluation=DIGITS / "eval.npz" if case.model == "digits" else calibration,
        spaces=case.spaces,
        sampler=case.sampler,
        trials=case.trials,
        seed=0,
        jobs=2,
        storage=storage,
        name="golden",
    )
    with closing(StudyStorage(storage, create=False)) as opened:
        trials = opened.trials(opened.find("golden"))
    found: Numbers = {f"trial {trial.number:02}": _trial_text(trial) for trial in trials}
    found["all that trials hold"] = trials_digest([_anywhere(trial) for trial in trials])
    chosen = study.export(folder / "best.toml", pick="min:latency_ms")
    found["chosen"] = chosen.number
    lock = tomllib.loads((folder / "best.toml").read_text())
    return found | {f"lock [{name}]": value for name, value in _lock_digests(lock)}


def _anywhere(trial: OuterTrial) -> OuterTrial:
    """A trial without its noise against the float model, whose last bits depend on the instructions
    that the machine's float kernels have."""
    kept = {name: value for name, value in trial.fidelity.items() if name != "sqnr_db"}
    return replace(trial, fidelity=kept)


def _lock_digests(lock: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Digest of each table of a lock file, without paths and versions of what compiled it."""
    for name, table in lock.items():
        kept = table
        if name == "lock":
            left_out = ("model", "calibration", "evaluation_file", "versions", "data")
            kept = {key: value for key, value in table.items() if key not in left_out}
        yield name, digest(to_plain(kept))


def _trial_text(trial: OuterTrial) -> str:
    metrics = " ".join(f"{name}={value!r}" for name, value in sorted(trial.metrics.items()))
    point = ",".join(map(str, trial.point))
    return f"{trial.outcome.value} {metrics} schedules={trial.schedules[:8]} point={point}"


def _tuned(case: Tuned, folder: Path) -> Numbers:
    found = nest_tune.tasks(DIGITS / "model.onnx", case.target, calibration=DIGITS / "calib.npz")
    task = next(entry for entry in found if entry.id.startswith(case.operator))
    result = nest_tune.tune_task(
        task,
        case.target,
        sampler=case.sampler,
        trials=case.trials,
        seed=0,
        storage=f"sqlite:///{folder / 'records.db'}",
    )
    return {
        "task": task.id,
        "best_cycles": result.best_cycles,
        "default_cycles": result.default_cycles,
        "bound_cycles": result.bound_cycles,
        "least_cycles": result.least_cycles,
        "measurements": result.measurements,
        "best schedule": digest(to_plain(result.best)),
        "history": _steps(result.history),
    }


def _steps(history: tuple[int, ...]) -> str:
    """A falling history as its steps: measurement and cycles."""
    steps = [
        f"{number}:{cycles}"
        for number, cycles in enumerate(history)
        if not number or cycles < history[number - 1]
    ]
    return " ".join(steps)
