"""Studies as Optuna shows them: a copy in memory for its dashboard.

Our storage keeps a trial as indices into tables, which no viewer of Optuna understands. The copy
has decisions by name, metrics with our names, constraints as Optuna counts them, and notes. What is
written to it (notes, tags) is lost with it and never reaches the studies.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from compiler_core.accuracy.metric import shown_name
from compiler_core.files.plain import to_plain
from nest_tune.study.request.goals import scale_of
from nest_tune.study.store.result import StudyResult, load_result
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.trial import Outcome, OuterTrial
from nest_tune.study.views.documents import goals_text, limits_text, study_status


@dataclass
class _Copied:
    """A study in the copy.

    Attributes:
        key: Of our row: a study that was replaced has another one.
        trials: Copied so far.
        end: Work of the runners on these, from the study's start on.
        note: As last written.
    """

    key: int
    trials: int
    end: datetime
    note: str = ""


class Mirror:
    """A copy of all studies of a storage.

    Args:
        source: Read again with each :meth:`refresh`.

    Attributes:
        storage: What Optuna reads.
    """

    def __init__(self, source: StudyStorage) -> None:
        self.storage = optuna.storages.InMemoryStorage()
        self._source = source
        self._copied: dict[str, _Copied] = {}
        self._stop = threading.Event()

    def refresh(self) -> int:
        """Copies what is new and drops what is gone; returns how many trials were copied."""
        results = {study.name: load_result(self._source, study) for study in self._source.studies()}
        for name, copied in list(self._copied.items()):
            if name not in results or results[name].study.key != copied.key:
                optuna.delete_study(study_name=name, storage=self.storage)
                del self._copied[name]
        return sum(self._copy(result) for result in results.values())

    def follow(self, seconds: float) -> threading.Thread:
        """Refreshes again and again in another thread, until :meth:`close`."""

        def loop() -> None:
            while not self._stop.wait(seconds):
                self.refresh()

        thread = threading.Thread(target=loop, name="refresh", daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """Ends :meth:`follow`."""
        self._stop.set()

    def _copy(self, result: StudyResult) -> int:
        name = result.study.name
        goals = result.settings.objectives
        if name not in self._copied:
            study = optuna.create_study(
                study_name=name,
                storage=self.storage,
                sampler=optuna.samplers.RandomSampler(0),
                directions=[goal.direction.value for goal in goals],
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                metric = result.settings.metric
                study.set_metric_names([shown_name(g.metric.value, metric) for g in goals])
            started = datetime.fromtimestamp(result.study.created_s, UTC).replace(tzinfo=None)
            self._copied[name] = _Copied(result.study.key, 0, started)
        else:
            study = optuna.load_study(
                study_name=name,
                storage=self.storage,
                sampler=optuna.samplers.RandomSampler(0),
            )
        copied = self._copied[name]
        new = result.trials[copied.trials :]
        for trial in new:
            frozen = frozen_trial(result, trial)
            frozen.datetime_start = copied.end
            copied.end += timedelta(seconds=trial.wall_s)
            frozen.datetime_complete = copied.end
            study.add_trial(frozen)
        copied.trials += len(new)
        note = _study_note(result)
        if note != copied.note:
            _save_note(study, note)
            copied.note = note
        return len(new)


def frozen_trial(result: StudyResult, trial: OuterTrial) -> FrozenTrial:
    """A trial as Optuna holds it: decisions by name, all metrics beside the objectives."""
    params: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    for index, (name, values) in enumerate(result.study.document.get("parameters", [])):
        texts = [str(value) for value in values]
        params[name] = texts[trial.point[index]]
        distributions[name] = CategoricalDistribution(texts)
    names = [goal.metric.value for goal in result.settings.objectives]
    measured = trial.outcome.is_measured and all(name in trial.metrics for name in names)
    attributes = {
        "outcome": trial.outcome.value,
        **{
            shown_name(name, result.settings.metric): value
            for name, value in trial.metrics.items()
            if name not in names
        },
        "tiling": "tuned" if trial.tuned else "untuned",
        "lower bound of latency_ms": trial.bound_ms or None,
        "accuracy_samples": trial.accuracy_samples or None,
        "message": trial.message or None,
        "work_s": trial.wall_s,
    }
    return create_trial(
        state=TrialState.COMPLETE if measured else TrialState.FAIL,
        values=[trial.metrics[name] for name in names] if measured else None,
        params=params,
        distributions=distributions,
        user_attrs={k: to_plain(v) for k, v in attributes.items() if v is not None},
        constraints=_constraints(result, trial) if measured else None,
    )


def _constraints(result: StudyResult, trial: OuterTrial) -> dict[str, float] | None:
    """Each limit as Optuna counts it: at most 0 where it holds."""
    default = {} if result.default is None else result.default.metrics
    found = {
        f"{shown_name(limit.metric.value, result.settings.metric)} {limit.text}": limit.slack(
            trial.metrics[limit.metric.value], scale_of(limit, default)
        )
        for limit in result.settings.limits
        if limit.metric.value in trial.metrics
    }
    return found or None


def _study_note(result: StudyResult) -> str:
    from nest_tune.markdown import cell

    settings, name = result.settings, result.study.name
    chosen = result.chosen()
    goals = ", ".join(goals_text(settings))
    limits = ", ".join(limits_text(settings)) or "none"
    lines = [
        f"**{cell(settings.model)}** on **{cell(settings.target)}**: {cell(goals)}",
        f"constraints: {cell(limits)}; sampler {cell(settings.sampler)}, seed {settings.seed}",
        f"status: {study_status(result)}, {len(result.trials)} of {settings.trials} trials",
        "trial 0 is the untuned default",
        f"front: trials {_numbers(result.front)}",
        "chosen: nothing is feasible" if chosen is None else f"chosen: trial {chosen.number}",
        _failures(result.trials),
    ]
    commands = [
        f"nest-tune study report {name} -o report.html",
        f"nest-tune study explain {name}" + ("" if chosen is None else f":{chosen.number}"),
    ]
    text = "\n".join(f"- {line}" for line in lines if line)
    return text + "\n\n" + "\n".join(f"    {command}" for command in commands) + "\n"


def _numbers(trials: Sequence[OuterTrial]) -> str:
    return ", ".join(str(trial.number) for trial in trials) or "none"


def _failures(trials: Sequence[OuterTrial]) -> str:
    counts: dict[Outcome, int] = {}
    for trial in trials:
        if not trial.outcome.is_measured:
            counts[trial.outcome] = counts.get(trial.outcome, 0) + 1
    if not counts:
        return ""
    return "not measured: " + ", ".join(f"{count} {o.value}" for o, count in counts.items())


def _save_note(study: optuna.Study, text: str) -> None:
    try:
        from optuna_dashboard import save_note
    except ModuleNotFoundError:  # the copy is of use without the dashboard, too
        return
    save_note(study, text)
