"""The final package of a trial, whatever its target takes."""

from __future__ import annotations

from pathlib import Path

from compiler_core.compile.compile import CompiledModel
from compiler_core.package.writer import write_package
from compiler_core.precision.report import FORMATS_FILE, FormatsReport, formats_text
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult, compile_trial, formats_of_trial
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
        write_programs(ground, result, trial, folder)


def write_programs(
    ground: Ground, result: StudyResult, trial: OuterTrial, folder: Path
) -> tuple[CompiledModel, FormatsReport | None]:
    """The same for a trial of programs; returns it, and its number formats where it has a choice.

    Raises:
        InputError: The trial was not measured, or the folder cannot be written.
    """
    compiled = compile_trial(ground, result, trial)
    formats = formats_of_trial(ground, compiled, trial)
    texts = {} if formats is None else {FORMATS_FILE: formats_text(formats)}
    write_package(compiled, folder, texts)
    return compiled, formats
