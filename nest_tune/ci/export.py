"""A trial of a study as a lock file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import quantize_model
from compiler_core.configuration.configuration import Configuration, configuration_text
from compiler_core.errors import InternalError
from compiler_core.targets.integer_units import target_arithmetic
from nest_tune.ci.lock import Sources, constants_sha256, locked, locked_layers
from nest_tune.study.execution.candidates import Bench
from nest_tune.study.execution.scoring import accuracy_metrics
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult, compile_trial
from nest_tune.study.store.selection import ground_of
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
    compiled = compile_trial(ground, result, trial)
    return configuration_text(lock_trial(ground, compiled, trial, folder))


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
    sources = Sources(
        Path(settings.model),
        settings.target,
        settings.shapes,
        data,
        settings.metric,
        settings.judged_output or "",
        samples,
        calibration,
    )
    lock = locked(compiled, sources, folder)
    _require_complete(ground, compiled, lock, sources)
    return lock


def _require_complete(
    ground: Ground, compiled: CompiledModel, found: Configuration, sources: Sources
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
