"""A plan as a table of comma-separated values: a line per group, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io

from compiler_core.files.visible import visible_lines
from compiler_core.partition.baselines import place_time_ps
from compiler_core.partition.evaluate import Evaluation, Evaluator
from compiler_core.targets.places import ON_CPU

_PS_PER_MS = 10**9


def plan_csv(evaluator: Evaluator, evaluation: Evaluation) -> str:
    """The groups of a plan: where each runs, when it begins and ends, how long it would take at
    each place that the search tries (empty where it cannot run), and why not on each unit."""
    places, groups = evaluator.costs.places, evaluator.groups.groups
    tried = [at for at, place in enumerate(places.all) if place.way.is_searched]
    units = {unit: places[places.whole(unit)].name for unit in places.units}
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        (
            *("group", "operator", "nodes", "place", "number_format", "start_ms", "end_ms"),
            *(f"{places[at].name}_ms" for at in tried),
            *(f"why_not_{name}" for name in units.values()),
        )
    )
    spans = _spans(evaluation)
    for group in groups:
        place = places[evaluation.placement[group.index]]
        cost = evaluator.costs.groups[group.index]
        times = [
            f"{place_time_ps(evaluator, group.index, at) / _PS_PER_MS:.9f}"
            if at == ON_CPU or at in cost.at
            else ""
            for at in tried
        ]
        start, end = (f"{at / _PS_PER_MS:.9f}" for at in spans.get(group.index, (0, 0)))
        reasons = [cost.reasons.get(unit, "") for unit in units]
        names = " ".join(group.nodes)
        writer.writerow(
            (
                *(group.name, group.operator, names, place.name, place.number),
                *(start, end, *times, *reasons),
            )
        )
    return visible_lines(stream.getvalue())


def _spans(evaluation: Evaluation) -> dict[int, tuple[int, int]]:
    """First start and last end of each group's own jobs, in picoseconds."""
    found: dict[int, tuple[int, int]] = {}
    for index, job in enumerate(evaluation.jobs):
        if job.kind.converts:
            continue
        start, end = evaluation.timeline.start_ps[index], evaluation.timeline.end_ps[index]
        before = found.get(job.subject, (start, end))
        found[job.subject] = min(before[0], start), max(before[1], end)
    return found
