"""``nest-tune study compare``: studies side by side after the same number of trials."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nest_tune.cli.completion import study_names
from nest_tune.cli.options import AsJson
from nest_tune.cli.output import console, print_json
from nest_tune.cli.study_app import app
from nest_tune.cli.study_options import Pick, StorageUrl, open_storage
from nest_tune.cli.tables import print_table
from nest_tune.figures import figure, figures
from nest_tune.markdown import cell

if TYPE_CHECKING:
    from nest_tune.study.views.compare import Comparison

__all__ = ["app", "compare", "comparison_tables"]

_MOST_DECISIONS = 40

Title = str
Rows = list[list[str]]


class ComparisonFormat(Enum):
    """How the result is printed."""

    TEXT = "text"
    MD = "md"


@app.command(epilog="Example: nest-tune study compare with-xgb with-random --format md")
def compare(
    names: Annotated[
        list[str],
        typer.Argument(metavar="A B…", help="Names of the studies.", autocompletion=study_names),
    ],
    trials: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Of each; default: as many as the shortest has."),
    ] = None,
    pick: Pick = None,
    output_format: Annotated[
        ComparisonFormat,
        typer.Option("--format", help="What is printed: text, or Markdown to paste."),
    ] = ComparisonFormat.TEXT,
    storage: StorageUrl = None,
    as_json: AsJson = False,
) -> None:
    """Compare studies after the same number of trials: best values, fronts, decisions."""
    from nest_tune.study.store.result import load_result
    from nest_tune.study.views import compare as comparing

    opened = open_storage(storage)
    results = [load_result(opened, opened.find(name)) for name in names]
    found = comparing.compare(results, trials=trials, rule=pick)
    if as_json:
        print_json("study-compare", comparison_document(found))
    elif output_format is ComparisonFormat.MD:
        print(_markdown(found))
    else:
        _print(found)


def comparison_document(found: Comparison) -> dict[str, Any]:
    """A comparison for scripts."""
    from compiler_core.accuracy.metric import shown_name
    from nest_tune.study.views.documents import trial_document

    studies = []
    for contender in found.contenders:
        checkpoints = [
            asdict(step) | {"best": {shown_name(n, found.metric): asdict(b) for n, b in best}}
            for step in contender.checkpoints
            for best in [step.best.items()]
        ]
        body = asdict(contender) | {
            "checkpoints": checkpoints,
            "study": contender.name,
            "front": [trial.number for trial in contender.front],
            "chosen": None
            if contender.chosen is None
            else trial_document(contender.chosen, found.metric),
            "hypervolume": contender.checkpoints[-1].hypervolume,
        }
        del body["name"]
        studies.append(body)
    names = [contender.name for contender in found.contenders]
    return {
        "trials": found.trials,
        "objectives": {found.shown(o): o.direction.value for o in found.objectives},
        "best": {found.shown(o): found.winners(o.metric.value) for o in found.objectives},
        "studies": studies,
        "common_tasks": found.tasks,
        "decisions": {
            name: dict(zip(names, values, strict=True)) for name, values in found.decisions.items()
        },
        "notes": found.notes,
    }


def comparison_tables(found: Comparison) -> list[tuple[Title, list[str], Rows]]:
    """Title, head and rows of each table."""
    metrics = [goal.metric.value for goal in found.objectives]
    tables = [_at_the_end(found, metrics), _on_the_way(found, metrics)]
    if found.tasks:
        tables.append(_tuned(found))
    if found.decisions:
        tables.append(_decided(found))
    return tables


def _at_the_end(found: Comparison, metrics: list[str]) -> tuple[Title, list[str], Rows]:
    from compiler_core.accuracy.metric import shown_name
    from nest_tune.study.proposals.evidence import interval_text

    several = len(metrics) > 1
    shown = [found.shown(goal) for goal in found.objectives]
    head = ["study", "sampler", "seed", *(f"best {name}" for name in shown)]
    head += ["hypervolume"] if several else []
    head += ["feasible", "front", "chosen", "work s"]
    rows = []
    columns = {}
    for name in metrics:
        best_ones = [contender.checkpoints[-1].best.get(name) for contender in found.contenders]
        values = [None if best is None else best.value for best in best_ones]
        columns[name] = figures(values, shown_name(name, found.metric))
    for number, contender in enumerate(found.contenders):
        last = contender.checkpoints[-1]
        row = [contender.name, contender.sampler, str(contender.seed)]
        for name in metrics:
            best = last.best.get(name)
            mark = " *" if contender.name in found.winners(name) else ""
            ends = "" if best is None else interval_text(best.interval)
            if best is None:
                row.append("none")
                continue
            value = f"{columns[name][number]} {ends}".rstrip()
            row.append(f"{value} in {best.trial}{mark}")
        if several:
            row.append("" if last.hypervolume is None else f"{last.hypervolume:.4f}")
        chosen = "none" if contender.chosen is None else str(contender.chosen.number)
        row += [str(contender.feasible), str(len(contender.front)), chosen]
        row.append(f"{contender.work_s:.1f}")
        rows.append(row)
    return f"after {found.trials} trials each (value in its trial, * best)", head, rows


def _on_the_way(found: Comparison, metrics: list[str]) -> tuple[Title, list[str], Rows]:
    from compiler_core.accuracy.metric import shown_name

    steps = [str(step.trials) for step in found.contenders[0].checkpoints]
    rows = []
    for name in [*metrics, *(["hypervolume"] if len(metrics) > 1 else [])]:
        for contender in found.contenders:
            row = [shown_name(name, found.metric), contender.name]
            for at in contender.checkpoints:
                if name == "hypervolume":
                    row.append("" if at.hypervolume is None else f"{at.hypervolume:.4f}")
                else:
                    best = at.best.get(name)
                    shown = shown_name(name, found.metric)
                    row.append("none" if best is None else figure(best.value, shown))
            rows.append(row)
    return "best so far, by number of trials", ["metric", "study", *steps], rows


def _tuned(found: Comparison) -> tuple[Title, list[str], Rows]:
    rows = [
        [c.name, f"{c.task_cycles:,}", f"{c.measurements:,}", str(c.known_records)]
        for c in found.contenders
    ]
    head = ["study", "cycles", "measurements", "records at its start"]
    return f"the {found.tasks} tasks that all have tuned", head, rows


def _decided(found: Comparison) -> tuple[Title, list[str], Rows]:
    head = ["decision", *(contender.name for contender in found.contenders)]
    shown = list(found.decisions.items())[:_MOST_DECISIONS]
    rows = [[name, *("" if v is None else v for v in values)] for name, values in shown]
    if left := len(found.decisions) - len(shown):
        rows.append([f"and {left} more", *("" for _ in found.contenders)])
    return "decisions in which the chosen trials differ", head, rows


def _print(found: Comparison) -> None:
    from rich.table import Column, Table
    from rich.text import Text

    out = console()
    for number, (title, head, rows) in enumerate(comparison_tables(found)):
        if number:
            out.print("")
        out.print(f"{title}:")
        table = Table(*(Column(Text(word)) for word in head), box=None)
        for row in rows:
            table.add_row(*map(Text, row))
        print_table(table, out=out)
    if not found.decisions:
        out.print("the chosen trials decide alike")
    for note in found.notes:
        out.print(f"note: {note}", soft_wrap=True)


def _markdown(found: Comparison) -> str:
    names = " against ".join(cell(contender.name) for contender in found.contenders)
    lines = [f"### {names}"]
    for title, head, rows in comparison_tables(found):
        lines += ["", cell(title[:1].upper() + title[1:]), ""]
        lines.append(f"| {' | '.join(map(cell, head))} |")
        lines.append(f"|---|{'---:|' * (len(head) - 1)}")
        lines += [f"| {' | '.join(map(cell, row))} |" for row in rows]
    if not found.decisions:
        lines += ["", "The chosen trials decide alike."]
    for note in found.notes:
        lines += ["", f"Note: {cell(note)}."]
    return "\n".join(lines)
