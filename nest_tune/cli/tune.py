"""``nest-tune task tune``: the best schedule of one task."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.files.whole_file import require_writable, write_atomically
from nest_tune.cli.completion import schedule_samplers
from nest_tune.cli.options import AsJson, CmsisNn, RecordStorage, TargetName
from nest_tune.cli.output import console, print_json
from nest_tune.figures import percent
from nest_tune.samplers.registry import DEFAULT_SAMPLER
from nest_tune.study.request.durations import parse_timeout
from nest_tune.study.request.settings import DEFAULT_STORAGE
from nest_tune.terminal import visible_console

if TYPE_CHECKING:
    from compiler_core.targets.task_target import TaskTarget
    from nest_tune.tuning.task_search import TaskResult, TaskSearch

EXAMPLE = "Example: nest-tune task tune conv2d-0123456789abcdef --target vta --trials 64"


def tune(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK", help="Id of a task, its beginning, or a .json file; @UNIT behind it."
        ),
    ],
    target: TargetName,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="S",
            autocompletion=schedule_samplers,
            help="xgb, tpe, nsga2, random, exhaustive or a plug-in's; default xgb.",
        ),
    ] = None,
    trials: Annotated[
        int, typer.Option(min=1, help="Schedules, those that records know included.")
    ] = 128,
    timeout: Annotated[
        str | None, typer.Option(metavar="90s", help="Wall time, as 90s, 10m or 2h.")
    ] = None,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Search on until the best is proven the optimum.")
    ] = False,
    anneal: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Then time N orders of instructions, where a depthwise layer stays on chip.",
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Worker processes.")] = 1,
    storage: RecordStorage = DEFAULT_STORAGE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Best schedule as TOML.")
    ] = None,
    cmsis_nn: CmsisNn = None,  # noqa: ARG001
    as_json: AsJson = False,
) -> None:
    """Tune one task: best schedule, its cycles, and how it was found."""
    require_writable(output, "--output")
    limit = parse_timeout(timeout, "--timeout")

    from compiler_core.targets.task_target import load_task_target
    from nest_tune.api.tasks import tune_task

    chip = load_task_target(target)
    began = time.monotonic()
    with shown_progress(None if exhaustive else trials) as progress:
        result = tune_task(
            task,
            chip,
            sampler=sampler or DEFAULT_SAMPLER,
            trials=trials,
            timeout_s=limit,
            exhaustive=exhaustive,
            anneal=anneal,
            seed=seed,
            jobs=jobs,
            storage=storage,
            progress=progress,
        )
    if anneal and not result.annealed:
        from compiler_core.targets.unit_tasks import find_unit
        from nest_tune.tuning.tune import program_obstacles

        machine = find_unit(task, result.task, chip).machine
        for reason in program_obstacles(result.task, machine)[:1]:
            print(f"nothing annealed: {reason}", file=sys.stderr)
    if output is not None:
        text = _toml(result)
        write_atomically(output, lambda stream: stream.write(text.encode()))
    wall_s = time.monotonic() - began
    if as_json:
        print_json("task-tune", _document(result, chip, wall_s, exhaustive))
        return
    _print(result, wall_s)


@contextmanager
def shown_progress(trials: int | None) -> Iterator[Callable[[TaskSearch], None]]:
    """A bar on a terminal's standard error, else one line per batch."""
    if not sys.stderr.isatty() or os.environ.get("CI"):
        yield _plain_line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeElapsedColumn(), console=visible_console(stderr=True), transient=True
    ) as bar:
        number = bar.add_task("measuring", total=trials)

        def update(search: TaskSearch) -> None:
            description = _state(search)
            if search.annealed:
                description += f", {search.annealed:,} programs"
            bar.update(number, completed=search.spent, description=description)

        yield update


def _plain_line(search: TaskSearch) -> None:
    done = f"{search.spent} schedules"
    if search.annealed:
        done += f", {search.annealed} programs"
    print(f"{done}: {_state(search)}", file=sys.stderr)


def _state(search: TaskSearch) -> str:
    from compiler_core.units.registry import kind_of_machine

    best, bound = search.best_cycles, search.bound_cycles
    gain = 1 - best / search.default_cycles if search.default_cycles else 0.0
    counted = kind_of_machine(search.machine).counted
    return (
        f"best {best:,} {counted}, {percent(gain)} less than untuned; lower bound {bound:,} "
        f"({percent(bound / best)})"
    )


def _document(
    result: TaskResult, chip: TaskTarget, wall_s: float, exhaustive: bool
) -> dict[str, Any]:
    from compiler_core.files.plain import to_plain

    document = {
        "task": result.task.id,
        "target": chip.name,
        "shape": result.task.workload.shape,
        "best_cycles": result.best_cycles,
        "default_cycles": result.default_cycles,
        "bound_cycles": result.bound_cycles,
        "measurements": result.measurements,
        "annealed_programs": result.annealed,
        "known_records": result.known,
        "history": list(result.history),
        "outcomes": {outcome.value: count for outcome, count in result.outcomes.items()},
        "least_cycles": result.least_cycles,
        "proven_optimal": result.proven,
        "wall_s": wall_s,
        "schedule": to_plain(result.best),
    }
    if exhaustive:
        document["optimum_cycles"] = result.best_cycles if result.proven else None
    return document


def _print(result: TaskResult, wall_s: float) -> None:
    from compiler_core.units.registry import unit_kind

    out = console()
    out.print(
        f"{result.task.id}: {result.best_cycles:,} {unit_kind(result.task.unit).counted}, "
        f"{percent(1 - result.best_cycles / result.default_cycles)} less than untuned "
        f"({result.default_cycles:,}), bound {result.bound_cycles:,} "
        f"({percent(result.bound_cycles / result.best_cycles)})"
    )
    proof = ""
    if result.proven:
        proof = "; no schedule is better"
    elif result.least_cycles > result.bound_cycles:
        gap = result.best_cycles / result.least_cycles - 1
        proof = f"; at most {percent(gap, 2)} above the best of all schedules"
    annealed = f", {result.annealed} programs annealed" if result.annealed else ""
    out.print(
        f"{result.measurements:,} measurements, {result.known:,} known before{annealed}, "
        f"{wall_s:.1f} s{proof}"
    )
    for line in _toml(result).splitlines():
        out.print(f"  {line}")


def _toml(result: TaskResult) -> str:
    from compiler_core.files.plain import to_plain
    from compiler_core.files.toml_file import toml_text

    return toml_text(to_plain(result.best))
