"""What a study found, on a terminal: its trials as a table, its front, and what was chosen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nest_tune.cli.output import console
from nest_tune.cli.tables import print_table
from nest_tune.study.request.goals import TrialMetric
from nest_tune.study_command import study_command

if TYPE_CHECKING:
    from rich.table import Table

    from nest_tune.study.store.result import StudyResult
    from nest_tune.study.trial import OuterTrial

_MOST_DECISIONS = 12
"""Of the chosen trial that a summary tells."""
_MOST_TWINS = 8
"""Trials with the same figures that a summary names."""


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
    columns = [metric_texts(trials, name, metric) for name in names]
    for at, trial in enumerate(trials):
        note = "" if trial.settled else f"{accuracy} on {trial.accuracy_samples} samples"
        if chosen is not None and trial.number == chosen.number:
            note = "chosen"
        if with_outcome and not trial.outcome.is_measured:
            note = trial.message
        cells = [column[at] for column in columns]
        middle = [trial.outcome.value] if with_outcome else []
        table.add_row(str(trial.number), *middle, *cells, note)
    return table


def metric_text(trial: OuterTrial, name: str, metric: str) -> str:
    """A figure of a trial, with its interval where it has one; ``metric`` is what its accuracy
    is."""
    return metric_texts([trial], name, metric)[0]


def metric_texts(trials: Sequence[OuterTrial], name: str, metric: str) -> list[str]:
    """The same of several trials, told apart by their digits."""
    from compiler_core.accuracy.metric import shown_name
    from nest_tune.figures import figures
    from nest_tune.study.proposals.evidence import interval_text

    shown = figures([trial.metrics.get(name) for trial in trials], shown_name(name, metric))
    ends = [interval_text(trial.intervals.get(name)) for trial in trials]
    return [" ".join(pair).rstrip() for pair in zip(shown, ends, strict=True)]


def print_first_failure(result: StudyResult, place: Sequence[str]) -> bool:
    """Says why nothing was measured, where every trial failed; whether that is so.

    Args:
        result: Of the study.
        place: Options of the command line that say where it is stored.
    """
    failed = result.first_failure
    if failed is None:
        return False
    out = console()
    out.print(
        f"every trial failed; the first, trial {failed.number} ({failed.outcome.value}): "
        f"{failed.message}",
        soft_wrap=True,
    )
    command = study_command("show", f"{result.study.name}:{failed.number}", *place)
    out.print(f"more of it: {command}", soft_wrap=True)
    return True


def print_result(
    result: StudyResult, chosen: OuterTrial | None, package: str | None, place: Sequence[str] = ()
) -> None:
    """Summary, front and chosen trial; ``place`` as for :func:`print_first_failure`."""
    from nest_tune.study.proposals.front import closest
    from nest_tune.study.store.ended import Ended
    from nest_tune.study.store.selection import decisions_of
    from nest_tune.study.trial import Outcome, outcomes_text
    from nest_tune.study.views.decisions import decisions_text
    from nest_tune.study.views.documents import (
        front_with,
        goals_text,
        instead_lines,
        limits_text,
    )

    out = console()
    ended = "" if result.ended is None else f"; {result.ended.sentence}"
    goals = ", ".join(goals_text(result.settings))
    limits = ", ".join(limits_text(result.settings))
    asked = f"{goals}, with {limits}" if limits else goals
    trials = f"{len(result.trials)} trials ({outcomes_text(result.trials)})"
    out.print(f"study {result.study.name}: {trials}{ended}", soft_wrap=True)
    out.print(f"asked for: {asked}", soft_wrap=True, markup=False)
    tasks = result.tasks.values()
    if tasks:
        spent = sum(task.measurements for task in tasks)
        proven = sum(task.cycles <= task.bound_cycles for task in tasks)
        bounds = f"; {proven} of them are at their lower bound"
        is_whole = result.ended in (Ended.EXHAUSTED, Ended.IDEAL)
        out.print(
            f"{len(tasks)} tasks tuned with {spent:,} measurements{bounds if is_whole else ''}"
        )
    default = result.default
    if default is not None:
        out.print("default:")
        print_trials(trials_table([default], result.settings.metric))
        if default.outcome is Outcome.CONSTRAINTS:
            out.print(
                f"the default breaks a limit: {default.message}", soft_wrap=True, markup=False
            )
    if chosen is None:
        if print_first_failure(result, place):
            return
        out.print(f"nothing is feasible ({limits or 'no trial was measured'}); the closest trials:")
        near = closest(result.trials, result.settings.limits, default)
        print_trials(trials_table(near, result.settings.metric, with_outcome=True))
        return
    out.print("front:")
    metric = result.settings.metric
    listed, twins = _told_apart(front_with(result, chosen), chosen, result.trials, metric)
    print_trials(trials_table(listed, result.settings.metric, chosen=chosen))
    for number, others in twins.items():
        names = ", ".join(str(other) for other in others[:_MOST_TWINS])
        if (left := len(others) - _MOST_TWINS) > 0:
            names = f"{names} and {left} more"
        out.print(f"the same figures as trial {number}: {names}", soft_wrap=True)
    text = decisions_text(
        decisions_of(result, chosen),
        _MOST_DECISIONS,
        study_command("show", f"{result.study.name}:{chosen.number}", *place),
    )
    out.print(f"chosen: trial {chosen.number}; against the default: {text}", soft_wrap=True)
    for line in instead_lines(result, chosen):
        out.print(line, soft_wrap=True)
    _print_gains(result, chosen)
    if package is not None:
        out.print(f"package: {_near(Path(package))}")


def _told_apart(
    trials: Sequence[OuterTrial], chosen: OuterTrial, others: Sequence[OuterTrial], metric: str
) -> tuple[list[OuterTrial], dict[int, list[int]]]:
    """Trials whose figures differ as they are shown, and the numbers of the others by the one that
    stands for them: the chosen one, or the first. Other trials that measure the same are among
    the numbers."""
    alike: dict[tuple[str, ...], list[OuterTrial]] = {}
    named = {trial.number for trial in trials}
    rest = [t for t in others if t.number not in named and t.outcome.is_measured]
    for trial in (*sorted(trials, key=lambda trial: trial.number != chosen.number), *rest):
        figures = tuple(metric_text(trial, m.value, metric) for m in TrialMetric)
        if trial.number in named or figures in alike:
            alike.setdefault(figures, []).append(trial)
    shown = {group[0].number for group in alike.values()}
    twins = {group[0].number: sorted(t.number for t in group[1:]) for group in alike.values()}
    kept = [trial for trial in trials if trial.number in shown]
    return kept, {number: others for number, others in twins.items() if others}


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
    from nest_tune.study.choice.gains import (
        accuracy_gain_text,
        doubts_of,
        gain_text,
        notes_of,
        warnings_of,
    )
    from nest_tune.study.views.documents import (
        change_documents,
        changed_choice,
        earlier_times,
        holdout_lines,
        noise_of,
        overdue_lines,
    )

    out = console()
    for line in holdout_lines(result, chosen):
        out.print(line, soft_wrap=True, markup=False)
    for reference, changes in change_documents(result, chosen).items():
        if chosen.number or reference != "default":
            noise = noise_of(result, chosen, reference)
            beside = f"{reference}{_costs_text(result, reference, changes)}"
            told = gain_text(changes, noise)
            if reference == "default" and result.default is not None:
                own = accuracy_gain_text(chosen, result.default, result.settings.metric)
                told = ", ".join(filter(None, (told, own)))
            out.print(f"against the {beside}: {told}", soft_wrap=True)
    warnings = warnings_of(chosen, result.default, result.settings.objectives)
    notes = notes_of(chosen, result.default, result.settings.objectives)
    for note in (*notes, *overdue_lines(result)):
        out.print(f"note: {note}", soft_wrap=True)
    for line in changed_choice(result, chosen):
        out.print(line, soft_wrap=True, markup=False)
    for warning in (*warnings, *doubts_of(result.trials), *earlier_times(result)):
        out.print(f"warning: {warning}", soft_wrap=True)


def _near(path: Path) -> Path:
    """A path from the working folder, where it is in there."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
