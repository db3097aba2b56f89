"""What ``nest-tune plan`` says of a plan: JSON documents and tables for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nest_tune.cli.output import launches_text, say
from nest_tune.cli.tables import print_table
from nest_tune.figures import change, figure, figures, percent

if TYPE_CHECKING:
    from compiler_core.partition.best import BestPlan
    from compiler_core.partition.evaluate import Evaluation, Evaluator
    from nest_tune.api.planned_models import PlannedModel


def plan_document(found: PlannedModel) -> dict[str, Any]:
    """A plan: totals, critical path, groups."""
    from compiler_core.partition.perfetto import describe
    from compiler_core.partition.resolve import plan_of

    evaluator, evaluation = found.evaluator, found.evaluation
    model, target = found.model, found.target
    groups, places = evaluator.groups.groups, evaluator.costs.places
    names = [places[number].name for number in evaluation.placement]
    path = evaluation.timeline.critical_path()
    return {
        "model": {"name": model.name, "digest": model.digest},
        "target": {"name": target.name, "digest": target.digest},
        "deterministic": found.deterministic,
        "latency_ms": evaluation.latency_ms,
        "sequential_ms": evaluation.sequential_ps / 1e9,
        "energy_mj": evaluation.energy_mj,
        "npu_cycles": evaluation.npu_cycles,
        "launches": evaluation.launches,
        "dram_read_bytes": evaluation.read_bytes,
        "dram_write_bytes": evaluation.write_bytes,
        "dram_peak_bytes": evaluation.dram_peak_bytes,
        "critical_path": [describe(evaluator, evaluation.jobs[job]) for job in path],
        "digest": plan_of(evaluation.placement, evaluator.groups, places).digest,
        "units": {group.name: names[group.index] for group in groups},
        "groups": [
            {
                "name": group.name,
                "operator": group.operator,
                "nodes": list(group.nodes),
                "unit": names[group.index],
                "cpu_ms": evaluator.costs.groups[group.index].cpu.run_ps / 1e9,
                **_unit_figures(evaluator, group.index),
            }
            for group in groups
        ],
    }


def best_document(evaluator: Evaluator, found: BestPlan, output: Path | None) -> dict[str, Any]:
    """What a search adds to the document of its plan."""
    optimum = found.optimum
    names = evaluator.groups.groups
    return {
        "latency_ms": found.evaluation.latency_ms,
        "bound_ms": optimum.bound_ps / 1e9,
        "optimality_gap": optimum.gap,
        "bound_any_overlap_ms": found.bound_ps / 1e9,
        "baselines": {name: item.latency_ms for name, item in found.baselines.items()},
        "best_sequential_ms": found.sequential.sequential_ps / 1e9,
        "left_on_cpu": {names[g].name: reason for g, reason in found.left_on_cpu.items()},
        "search": {
            "modules": optimum.modules,
            "enumerated": optimum.enumerated,
            "evaluations": optimum.evaluations,
            "seconds": round(optimum.seconds, 3),
        },
        "plan": None if output is None else str(output),
    }


def print_groups(evaluator: Evaluator, evaluation: Evaluation) -> None:
    """A line per group."""
    from rich.table import Table
    from rich.text import Text

    from compiler_core.units.names import CPU

    places = evaluator.costs.places
    columns = [place for place in range(1, len(places)) if places[place].way.is_searched]
    units = [places[places.whole(unit)].name for unit in places.units]

    table = Table(box=None)
    for title in ("group", "operator", "unit"):
        table.add_column(title, overflow="fold")
    for title in (CPU, *(places[place].name for place in columns)):
        table.add_column(f"{title} ms", justify="right", no_wrap=True)
    for name in units:
        table.add_column(f"why not {name}", overflow="fold")
    for group in evaluator.groups.groups:
        times = [_place_ms(evaluator, group.index, place) for place in columns]
        reasons = evaluator.costs.groups[group.index].reasons
        table.add_row(
            Text(group.name),
            group.operator + (f" +{len(group.nodes) - 1}" if len(group.nodes) > 1 else ""),
            places[evaluation.placement[group.index]].name,
            f"{evaluator.costs.groups[group.index].cpu.run_ps / 1e9:.3f}",
            *("" if time is None else f"{time:.3f}" for time in times),
            *(Text(reasons.get(unit, "")) for unit in places.units),
        )
    print_table(table)


def print_totals(evaluator: Evaluator, evaluation: Evaluation) -> None:
    """Latency, energy, DRAM, critical path."""
    from compiler_core.partition.perfetto import describe

    path = evaluation.timeline.critical_path()
    longest = sorted(
        path, key=lambda t: evaluation.timeline.start_ps[t] - evaluation.timeline.end_ps[t]
    )
    named = ", ".join(describe(evaluator, evaluation.jobs[job]) for job in longest[:5])
    for label, value in (
        (
            "latency",
            f"{evaluation.latency_ms:.3f} ms "
            f"({evaluation.sequential_ps / 1e9:.3f} ms one thing after another, each program "
            "launched once)",
        ),
        ("energy", f"{evaluation.energy_mj:.3f} mJ"),
        ("NPU", f"{evaluation.npu_cycles:,} cycles in {launches_text(evaluation.launches)}"),
        (
            "DRAM",
            f"{evaluation.read_bytes:,} bytes read, {evaluation.write_bytes:,} written, "
            f"{evaluation.dram_peak_bytes:,} at the peak, programs aside",
        ),
        ("critical", f"{len(path)} steps; the longest: {named}"),
    ):
        say(f"{label:<10} {value}")


def print_best(found: BestPlan) -> None:
    """The optimum beside the baselines."""
    optimum, latency = found.optimum, found.evaluation.latency_ps
    aside = ""
    if found.bound_ps < optimum.bound_ps:
        most = 1.0 - found.bound_ps / latency
        aside = f" by the cost tables ({percent(most, 2)} however layers overlap)"
    print(
        f"{'optimum':<10} {figure(latency / 1e9, 'latency_ms')} ms, at most "
        f"{percent(optimum.gap, 2)} from the best there can be{aside}; "
        f"{optimum.evaluations:,} evaluations in {optimum.seconds:.2f} s"
    )
    if optimum.enumerated < optimum.modules:
        print(
            f"{'':<10} {optimum.enumerated} of {optimum.modules} parts of the model were searched "
            "completely, the others until a budget of placements was spent"
        )
    times = {name: item.latency_ps for name, item in found.baselines.items()}
    times["best_sequential"] = found.sequential.sequential_ps
    shown = figures([time / 1e9 for time in (latency, *times.values())], "latency_ms")[1:]
    for (name, time), text in zip(times.items(), shown, strict=True):
        say(f"{name:<16} {text:>12} ms  {change(time / latency - 1 if latency else 0.0, 2)}")


def _unit_figures(evaluator: Evaluator, group: int) -> dict[str, Any]:
    """Times of a group at each place that searches try, and why it cannot run on a unit.

    Those of the first unit also stand under the keys that they have on targets with one.
    """
    places, cost = evaluator.costs.places, evaluator.costs.groups[group]
    first = places.of_unit(places.units[0])
    searched = [place for place in range(1, len(places)) if places[place].way.is_searched]
    cut = [place for place in first if place in searched and places[place].is_cut]
    name = places[first[0]].name
    return {
        f"{name}_ms": _place_ms(evaluator, group, first[0]),
        "sliced_ms": _place_ms(evaluator, group, cut[0]) if cut else None,
        f"{name}_reason": cost.reasons.get(places.units[0]),
        "places_ms": {places[at].name: _place_ms(evaluator, group, at) for at in searched},
        "reasons": {
            places[places.whole(unit)].name: reason for unit, reason in cost.reasons.items()
        },
    }


def _place_ms(evaluator: Evaluator, group: int, place: int) -> float | None:
    """Time of a group at a place with its launches; ``None`` where it cannot run there."""
    from compiler_core.partition.baselines import place_time_ps

    if place not in evaluator.costs.groups[group].at:
        return None
    return place_time_ps(evaluator, group, place) / 1e9
