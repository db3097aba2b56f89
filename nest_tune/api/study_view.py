"""Studies looked at: trials, the front, and what is made of one trial."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler_core.configuration.configuration import Configuration
from compiler_core.files.whole_file import require_writable, write_atomically
from nest_tune.api.bundle_ladder import BundleCompilation
from nest_tune.api.compiling import Compilation, compilation
from nest_tune.api.values import PathName, Progress
from nest_tune.bundling import require_replaceable
from nest_tune.records.storage_url import StorageUrl
from nest_tune.report.explain import Explanation
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.result import (
    StudyResult,
    compile_trial,
    load_result,
)
from nest_tune.study.store.selection import decisions_of, ground_of, selected
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.trial import OuterTrial

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go


@dataclass(frozen=True)
class StudyView:
    """What a study in a storage holds; it is read when it is asked for.

    Attributes:
        name: Of the study.
        storage: URL of its database; as text it has no password and other secrets.
    """

    name: str
    storage: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "storage", StorageUrl(self.storage))

    @property
    def result(self) -> StudyResult:
        """Everything that the study holds now: settings, trials, tuned tasks, front.

        Raises:
            InputError: There is no such database or study.
        """
        with closing(StudyStorage(self.storage, create=False)) as opened:
            return load_result(opened, opened.find(self.name))

    @property
    def optuna(self) -> optuna.Study:
        """The study as Optuna's own object, in its storage: for its importances, visualization and
        whatever else Optuna offers. Trials that are added through it never steer the study.

        Raises:
            InputError: There is no such study, or Optuna cannot read it.
        """
        from nest_tune.study.store.optuna_study import optuna_study

        with closing(StudyStorage(self.storage, create=False)) as opened:
            return optuna_study(opened, self.name)

    def to_dataframe(self) -> Any:
        """All finished trials as a table of pandas (extra ``notebook``): outcome, metrics, and
        decisions as ``params_NAME``, by number.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        from nest_tune.study.views.notebook import trials_frame

        return trials_frame(self.result)

    def plot_front(self) -> go.Figure:
        """The front of two or three objectives, by plotly (extra ``notebook``).

        Raises:
            InputError: It has another number of objectives.
            MissingDependencyError: plotly is not installed.
        """
        from nest_tune.study.views.notebook import front_plot

        return front_plot(self.storage, self.name)

    def plot_history(self, objective: int = 0) -> go.Figure:
        """An objective over the trials, with the best so far.

        Args:
            objective: Which of them, from 0.

        Raises:
            InputError: There is no such objective.
            MissingDependencyError: plotly is not installed.
        """
        from nest_tune.study.views.notebook import history_plot

        return history_plot(self.storage, self.name, objective)

    def plot_parallel(self, objective: int = 0) -> go.Figure:
        """Every trial as a line through its decisions, coloured by an objective.

        Args:
            objective: Which of them, from 0.

        Raises:
            InputError: There is no such objective.
            MissingDependencyError: plotly is not installed.
        """
        from nest_tune.study.views.notebook import parallel_plot

        return parallel_plot(self.storage, self.name, objective)

    def plot_timeline(self) -> go.Figure:
        """When each trial ran.

        Raises:
            MissingDependencyError: plotly is not installed.
        """
        from nest_tune.study.views.notebook import timeline_plot

        return timeline_plot(self.storage, self.name)

    def _repr_html_(self) -> str:
        from nest_tune.study.views.notebook import study_html

        return study_html(self.result)

    @property
    def trials(self) -> tuple[OuterTrial, ...]:
        """All finished trials, by number."""
        return self.result.trials

    @property
    def front(self) -> tuple[OuterTrial, ...]:
        """Feasible trials that none dominates, by the first objective."""
        return self.result.front

    @property
    def default(self) -> OuterTrial:
        """Trial 0: the untuned default.

        Raises:
            InputError: No trial has run yet.
        """
        return selected(self.result, 0)

    def best(self, pick: str | None = None) -> OuterTrial:
        """One trial of the front.

        Args:
            pick: ``fastest`` (the best in the first objective), ``knee``, ``min:METRIC``,
                ``max:METRIC`` or ``lex:METRIC,METRIC``; without, ``fastest`` where accuracy has a
                limit, else ``knee``.

        Raises:
            InputError: The rule cannot be used.
            InfeasibleError: No trial is feasible.
        """
        return selected(self.result, None, pick)

    def decisions(self, trial: int | None = None, *, pick: str | None = None) -> Mapping[str, Any]:
        """What a trial sets otherwise than the default: value by parameter.

        Args:
            trial: By number; the pick of the front without.
            pick: As for :meth:`best`.

        Raises:
            InputError: There is no such trial.
            InfeasibleError: No trial is feasible.
        """
        result = self.result
        return decisions_of(result, selected(result, trial, pick))

    def configuration(self, trial: int | None = None, *, pick: str | None = None) -> Configuration:
        """The configuration of a trial: what :func:`nest_tune.compile` takes.

        Args:
            trial: By number; the pick of the front without.
            pick: As for :meth:`best`.

        Raises:
            InputError: There is no such measured trial, or a file has changed since.
            InfeasibleError: No trial is feasible.
        """
        result = self.result
        chosen = selected(result, trial, pick)
        return compile_trial(ground_of(result), result, chosen).configuration

    def explain(
        self,
        trial: int | None = None,
        *,
        pick: str | None = None,
        each_task: bool = False,
        effects: int | str | None = None,
        progress: Progress = lambda _: None,
    ) -> Explanation:
        """Measures what each decision of a trial is worth: changed back alone, measured again, and
        kept in the storage.

        Args:
            trial: By number; the pick of the front without.
            pick: As for :meth:`best`.
            each_task: Also change the schedule of each task back.
            effects: How many decisions are measured, or ``"all"``; without, those that are about
                most of the latency, at most 12.
            progress: Told what is being measured.

        Raises:
            InputError: There is no such measured trial, or a file has changed since.
            InfeasibleError: No trial is feasible.
            KeyboardInterrupt: It was interrupted; what was measured is kept.
        """
        from nest_tune.report.changes import read_count
        from nest_tune.report.explain import explain

        count = read_count(effects)
        with closing(StudyStorage(self.storage, create=False)) as opened:
            result = load_result(opened, opened.find(self.name))
            chosen = selected(result, trial, pick)
            found = explain(
                ground_of(result),
                result,
                chosen,
                each_task=each_task,
                count=count,
                storage=opened,
                progress=progress,
            )
        if found.interrupted:
            raise KeyboardInterrupt
        return found

    def compile(
        self, output: PathName, trial: int | None = None, *, pick: str | None = None
    ) -> Compilation:
        """Compiles a trial to a package.

        Args:
            output: Folder; an older package there is replaced.
            trial: By number; the pick of the front without.
            pick: As for :meth:`best`.

        Raises:
            InputError: There is no such measured trial, or the folder cannot be written.
            InfeasibleError: No trial is feasible.
        """
        from compiler_core.package.writer import require_free
        from nest_tune.study.store.final import write_programs

        folder = Path(output)
        require_free(folder)
        result = self.result
        chosen = selected(result, trial, pick)
        ground = survey_ground(result.settings, result.study)
        compiled, formats = write_programs(ground, result, chosen, folder)
        return replace(compilation(compiled, folder), formats=formats)

    def compile_bundle(
        self, output: PathName, trial: int | None = None, *, pick: str | None = None
    ) -> BundleCompilation:
        """Compiles a trial of generated sources to a package.

        Args:
            output: Folder; an older package there is replaced.
            trial: By number; the pick of the front without.
            pick: As for :meth:`best`.

        Raises:
            InputError: There is no such measured trial, its target takes programs, or the folder
                cannot be written.
            InfeasibleError: No trial is feasible.
        """
        from nest_tune.study.store.source_package import write_sources

        folder = Path(output)
        require_replaceable(folder)
        result = self.result
        chosen = selected(result, trial, pick)
        report = write_sources(survey_ground(result.settings, result.study), result, chosen, folder)
        return BundleCompilation(folder, report, None, report.warnings)

    def export(
        self, output: PathName, trial: int | None = None, *, pick: str | None = None
    ) -> OuterTrial:
        """Writes the configuration of a trial as a lock file.

        Args:
            output: TOML file.
            trial: By number; the pick of the front without.
            pick: As for :meth:`best`.

        Returns:
            The trial.

        Raises:
            InputError: There is no such measured trial, a file has changed since, or the lock file
                cannot be written.
            InfeasibleError: No trial is feasible.
        """
        from nest_tune.ci.export import export_text

        path = Path(output)
        require_writable(path, "output")
        result = self.result
        chosen = selected(result, trial, pick)
        text = export_text(result, chosen, path.absolute().parent)
        write_atomically(path, lambda stream: stream.write(text.encode()))
        return chosen

    def report(
        self,
        output: PathName,
        *,
        pick: str | None = None,
        effects: int | str | None = None,
        progress: Progress = lambda _: None,
    ) -> Path:
        """Writes one self-contained HTML page.

        Args:
            output: File.
            pick: Which trial it is about, as for :meth:`best`.
            effects: How many decisions are measured, as for :meth:`explain`.
            progress: Told what is being done.

        Returns:
            The file.

        Raises:
            InputError: The rule cannot be used, or the file cannot be written.
            KeyboardInterrupt: It was interrupted; the page holds what was measured.
        """
        from nest_tune.report.changes import read_count
        from nest_tune.report.collect import collect
        from nest_tune.report.page import page

        path = Path(output)
        require_writable(path, "output")
        count = read_count(effects)
        with closing(StudyStorage(self.storage, create=False)) as opened:
            result = load_result(opened, opened.find(self.name))
            data = collect(result, pick, count=count, kept=opened, progress=progress)
        content = page(data).encode()
        write_atomically(path, lambda stream: stream.write(content))
        if data.interrupted:
            raise KeyboardInterrupt
        return path
