"""Studies and trials as JSON documents that scripts rely on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compiler_core.accuracy.metric import shown_name
from compiler_core.units.names import CPU
from nest_tune.figures import figure, figures
from nest_tune.runners.runner import RUNNERS
from nest_tune.study.choice.chance import stands_for
from nest_tune.study.choice.gains import (
    changes_percent,
    doubts_of,
    gain_text,
    notes_of,
    warnings_of,
    within_noise,
)
from nest_tune.study.choice.last_step import MOVE, OF
from nest_tune.study.choice.pick import KNEE, default_rule
from nest_tune.study.proposals.evidence import interval_text
from nest_tune.study.proposals.front import closest
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.store.closed import Reported
from nest_tune.study.store.result import StudyResult
from nest_tune.study.store.stored_study import Status
from nest_tune.study.trial import Outcome, OuterTrial, outcome_counts


def trial_document(trial: OuterTrial, metric: str) -> dict[str, Any]:
    """One trial, its accuracy under the name that ``metric`` gives it.

    ``log`` is there only where its worker printed something before it failed.
    """
    log = {"log": trial.log.splitlines()} if trial.log else {}
    return {
        "number": trial.number,
        "outcome": trial.outcome.value,
        "metrics": shown_metrics(trial.metrics, metric),
        "intervals": {
            shown_name(name, metric): list(ends) for name, ends in trial.intervals.items()
        },
        "accuracy_samples": trial.accuracy_samples,
        "fidelity": dict(trial.fidelity),
        "message": trial.message,
        **_move_document(trial),
        **log,
    }


def _move_document(trial: OuterTrial) -> dict[str, Any]:
    """Why a trial was tried that no sampler proposed, and of which trial it is a change."""
    if MOVE not in trial.attributes:
        return {}
    return {"move": {"why": trial.attributes[MOVE], "of": trial.attributes.get(OF)}}


def shown_metrics(metrics: Mapping[str, float], metric: str) -> dict[str, float]:
    """Metrics of a trial under the names that they are shown by."""
    return {shown_name(name, metric): value for name, value in metrics.items()}


def limits_text(settings: StudySettings) -> list[str]:
    """Limits as written, under the names that their metrics are shown by."""
    return [f"{shown_name(x.metric.value, settings.metric)} {x.text}" for x in settings.limits]


def goals_text(settings: StudySettings) -> list[str]:
    """Objectives, likewise."""
    return [
        f"{goal.direction.value} {shown_name(goal.metric.value, settings.metric)}"
        for goal in settings.objectives
    ]


def result_document(
    result: StudyResult, chosen: OuterTrial | None, package: str | None
) -> dict[str, Any]:
    """What ``study start`` and ``study best`` print."""
    default, metric = result.default, result.settings.metric
    document: dict[str, Any] = {
        "study": result.study.name,
        "metric": None if result.settings.evaluation is None else metric,
        "trials": len(result.trials),
        "chosen": None if chosen is None else trial_document(chosen, metric),
        "default": None if default is None else trial_document(default, metric),
        "front": [trial_document(trial, metric) for trial in front_with(result, chosen)],
        "package": package,
        "holdout": holdout_document(result, chosen),
        "changes_percent": change_documents(result, chosen),
        "within_noise": list(noise_of(result, chosen)),
        "warnings": [
            *warnings_of(chosen, default, result.settings.objectives),
            *doubts_of(result.trials),
            *earlier_times(result),
        ],
        "notes": [
            *notes_of(chosen, default, result.settings.objectives),
            *overdue_lines(result),
            *(instead_lines(result, chosen) if chosen is not None else ()),
        ],
        "chosen_before": None if result.before is None else result.before.number,
        "outcomes": outcome_counts(result.trials),
        "ended": None if result.ended is None else result.ended.value,
        "tasks": len(result.tasks),
        "measurements": sum(task.measurements for task in result.tasks.values()),
    }
    if chosen is None:
        near = closest(result.trials, result.settings.limits, default)
        document["closest"] = [trial_document(trial, metric) for trial in near]
    if (failed := result.first_failure) is not None:
        document["first_failure"] = trial_document(failed, metric)
    return document


def front_with(result: StudyResult, chosen: OuterTrial | None) -> list[OuterTrial]:
    """The front, with the chosen trial where chance alone tells it from one of the front."""
    found = list(result.front)
    if chosen is not None and all(trial.number != chosen.number for trial in found):
        found.append(chosen)
    return found


def instead_lines(result: StudyResult, chosen: OuterTrial) -> tuple[str, ...]:
    """Why a trial is chosen that another one of the front seems to beat."""
    other = stands_for(chosen, result.front, result.settings.objectives)
    if other is None:
        return ()
    names = [name for name in ("agreement", "sqnr_db") if name in other.fidelity]
    words = {"agreement": "agreement", "sqnr_db": "SQNR in dB"}
    pairs = [
        (words[name], *figures((chosen.fidelity[name], other.fidelity[name]), name))
        for name in names
    ]
    nearer = ", ".join(f"{word} {mine} for {theirs}" for word, mine, theirs in pairs)
    return (
        f"in the place of trial {other.number}, which costs the same: their accuracies differ "
        f"within chance, and trial {chosen.number} is nearer to the float model ({nearer})",
    )


def overdue_lines(result: StudyResult) -> tuple[str, ...]:
    """That trials were given up, which says nothing of their configurations."""
    late = [trial for trial in result.trials if trial.outcome is Outcome.TIMEOUT]
    if not late:
        return ()
    trials = "trial was" if len(late) == 1 else "trials were"
    return (
        f"{len(late)} {trials} given up (trial {late[0].number}: {late[0].message}): "
        "--trial-timeout grants the next ones more",
    )


def earlier_times(result: StudyResult) -> tuple[str, ...]:
    """That times of trials were measured before: by other studies, or runs before this one."""
    count = result.closed.earlier
    if not count:
        return ()
    times = "the time of a trial is" if count == 1 else f"the times of {count} trials are"
    return (
        f"{times} from earlier measurements of the same programs in this storage; a study in "
        "another --storage measures anew",
    )


def changed_choice(result: StudyResult, chosen: OuterTrial) -> tuple[str, ...]:
    """Why another trial is chosen than before a resume; nothing where it is the same one."""
    before = result.before
    if before is None or before.number == chosen.number:
        return ()
    said = gain_text(changes_percent(chosen.metrics, before.metrics)) or "no cost differs"
    if chosen.metrics == before.metrics:
        return (
            f"before this run trial {before.number} was chosen, whose figures are the same; trial "
            f"{chosen.number} is nearer to the float model",
        )
    found = [f"before this run trial {before.number} was chosen; against it: {said}"]
    if all(trial.number != before.number for trial in result.front):
        found.append(f"trial {before.number} is dominated by a new one")
    elif (result.settings.pick or default_rule(result.settings.limits)) == KNEE:
        found.append("the knee is relative to the whole front, which has changed")
    return tuple(found)


def holdout_document(result: StudyResult, chosen: OuterTrial | None) -> dict[str, Any] | None:
    """Accuracies that nobody chose by; ``None`` where nothing was kept out."""
    closed, metric = result.closed, result.settings.metric
    if closed.float_reported is None:
        return None

    def shown(number: int) -> dict[str, Any] | None:
        found = closed.reported.get(number)
        return None if found is None else reported_document(found, metric)

    return {
        "samples": closed.float_reported.samples,
        "float": reported_document(closed.float_reported, metric),
        "default": shown(0),
        "chosen": None if chosen is None else shown(chosen.number),
        "front": [{"number": n, **(shown(n) or {})} for n in closed.reported if n],
    }


def reported_document(found: Reported, metric: str) -> dict[str, Any]:
    """One such accuracy with its intervals."""
    accuracy, lost = shown_name("accuracy", metric), shown_name("accuracy_drop", metric)
    intervals = {accuracy: found.interval, lost: found.drop_interval}
    return {
        accuracy: found.value,
        lost: found.drop,
        "intervals": {name: list(ends) for name, ends in intervals.items() if ends is not None},
    }


def _reported(result: StudyResult, chosen: OuterTrial) -> dict[str, Reported]:
    """Of the float model, the default and a trial, by what it is of."""
    closed = result.closed
    floats, own = closed.float_reported, closed.reported.get(chosen.number)
    if floats is None or own is None:
        return {}
    default = closed.reported.get(0) if chosen.number else None
    rows = {"float": floats, "default": default, f"trial {chosen.number}": own}
    return {name: found for name, found in rows.items() if found is not None}


def holdout_rows(result: StudyResult, chosen: OuterTrial) -> tuple[tuple[str, ...], ...]:
    """The same as a table: its heads, and a row each."""
    rows, metric = _reported(result, chosen), result.settings.metric
    if not rows:
        return ()
    accuracy, lost = shown_name("accuracy", metric), shown_name("accuracy_drop", metric)
    heads = ("", accuracy, "95 %", lost.replace("_drop", " drop"), "95 %")
    table = [heads]
    for name, found in rows.items():
        one = (figure(found.value, accuracy), interval_text(found.interval))
        drop = (figure(found.drop, lost), interval_text(found.drop_interval))
        table.append((name, *one, *(("", "") if name == "float" else drop)))
    return tuple(table)


def holdout_lines(result: StudyResult, chosen: OuterTrial) -> list[str]:
    """The same for people: of the float model, the default and a trial."""
    rows, metric = _reported(result, chosen), result.settings.metric
    if not rows:
        return []
    floats = rows["float"]
    accuracy, lost = shown_name("accuracy", metric), shown_name("accuracy_drop", metric)
    lines = [f"on {floats.samples} samples that nothing was chosen by:"]
    for name, found in rows.items():
        value, drop = figure(found.value, accuracy), figure(found.drop, lost)
        text = f"  {name:<10} {accuracy} {value} {interval_text(found.interval)}"
        if name != "float":
            text += f", {lost} {drop} {interval_text(found.drop_interval)}"
        lines.append(text.rstrip())
    return lines


def change_documents(result: StudyResult, chosen: OuterTrial | None) -> dict[str, dict[str, float]]:
    """Changes of costs in per cent by what the chosen trial is compared with: ``default``, and
    ``float`` where the float model on the CPU was timed."""
    if chosen is None:
        return {}
    references = {} if result.default is None else {"default": result.default.metrics}
    if not _default_is_float(result):
        references["float"] = result.closed.float_costs
    found = {n: changes_percent(chosen.metrics, m) for n, m in references.items()}
    return {name: changes for name, changes in found.items() if changes}


def _default_is_float(result: StudyResult) -> bool:
    """Whether the default has every operator in float on the CPU: then it is the float model, and
    a second measurement of it would say another number."""
    default = result.default
    if default is None:
        return False
    parameters = result.study.document.get("parameters", [])
    places = {
        values[index]
        for (name, values), index in zip(parameters, default.point, strict=False)
        if name.startswith("partition.")
    }
    return places == {CPU}


def noise_of(
    result: StudyResult, chosen: OuterTrial | None, reference: str = "default"
) -> tuple[str, ...]:
    """Costs in which repeats by the clock do not tell the chosen trial from the default, or from
    the float model (``float``)."""
    if chosen is None:
        return ()
    if reference == "float":
        costs = result.closed.float_costs
        return tuple(
            name
            for name, ends in chosen.intervals.items()
            if name in costs and ends[0] <= costs[name] <= ends[1]
        )
    default = result.default
    return () if default is None else within_noise(chosen, default)


def study_status(result: StudyResult) -> str:
    """Status for people: a study whose process has died is interrupted."""
    study = result.study
    if study.status is Status.RUNNING and not study.is_running:
        return "interrupted"
    return study.status.value


def study_place(result: StudyResult) -> dict[str, Any]:
    """Where a study runs: its runner, that one's cluster, and the driver while there is one."""
    host, _, process = result.study.where.rpartition(":")
    return {
        "runner": result.settings.runner,
        "ray_address": result.settings.ray_address,
        "host": host or None,
        "pid": int(process) if process else None,
    }


def place_text(place: dict[str, Any]) -> str:
    """What :func:`study_place` found, for people."""
    runner = place["runner"]
    kind = RUNNERS.find(runner)
    if kind is not None and kind.spreads:
        runner = f"ray {place['ray_address'] or 'here'}"
    return f"{runner}, {place['host']}:{place['pid']}" if place["host"] else runner
