"""``nest-tune study list``, ``show``, ``trials``, ``best``, ``export``: what there is."""

from __future__ import annotations

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
    place_of,
    split_name,
)
from nest_tune.cli.study_summary import (
    metric_text,
    print_first_failure,
    print_result,
    print_trials,
    trials_table,
)
from nest_tune.cli.tables import print_table

if TYPE_CHECKING:
    from nest_tune.study.store.result import StudyResult
    from nest_tune.study.store.storage import StudyStorage

__all__ = ["app", "best", "export", "list_studies", "show", "trials"]


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

    opened = open_storage(storage)
    study, number = split_name(name, opened)
    result = _load(opened, study)
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
        metric = result.settings.metric
        for key, name in zip(shown_metrics(trial.metrics, metric), trial.metrics, strict=True):
            out.print(f"  {key:<18} {metric_text(trial, name, metric)}", markup=False)
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
    print_first_failure(result, place_of(opened))
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

    opened = open_storage(storage)
    result = _load(opened, name)
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
        print_result(result, chosen, package, place_of(opened))
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
    opened = open_storage(storage)
    study, number = split_name(name, opened)
    result = _load(opened, study)
    trial = selected(result, number, pick)
    text = export_text(result, trial, output.absolute().parent)
    write_atomically(output, lambda stream: stream.write(text.encode()))
    print(f"trial {trial.number} of {study}: {output}")
