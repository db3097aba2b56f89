"""The package of a trial of generated sources."""

from __future__ import annotations

import tempfile
from pathlib import Path

from compiler_core.compile.sources import read_samples
from compiler_core.errors import InputError
from compiler_core.package.fresh import FreshFolder
from compiler_core.units.facets.bundles import BundleReport, BundleRequest
from nest_tune.bundling import bundles_for, self_test_samples
from nest_tune.study.execution.source_bench import KERNEL, SourceBench
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult, require_measured
from nest_tune.study.trial import OuterTrial
from nest_tune.study_command import study_command

_SAMPLES = 2
"""Of the self test."""


def trial_configuration(ground: Ground, result: StudyResult, trial: OuterTrial) -> str:
    """The text of a configuration from which the sources of a trial follow.

    Raises:
        InputError: The trial was not measured, or is none of sources.
    """
    require_measured(result, trial)
    if not ground.are_sources:
        raise InputError(
            f"target {ground.target.name!r} takes programs: there are no sources",
            hint=study_command("best", result.study.name, "-o", "FOLDER") + " compiles a trial",
        )
    candidate = SourceBench(ground.subjects).candidate(ground.space.decode(trial.point))
    kernels = {}
    if trial.tuned:
        names = [task.name for task in candidate.tasks if task.name in result.tasks]
        kernels = {name: result.tasks[name].schedule[KERNEL] for name in names}
    return candidate.configuration(kernels)


def write_sources(
    ground: Ground, result: StudyResult, trial: OuterTrial, folder: Path
) -> BundleReport:
    """Writes the package of a trial; an older one there is replaced.

    Raises:
        InputError: The trial was not measured, or the folder cannot be written.
        InfeasibleError: It does not fit the target's memories.
    """
    text = trial_configuration(ground, result, trial)
    model, data = ground.model, None
    if ground.settings.calibration is not None:
        data = read_samples(Path(ground.settings.calibration), model.graph)
    target = ground.settings.target
    with tempfile.TemporaryDirectory(prefix="nest-tune-") as scratch:
        configuration = Path(scratch) / "config.toml"
        configuration.write_text(text, encoding="utf-8")
        with FreshFolder(folder) as fresh:
            report = bundles_for(target).write(
                BundleRequest(
                    model.graph,
                    {},
                    self_test_samples(model.graph, data, _SAMPLES),
                    target,
                    fresh.path,
                    model.name,
                    source=model.digest,
                    configuration=configuration,
                )
            )
            fresh.keep()
    return report
