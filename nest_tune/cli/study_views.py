"""``nest-tune study list``, ``show``, ``trials``, ``best``, ``export``: what there is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.errors import InfeasibleError, InputError
from compiler_core.files.whole_file import require_writable, write_atomically
from nest_tune.cli.options import AsJson
from nest_tune.cli.output import console, print_json, say
from nest_tune.cli.study_app import app
from nest_tune.cli.study_options import (
    Name,
    NameOfTrial,
    Output,
    Pick,
    StorageUrl,
    open_storage,
    split_name,
)
from nest_tune.cli.tables import print_table
from nest_tune.study.request.goals import TrialMetric

if TYPE_CHECKING:
    from rich.table import Table

    from nest_tune.study.store.result import StudyResult
    from nest_tune.study.store.storage import StudyStorage
    from nest_tune.study.trial import OuterTrial

__all__ = ["app", "best", "export", "list_studies", "print_result", "show", "trials"]


_MOST_DECISIONS = 12
"""Of the chosen trial that a summary tells."""
_YES_OR_NO = {True: "yes", False: "no"}


@app.command("list", epilog="Example: nest-tune study list --json")
def list_studies(storage: StorageUrl = None, as_json: AsJson = False) -> None:
    """List the studies of a storage."""
    from nest_tune.study.views.documents import place_text

    opened = open_storage(storage)
    rows, damaged = _listed(opened)
    for message in damaged:
        say(message, aside=True)
    if old := sorted({*opened.old_names()} - {row["study"] for row in rows}):
        say(
            f"{len(old)} studies of an earlier version ({', '.join(old[:5])}): "
            f"nest-tune study import {opened.shown}",
            aside=True,
        )
    if as_json:
        print_json("study-list", {"studies": rows})
        return
    if not rows:
        print(f"no studies in {opened.shown}")
        return
    from rich.table import Table

    titles = ("study", "status", "trials", "front", "model", "target", "created", "where")
    table = Table(*titles, box=None)
    for row in rows:
        done = f"{row['trials']}/{row['budget']}"
        table.add_row(
            row["study"],
            ", ".join([row["status"], *row["marks"]]),
            done,
            str(row["front"]),
            Path(row["model"]).name,
            row["target"],
            row["created"],
            place_text(row),
        )
    print_table(table)


def _listed(opened: StudyStorage) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for each study, and what is wrong with those that cannot be read."""
    from nest_tune.study.store.marks import marks
    from nest_tune.study.store.result import load_result
    from nest_tune.study.views.documents import study_place, study_status

    rows = []
    studies, wrong = opened.scan()
    damaged = [error.message for error in wrong.values()]
    for study in studies:
        try:
            result = load_result(opened, study)
        except InputError as error:
            damaged.append(error.message)
            continue
        rows.append(
            {
                "study": study.name,
                "status": study_status(result),
                "marks": list(marks(study)),
                "trials": len(result.trials),
                "budget": result.settings.trials,
                "front": len(result.front),
                "model": result.settings.model,
                "target": result.settings.target,
                "created": result.created,
                **study_place(result),
            }
        )
    return rows, damaged


def _near(path: Path) -> Path:
    """A path from the working folder, where it is in there."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _load(storage: StudyStorage, name: str) -> StudyResult:
    from nest_tune.study.store.result import load_result

    return load_result(storage, storage.find(name))


@app.command(epilog="Example: nest-tune study show resnet8-vta:12")
def show(name: NameOfTrial, storage: StorageUrl = None, as_json: AsJson = False) -> None:
    """Show a study, or one trial of it."""
    from nest_tune.study.request.settings import settings_document
    from nest_tune.study.store.selection import decisions_of, trial_of
    from nest_tune.study.trial import outcome_counts
    from nest_tune.study.views.documents import (
        goals_text,
        holdout_lines,
        limits_text,
        shown_metrics,
        study_status,
        trial_document,
    )

    study, number = split_name(name)
    result = _load(open_storage(storage), study)
    out = console()
    if number is not None:
        trial = trial_of(result, number)
        decisions = decisions_of(result, trial)
        if as_json:
            body = {
                "study": study,
                **trial_document(trial, result.settings.metric),
                "decisions": decisions,
            }
            print_json("study-trial", body)
            return
        out.print(f"trial {number} of {study}: {trial.outcome.value}")
        if (move := trial_document(trial, result.settings.metric).get("move")) is not None:
            out.print(f"tried as: {move['why']}, from trial {move['of']}")
        if trial.message:
            out.print(trial.message, soft_wrap=True)
        for line in trial.log.splitlines():
            out.print(f"  worker: {line}", soft_wrap=True, markup=False)
        shown = shown_metrics(trial.metrics, result.settings.metric)
        for key, name in zip(shown, trial.metrics, strict=True):
            out.print(f"  {key:<18} {_cell(trial, name)}", markup=False)
        for line in holdout_lines(result, trial):
            out.print(line, soft_wrap=True, markup=False)
        for key, choice in decisions.items():
            out.print(f"  {key:<18} {choice}", soft_wrap=True)
        return
    settings = settings_document(result.settings)
    if as_json:
        body = {
            "study": study,
            "status": study_status(result),
            "trials": len(result.trials),
            "outcomes": outcome_counts(result.trials),
            "front": [trial.number for trial in result.front],
            "settings": settings,
            "digests": result.study.fixed("digests"),
        }
        if (failed := result.first_failure) is not None:
            body["first_failure"] = trial_document(failed, result.settings.metric)
        print_json("study-show", body)
        return
    out.print(f"study {study}: {study_status(result)}, {len(result.trials)} trials")
    for outcome, count in outcome_counts(result.trials).items():
        out.print(f"  {outcome:<18} {count}")
    _print_first_failure(result)
    settings["objectives"] = ", ".join(goals_text(result.settings))
    settings["limits"] = ", ".join(limits_text(result.settings))
    for key, value in settings.items():
        if value not in (None, "", [], {}):
            text = _YES_OR_NO[value] if isinstance(value, bool) else value
            out.print(f"  {key:<18} {text}", soft_wrap=True, markup=False)


@app.command(epilog="Example: nest-tune study trials resnet8-vta --json")
def trials(
    name: Name,
    storage: StorageUrl = None,
    as_json: AsJson = False,
) -> None:
    """List the trials of a study."""
    from nest_tune.study.views.documents import trial_document

    result = _load(open_storage(storage), name)
    if as_json:
        metric = result.settings.metric
        rows = [{**trial_document(t, metric), "point": list(t.point)} for t in result.trials]
        print_json("study-trials", {"study": name, "trials": rows})
        return
    print_trials(trials_table(result.trials, result.settings.metric, with_outcome=True))


def print_trials(table: Table) -> None:
    """Prints trials; on narrow terminals without what is least often an objective."""
    print_table(
        table,
        drop=(
            "dram_peak_bytes",
            "size_bytes",
            "npu_cycles",
            "energy_mj",
            "cycles",
            "constant_bytes",
        ),
    )


def trials_table(
    trials: Sequence[OuterTrial],
    metric: str,
    *,
    with_outcome: bool = False,
    chosen: OuterTrial | None = None,
) -> Table:
    """Trials with their metrics, accuracy under the name that ``metric`` gives it."""
    from rich.table import Table

    from compiler_core.accuracy.metric import shown_name

    names = [m.value for m in TrialMetric if any(m.value in trial.metrics for trial in trials)]
    heads = [shown_name(name, metric) for name in names]
    outcome = ["outcome"] if with_outcome else []
    table = Table("trial", *outcome, *heads, "", box=None)
    accuracy = shown_name("accuracy", metric)
    for trial in trials:
        note = "" if trial.settled else f"{accuracy} on {trial.accuracy_samples} samples"
        if chosen is not None and trial.number == chosen.number:
            note = "chosen"
        if with_outcome and not trial.outcome.is_measured:
            note = trial.message
        cells = [_cell(trial, name) for name in names]
        middle = [trial.outcome.value] if with_outcome else []
        table.add_row(str(trial.number), *middle, *cells, note)
    return table


def _cell(trial: OuterTrial, name: str) -> str:
    from nest_tune.figures import figure
    from nest_tune.study.proposals.evidence import interval_text

    shown = figure(trial.metrics.get(name), name)
    return f"{shown} {interval_text(trial.intervals.get(name))}".rstrip()


@app.command(epilog="Example: nest-tune study best resnet8-vta --pick min:latency_ms --json")
def best(
    name: Name,
    pick: Pick = None,
    storage: StorageUrl = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Show the feasible front and pick one trial of it."""
    from nest_tune.study.views.documents import result_document

    result = _load(open_storage(storage), name)
    chosen = result.chosen(pick)
    package = None
    if output is not None and chosen is not None:
        from nest_tune.bundling import require_replaceable
        from nest_tune.study.store.dependencies import survey_ground
        from nest_tune.study.store.final import write_trial

        require_replaceable(output)
        write_trial(survey_ground(result.settings, result.study), result, chosen, output)
        package = str(output)
    if as_json:
        print_json("study", result_document(result, chosen, package))
    else:
        print_result(result, chosen, package)
    if chosen is None:
        raise typer.Exit(InfeasibleError.exit_code)


@app.command(epilog="Example: nest-tune study export resnet8-vta:12 -o best.toml")
def export(
    name: NameOfTrial,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="best.toml", help="Lock file to write.")
    ],
    pick: Pick = None,
    storage: StorageUrl = None,
) -> None:
    """Write the configuration of a trial as a lock file."""
    from nest_tune.ci.export import export_text
    from nest_tune.study.store.selection import selected

    require_writable(output, "--output")
    study, number = split_name(name)
    result = _load(open_storage(storage), study)
    trial = selected(result, number, pick)
    text = export_text(result, trial, output.absolute().parent)
    write_atomically(output, lambda stream: stream.write(text.encode()))
    print(f"trial {trial.number} of {study}: {output}")


def _print_first_failure(result: StudyResult) -> bool:
    """Says why nothing was measured, where every trial failed; whether that is so."""
    failed = result.first_failure
    if failed is None:
        return False
    out = console()
    out.print(
        f"every trial failed; the first, trial {failed.number} ({failed.outcome.value}): "
        f"{failed.message}",
        soft_wrap=True,
    )
    out.print(f"more of it: nest-tune study show {result.study.name}:{failed.number}")
    return True


def print_result(result: StudyResult, chosen: OuterTrial | None, package: str | None) -> None:
    """Summary, front and chosen trial."""
    from nest_tune.study.proposals.front import closest
    from nest_tune.study.store.ended import Ended
    from nest_tune.study.store.selection import decisions_of
    from nest_tune.study.trial import Outcome, outcomes_text
    from nest_tune.study.views.documents import front_with, goals_text, limits_text

    out = console()
    ended = "" if result.ended is None else f", ended: {result.ended.value}"
    goals = ", ".join(goals_text(result.settings))
    limits = ", ".join(limits_text(result.settings))
    asked = f"{goals}, with {limits}" if limits else goals
    trials = f"{len(result.trials)} trials ({outcomes_text(result.trials)})"
    out.print(f"study {result.study.name}: {trials}{ended}")
    out.print(f"asked for: {asked}", soft_wrap=True, markup=False)
    tasks = result.tasks.values()
    if result.ended in (Ended.EXHAUSTED, Ended.IDEAL):
        proven = sum(task.cycles <= task.bound_cycles for task in tasks)
        bounds = f"; {proven} of {len(tasks)} tasks are at their lower bound" if tasks else ""
        out.print(f"{result.ended.sentence}{bounds}", soft_wrap=True)
    if tasks:
        spent = sum(task.measurements for task in tasks)
        out.print(f"{len(tasks)} tasks tuned with {spent} measurements")
    default = result.default
    if default is not None:
        out.print("default:")
        print_trials(trials_table([default], result.settings.metric))
        if default.outcome is Outcome.CONSTRAINTS:
            out.print(
                f"the default breaks a limit: {default.message}", soft_wrap=True, markup=False
            )
    if chosen is None:
        if _print_first_failure(result):
            return
        out.print(f"nothing is feasible ({limits or 'no trial was measured'}); the closest trials:")
        near = closest(result.trials, result.settings.limits, default)
        print_trials(trials_table(near, result.settings.metric, with_outcome=True))
        return
    out.print("front:")
    listed = front_with(result, chosen)
    print_trials(trials_table(listed, result.settings.metric, chosen=chosen))
    difference = decisions_of(result, chosen)
    told = [f"{key}={value}" for key, value in difference.items()]
    rest = len(told) - _MOST_DECISIONS
    where = f"and {rest} more (nest-tune study show {result.study.name}:{chosen.number})"
    text = ", ".join(told[:_MOST_DECISIONS] + ([where] if rest > 0 else [])) or "nothing"
    out.print(f"chosen: trial {chosen.number}; against the default: {text}", soft_wrap=True)
    _print_gains(result, chosen)
    if package is not None:
        out.print(f"package: {_near(Path(package))}")


def _costs_text(result: StudyResult, reference: str, metrics: Collection[str]) -> str:
    """What the float model takes, which no trial is; empty for the default, which is shown."""
    from nest_tune.figures import figure

    if reference != "float":
        return ""
    costs = result.closed.float_costs
    told = ", ".join(f"{name} {figure(costs[name], name)}" for name in metrics if name in costs)
    return f" model on the CPU ({told})"


def _print_gains(result: StudyResult, chosen: OuterTrial) -> None:
    """What the chosen trial gains, and what must not be left unsaid."""
    from nest_tune.study.choice.gains import doubts_of, gain_text, notes_of, warnings_of
    from nest_tune.study.views.documents import (
        change_documents,
        changed_choice,
        earlier_times,
        holdout_lines,
        noise_of,
    )

    out = console()
    for line in holdout_lines(result, chosen):
        out.print(line, soft_wrap=True, markup=False)
    for reference, changes in change_documents(result, chosen).items():
        if chosen.number or reference != "default":
            noise = noise_of(result, chosen, reference)
            beside = f"{reference}{_costs_text(result, reference, changes)}"
            out.print(f"against the {beside}: {gain_text(changes, noise)}", soft_wrap=True)
    told = warnings_of(chosen, result.default, result.settings.objectives)
    for note in notes_of(chosen, result.default, result.settings.objectives):
        out.print(f"note: {note}", soft_wrap=True)
    for line in changed_choice(result, chosen):
        out.print(line, soft_wrap=True, markup=False)
    for warning in (*told, *doubts_of(result.trials), *earlier_times(result)):
        out.print(f"warning: {warning}", soft_wrap=True)
