"""``nest-tune study explain``: why a trial is as it is."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from nest_tune.cli.options import AsJson, CmsisNn
from nest_tune.cli.output import console, print_json, progress
from nest_tune.cli.study_app import app
from nest_tune.cli.study_options import (
    EffectCount,
    NameOfTrial,
    Pick,
    StorageUrl,
    open_storage,
    split_name,
)
from nest_tune.cli.tables import print_table
from nest_tune.figures import figure, figures
from nest_tune.study_command import study_command

if TYPE_CHECKING:
    from nest_tune.report.explain import Explanation
    from nest_tune.study.store.result import StudyResult

__all__ = ["app", "explain"]


@app.command(epilog="Example: nest-tune study explain resnet8-vta:12 --each-task")
def explain(
    name: NameOfTrial,
    each_task: Annotated[
        bool, typer.Option("--each-task", help="Also change the schedule of each task back.")
    ] = False,
    effects: EffectCount = None,
    pick: Pick = None,
    storage: StorageUrl = None,
    cmsis_nn: CmsisNn = None,  # noqa: ARG001
    as_json: AsJson = False,
) -> None:
    """Show what each decision is worth, which limits bind, and why layers are on the CPU.

    Each decision is changed back to the default alone and measured again, as trials are. What is
    measured is kept in the storage; Ctrl-C shows what is measured so far.
    """
    from nest_tune.report import explain as explaining
    from nest_tune.report.changes import read_count
    from nest_tune.study.store.result import load_result
    from nest_tune.study.store.selection import ground_of, selected
    from nest_tune.study.views.documents import shown_metrics, trial_document

    count = read_count(effects, "--effects")
    opened = open_storage(storage)
    study, number = split_name(name, opened)
    result = load_result(opened, opened.find(study))
    trial = selected(result, number, pick)
    ground = ground_of(result)
    found = explaining.explain(
        ground,
        result,
        trial,
        each_task=each_task,
        count=count,
        storage=opened,
        progress=progress,
    )
    if as_json and not found.interrupted:  # then the document says that
        default, metric = found.default, result.settings.metric
        body = {
            "study": study,
            "trial": trial_document(trial, metric),
            "default": None if default is None else trial_document(default, metric),
            "bound_ms": found.bound_ms,
            "effects": [
                {
                    **asdict(replace(effect, score=None)),
                    "metrics": shown_metrics(effect.metrics, metric),
                    "verdict": explaining.verdict(effect, trial, result).value,
                }
                for effect in found.effects
            ],
            "limits": [asdict(binding) for binding in found.bindings],
            "on_cpu": dict(found.on_cpu),
        }
        print_json("study-explain", body)
        return
    if not as_json:
        _print(found, result, name)
    if found.interrupted:
        progress("interrupted: what was measured is kept; the same command goes on")
        raise KeyboardInterrupt


def _print(found: Explanation, result: StudyResult, name: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from compiler_core.accuracy.metric import shown_name
    from nest_tune.report.explain import Verdict, asked_metrics, left_out_text, limit_text, verdict

    trial, out = found.trial, console()
    asked = asked_metrics(result.settings)
    usual = ["latency_ms", "energy_mj", "size_bytes", "accuracy"]
    names = [n for n in dict.fromkeys([*asked, *usual]) if n in trial.metrics]
    out.print(f"trial {trial.number} of {result.study.name}:")
    heads = [shown_name(name, result.settings.metric) for name in names]
    shown = list(zip(names, heads, strict=True))
    table = Table("", *heads, box=None)
    rows = {f"trial {trial.number}": trial.metrics}
    if found.default is not None:
        rows = {"default": found.default.metrics, **rows}
    columns = [figures([metrics.get(n) for metrics in rows.values()], h) for n, h in shown]
    for at, name in enumerate(rows):
        table.add_row(name, *(column[at] for column in columns))
    print_table(table, out=out)
    if found.bound_ms:
        out.print(
            f"with every program at its lower bound: {figure(found.bound_ms, 'latency_ms')} ms"
        )
    out.print("")
    out.print("changed back alone, measured (against the trial; better or worse than it):")
    table = Table("decision", "is", "default", "verdict", *heads, box=None)
    measured = [effect for effect in found.effects if not effect.left_out]
    for effect in measured:
        notes = [f"breaks {limit}" for limit in effect.breaks]
        if effect.untuned:
            notes.append(f"{effect.untuned} task{'s' if effect.untuned > 1 else ''} untuned")
        found_verdict = verdict(effect, trial, result)
        if found_verdict is not Verdict.BREAKS:  # said with the limit
            notes.insert(0, found_verdict.value)
        note = effect.message or ", ".join(notes)
        changes = [
            figure(effect.metrics[n] - trial.metrics[n], h, signed=True)
            if n in effect.metrics
            else ""
            for n, h in shown
        ]
        words = (effect.decision, effect.value, effect.default)
        table.add_row(*map(Text, (*words, note)), *changes)
    if measured:
        print_table(table, out=out)
    elif not found.effects:
        out.print("nothing: it is the default")
    left_out = left_out_text(found.effects, study_command("explain", name))
    if left_out:
        out.print(left_out, soft_wrap=True)
    better = [e for e in found.effects if verdict(e, trial, result) is Verdict.BETTER]
    for effect in better:
        out.print(
            f"trial {trial.number} is not the best that is known now: {effect.decision}="
            f"{effect.default} would be better",
            soft_wrap=True,
        )
    for binding in found.bindings:
        out.print(limit_text(binding, result), soft_wrap=True)
    if found.on_cpu:
        out.print("")
        out.print("on the CPU:")
        for node, reason in found.on_cpu.items():
            out.print(f"  {node}: {reason}", soft_wrap=True)
