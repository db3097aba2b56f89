"""What a notebook wants of a study: a table of trials, and Optuna's plots (extra ``notebook``)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import closing
from html import escape
from typing import TYPE_CHECKING, Any

from compiler_core.accuracy.metric import shown_name
from compiler_core.errors import InputError, MissingDependencyError
from nest_tune.figures import figure
from nest_tune.study.domain import Domain
from nest_tune.study.store.optuna_study import optuna_study
from nest_tune.study.store.result import StudyResult
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.trial import outcome_counts
from nest_tune.study.views.documents import shown_metrics, study_status

if TYPE_CHECKING:
    import plotly.graph_objects as go

_ROWS = 20
"""Trials of the front that a notebook's view shows."""


def trials_frame(result: StudyResult) -> Any:
    """All finished trials as a table: number, outcome, metrics, decisions by name.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    pandas = _required("pandas")
    domain = Domain(result.study.document.get("parameters", []))
    front = {trial.number for trial in result.front}
    rows = [
        {
            "number": trial.number,
            "outcome": trial.outcome.value,
            "front": trial.number in front,
            "tuned": trial.tuned,
            **shown_metrics(trial.metrics, result.settings.metric),
            "accuracy_samples": trial.accuracy_samples,
            "work_s": trial.wall_s,
            **{f"params_{name}": value for name, value in domain.params(trial.point).items()},
            "message": trial.message,
        }
        for trial in result.trials
    ]
    found: Any = pandas.DataFrame(rows)
    return found.set_index("number") if rows else found


def front_plot(storage: str, name: str) -> go.Figure:
    """The front of a study with two or three objectives.

    Raises:
        InputError: It has another number of objectives, or cannot be read.
        MissingDependencyError: plotly is not installed.
    """

    def draw(study: Any) -> Any:
        from optuna.visualization import plot_pareto_front

        if not 2 <= len(study.directions) <= 3:
            raise InputError(
                f"study {name!r} has {len(study.directions)} objectives; a front of 2 or 3 is "
                "drawn",
                hint="plot_history() shows each objective by itself",
            )
        return plot_pareto_front(study)

    return _drawn(storage, name, draw)


def history_plot(storage: str, name: str, objective: int = 0) -> go.Figure:
    """One objective over the trials, with the best so far.

    Raises:
        InputError: There is no such objective, or the study cannot be read.
        MissingDependencyError: plotly is not installed.
    """

    def draw(study: Any) -> Any:
        from optuna.visualization import plot_optimization_history

        return plot_optimization_history(study, **_target(study, objective))

    return _drawn(storage, name, draw)


def parallel_plot(storage: str, name: str, objective: int = 0) -> go.Figure:
    """Every trial as a line through its decisions, coloured by one objective.

    Raises:
        InputError: There is no such objective, or the study cannot be read.
        MissingDependencyError: plotly is not installed.
    """

    def draw(study: Any) -> Any:
        from optuna.visualization import plot_parallel_coordinate

        return plot_parallel_coordinate(study, **_target(study, objective))

    return _drawn(storage, name, draw)


def timeline_plot(storage: str, name: str) -> go.Figure:
    """When each trial ran.

    Raises:
        InputError: The study cannot be read.
        MissingDependencyError: plotly is not installed.
    """

    def draw(study: Any) -> Any:
        from optuna.visualization import plot_timeline

        return plot_timeline(study)

    return _drawn(storage, name, draw)


def study_html(result: StudyResult) -> str:
    """A study in short, for a notebook."""
    settings, metric = result.settings, result.settings.metric
    counts = ", ".join(f"{n} {name}" for name, n in outcome_counts(result.trials).items())
    head = (
        f"<b>{escape(result.study.name)}</b>: {escape(study_status(result))}, "
        f"{len(result.trials)} of {settings.trials} trials ({escape(counts) or 'none yet'}), "
        f"{escape(settings.model)} on {escape(settings.target)}"
    )
    names = [goal.metric.value for goal in settings.objectives]
    shown = [(name, shown_name(name, metric)) for name in names]
    titles = "".join(f"<th>{escape(title)}</th>" for _, title in shown)
    rows = "".join(
        f"<tr><td>{trial.number}</td>"
        + "".join(f"<td>{figure(trial.metrics[name], title)}</td>" for name, title in shown)
        + "</tr>"
        for trial in result.front[:_ROWS]
    )
    return f"<p>{head}</p><table><tr><th>trial</th>{titles}</tr>{rows}</table>"


def _target(study: Any, objective: int) -> dict[str, Any]:
    names = study.metric_names or [f"objective {n}" for n in range(len(study.directions))]
    if not 0 <= objective < len(names):
        raise InputError(f"objective {objective}; the study has {len(names)}: {', '.join(names)}")
    return {"target": lambda trial: trial.values[objective], "target_name": names[objective]}


def _drawn(storage: str, name: str, draw: Callable[[Any], Any]) -> Any:
    _required("plotly")
    with closing(StudyStorage(storage, create=False)) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return draw(optuna_study(opened, name))


def _required(package: str) -> Any:
    from importlib import import_module

    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"the Python package {error.name!r} is not installed",
            hint="pip install 'nest-tune[notebook]'",
        ) from error
