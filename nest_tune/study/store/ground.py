"""What a study stands on, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compiler_core.clock.choices import RuntimeChoices
from compiler_core.compile.sources import FloatModel
from compiler_core.configuration.launches import MERGED
from compiler_core.errors import InputError
from compiler_core.files.file_digest import file_digest
from compiler_core.precision.table import FormatCosts
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.targets.source_kinds import candidates_for
from compiler_core.targets.target import Target
from compiler_core.targets.task_target import TaskTarget, load_task_target
from compiler_core.tensor.digest import digest
from compiler_core.units.facets.bundles import BundleTarget
from nest_tune.stores.compiler_source import source_digest
from nest_tune.study.execution.subjects import Subjects
from nest_tune.study.proposals.outer_space import FIRST_SCHEME
from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.request.goals import TrialMetric
from nest_tune.study.request.settings import StudySettings
from nest_tune.study_command import study_command
from nest_tune.user_modules import module_files
from search_spaces.joint import JointSpace

SUBSET = 128
"""Samples of the first accuracy measurement."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What a study stands on.

    Attributes:
        settings: As asked for; the metric is settled.
        model: Loaded.
        on: What candidates are for: a target of programs, or one that sources are written for.
        space: Joint.
        digests: Of everything that trials depend on, by name; ``sources``, of generated ones, is
            what measurements of their operators depend on.
        default: Quantization of the untuned default.
        warnings: Of the metric and of the calibration data, when the study is started.
        formats: What number formats of operators cost, where the target is timed by the clock.
        runtime: What its runtime leaves to choose there.
    """

    settings: StudySettings
    model: FloatModel
    on: Target | BundleTarget
    space: JointSpace
    digests: Mapping[str, str]
    default: QuantizationScheme = FIRST_SCHEME
    warnings: tuple[str, ...] = ()
    formats: FormatCosts | None = None
    runtime: RuntimeChoices | None = None

    @property
    def are_sources(self) -> bool:
        """Whether candidates are generated sources."""
        return not isinstance(self.on, Target)

    @property
    def target(self) -> Target:
        """The target of programs.

        Raises:
            InputError: Sources are generated for it.
        """
        if isinstance(self.on, Target):
            return self.on
        raise InputError(
            f"target {self.on.name!r} takes generated sources: there are no programs",
            hint=study_command("best", self.settings.name, "-o", "FOLDER") + " writes the sources",
        )

    @property
    def task_target(self) -> TaskTarget | None:
        """What has tasks that are searched; ``None`` where operators are measured one by one."""
        if isinstance(self.on, Target):
            return self.on
        names = candidates_for(self.settings.target).metrics(self.settings.target)
        if TrialMetric.INSTRUCTIONS.value not in names:
            return None
        return load_task_target(self.settings.target)

    @property
    def context(self) -> str:
        """Digest of what results of workers depend on beside their arguments."""
        data = ("calibration", "evaluation", "holdout", "metric")
        names = ("model", "target", "machine", *data, "measurer", "modules", "launches", "sources")
        known = [(name, self.digests[name]) for name in names if name in self.digests]
        return digest([*known, source_digest()], 32)

    @property
    def subjects(self) -> Subjects:
        """What workers load."""
        s = self.settings
        paths = [
            None if p is None else str(Path(p).resolve())
            for p in (s.calibration, s.evaluation, s.holdout_file)
        ]
        target = str(Path(s.target).resolve()) if s.target.endswith(".toml") else s.target
        model = str(Path(s.model).resolve())
        modules = module_files((s.metric, s.measurer))
        on_boards = isinstance(self.on, Target) and bool(self.on.board)
        return Subjects(
            model,
            target,
            calibration=paths[0],
            evaluation=paths[1],
            shapes=s.shapes,
            metric=s.metric,
            judged_output=s.judged_output,
            measurer=s.measurer,
            subset=SUBSET,
            merges=s.launches == MERGED,
            holdout=s.holdout or 0.0,
            holdout_file=paths[2],
            module=modules[0] if modules else None,
            machine="" if on_boards else self.digests.get("machine", ""),
        )

    @property
    def problem(self) -> SearchProblem:
        """What is searched for."""
        s = self.settings
        return SearchProblem(
            self.space,
            s.objectives,
            s.limits,
            s.sampler,
            s.seed,
            s.tiling and not (isinstance(self.on, Target) and self.on.by_clock),
            s.risk,
            s.arguments,
        )


def measured_as(settings: StudySettings) -> str:
    """What says, beside the data, what an accuracy is."""
    kept = f"holdout {settings.holdout:g}" if settings.holdout else ""
    out = settings.judged_output
    return "/".join([settings.metric, str(SUBSET), *filter(None, [out, kept])])


def digest_of_file(path: str | None) -> str:
    """Of a file's content; empty for none."""
    return "" if path is None else file_digest(Path(path))
