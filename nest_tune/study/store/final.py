"""The final package of a trial, whatever its target takes."""

from __future__ import annotations

from pathlib import Path

from compiler_core.package.writer import write_package
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult, compile_trial
from nest_tune.study.store.source_package import write_sources
from nest_tune.study.trial import OuterTrial


def write_trial(ground: Ground, result: StudyResult, trial: OuterTrial, folder: Path) -> None:
    """Compiles a trial and writes its package; an older one there is replaced.

    Raises:
        InputError: The trial was not measured, or the folder cannot be written.
        InfeasibleError: It does not fit the target.
    """
    if ground.are_sources:
        write_sources(ground, result, trial, folder)
    else:
        write_package(compile_trial(ground, result, trial), folder, {})
