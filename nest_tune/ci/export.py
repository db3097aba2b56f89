"""A trial of a study as a lock file."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import quantize_model
from compiler_core.configuration.configuration import Configuration, configuration_text
from compiler_core.errors import InternalError
from compiler_core.targets.integer_units import target_arithmetic
from nest_tune.ci.lock import LockSources, constants_sha256, locked, locked_layers
from nest_tune.ci.source_lock import build_lock, lock_text
from nest_tune.study.execution.candidates import Bench
from nest_tune.study.execution.scoring import accuracy_metrics
from nest_tune.study.execution.source_bench import SourceBench
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult, compile_trial
from nest_tune.study.store.selection import ground_of
from nest_tune.study.store.source_package import trial_configuration
from nest_tune.study.trial import OuterTrial


def export_text(result: StudyResult, trial: OuterTrial, folder: Path) -> str:
    """A trial as the text of a lock file.

    Args:
        result: Its study.
        trial: A measured one.
        folder: Where the lock file will lie.

    Raises:
        InputError: What the study stands on has changed, or the trial was not measured.
    """
    ground = ground_of(result)
    if ground.are_sources:
        return source_lock_text(ground, result, trial, folder)
    compiled = compile_trial(ground, result, trial)
    return configuration_text(lock_trial(ground, compiled, trial, folder))


def source_lock_text(ground: Ground, result: StudyResult, trial: OuterTrial, folder: Path) -> str:
    """A trial of generated sources as the text of a lock file, with its accuracy on all evaluation
    data.

    Args:
        ground: What its study stands on.
        result: The study.
        trial: A measured one.
        folder: Where the lock file will lie.

    Raises:
        InputError: The trial was not measured.
        MissingDependencyError: The target's compiler or emulator are not installed.
    """
    settings = ground.settings
    text = trial_configuration(ground, result, trial)
    data = None if settings.evaluation is None else Path(settings.evaluation)
    sources = _sources(settings)
    bench = SourceBench(replace(ground.subjects, holdout=0.0, holdout_file=None))
    examination = None if data is None else (bench.exam, bench.data)
    with tempfile.TemporaryDirectory(prefix="nest-tune-") as scratch:
        configuration = Path(scratch) / "config.toml"
        configuration.write_text(text, encoding="utf-8")
        found = build_lock(configuration, ground.model, sources, folder, examination)
    return lock_text(text, found)


def _sources(settings: StudySettings) -> LockSources:
    """What a lock file of a study is made from."""
    return LockSources(
        Path(settings.model),
        settings.target,
        settings.shapes,
        None if settings.evaluation is None else Path(settings.evaluation),
        settings.metric,
        settings.judged_output or "",
    )


def lock_trial(
    ground: Ground, compiled: CompiledModel, trial: OuterTrial, folder: Path
) -> Configuration:
    """The lock of a trial, with its accuracy on all evaluation data.

    Args:
        ground: What its study stands on.
        compiled: Its final compile.
        trial: If its accuracy is not that of all samples, it is measured on them now: a check
            knows nothing of samples that only report.
        folder: Where the lock file will lie.

    Raises:
        InternalError: The configuration alone does not compile to the same programs.
    """
    settings = ground.settings
    data = None if settings.evaluation is None else Path(settings.evaluation)
    bench = Bench(replace(ground.subjects, holdout=0.0, holdout_file=None))
    samples = 0 if data is None else bench.samples
    if data is not None and not (trial.settled and trial.accuracy_samples == samples):
        own = bench.accuracy(ground.space.decode(trial.point), 0)
        found = accuracy_metrics(settings.metric, own, bench.float_accuracy(0))
        measured = {**compiled.configuration.measured, **found}
        configuration = replace(compiled.configuration, measured=measured)
        compiled = replace(compiled, configuration=configuration)
    calibration = None if settings.calibration is None else Path(settings.calibration)
    sources = replace(_sources(settings), samples=samples, calibration=calibration)
    lock = locked(compiled, sources, folder)
    _require_complete(ground, compiled, lock, sources)
    return lock


def _require_complete(
    ground: Ground, compiled: CompiledModel, found: Configuration, sources: LockSources
) -> None:
    """A lock that does not lead back to the measured programs must not leave the house.

    Raises:
        InternalError: The configuration lacks something.
    """
    again = compile_model(
        quantize_model(
            ground.model,
            found,
            sources.calibration_samples(ground.model, found),
            arithmetic=target_arithmetic(ground.target),
        ),
        ground.target,
    )
    if (
        locked_layers(again) != locked_layers(compiled)
        or constants_sha256(again) != constants_sha256(compiled)
        or (compiled.metrics.by_clock is None and again.metrics != compiled.metrics)
    ):
        raise InternalError(
            "the trial's configuration does not compile to the programs that were measured"
        )
