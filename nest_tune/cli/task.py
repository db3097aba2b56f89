"""``nest-tune task``: the tuning tasks of a model, and what one schedule of a task costs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nest_tune.cli import tune
from nest_tune.cli.options import (
    AsJson,
    CmsisNn,
    FixedInputs,
    ModelFile,
    Shapes,
    TargetName,
    fixed_model,
    parse_shapes,
)
from nest_tune.cli.output import print_json
from nest_tune.cli.tables import print_table
from nest_tune.figures import percent

if TYPE_CHECKING:
    from compiler_core.targets.target import Unit
    from compiler_core.targets.task_target import TaskTarget
    from compiler_core.tensor.task import Task
    from compiler_core.units.unit import TaskCost, TaskSchedule
    from nest_tune.api.tasks import ModelTask

_SHOWN_LAYERS = 3
"""Layers of a task that the table names; documents have all."""

app = typer.Typer(
    name="task",
    help="The tuning tasks of a model: shapes, cycles, lower bounds.",
    epilog="Example: nest-tune task list resnet8.onnx --target vta",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help answers in half the time
)

app.command("tune", epilog=tune.EXAMPLE)(tune.tune)


@app.command("list", epilog="Example: nest-tune task list resnet8.onnx --target vta --json")
def list_tasks(
    model: ModelFile,
    target: TargetName,
    config: Annotated[
        Path | None, typer.Option(metavar="best.toml", help="Configuration; else the default.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="calib.npz",
            help="Samples of the inputs; without, seeded noise, which may change a few ids.",
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NODE=int4", help="Of generated C: int4 or int16 for a layer; may be repeated."
        ),
    ] = None,
    shape: Shapes = None,
    fix_input: FixedInputs = None,
    cmsis_nn: CmsisNn = None,  # noqa: ARG001
    as_json: AsJson = False,
) -> None:
    """List the distinct tasks of a model with their untuned cycles, of generated C instructions."""
    model = fixed_model(model, fix_input)
    shapes = parse_shapes(shape)
    precisions = _precisions(precision or [])

    from compiler_core.configuration.configuration import read_configuration
    from compiler_core.targets.task_target import load_task_target
    from nest_tune.api.tasks import tasks

    chip = load_task_target(target)
    configuration = None if config is None else read_configuration(config)
    fixed = configuration is not None and configuration.scheme.exponents
    if calibration is None and not fixed:
        print(
            "no --calibration: ranges are those of seeded noise, so that some tasks may differ "
            "from those of the compiled model",
            file=sys.stderr,
        )
    found = tasks(
        model,
        chip,
        config=configuration,
        calibration=calibration,
        precisions=precisions,
        shapes=shapes,
    )
    rows = [_row(entry) for entry in found]
    if as_json:
        print_json("task-list", {"model": str(model), "target": chip.name, "tasks": rows})
        return
    _print_rows(rows)


def _precisions(given: list[str]) -> dict[str, str]:
    from compiler_core.errors import InputError

    found = {}
    for text in given:
        node, equals, said = text.rpartition("=")
        if not (node and equals and said):
            raise InputError(f"--precision {text!r}: NODE=int4 or NODE=int16 is needed")
        found[node] = said
    return found


def _row(entry: ModelTask) -> dict[str, Any]:
    from compiler_core.files.plain import to_plain
    from compiler_core.units.registry import unit_kind

    workload = entry.task.workload
    return {
        "counted": unit_kind(entry.task.unit).counted,
        "id": entry.id,
        "unit": entry.unit,
        "kind": entry.task.unit,
        "operator": workload.operator,
        "shape": entry.shape,
        "count": entry.count,
        "layers": list(entry.layers),
        "macs": workload.macs,
        "bound_cycles": entry.bound_cycles,
        "default_cycles": entry.default_cycles,
        "share_of_time": entry.share_of_time,
        "workload": to_plain(workload),
    }


def _print_rows(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None)
    table.add_column("task", no_wrap=True)
    table.add_column("operator", no_wrap=True)
    table.add_column("layers", overflow="fold")
    table.add_column("shape", overflow="fold")
    counted = rows[0]["counted"] if rows else "cycles"
    bound = f"bound {counted}"
    for title in ("count", "MACs", bound, f"default {counted}", "of bound", "share of time"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["id"],
            row["operator"],
            _layers_text(row["layers"]),
            row["shape"],
            str(row["count"]),
            f"{row['macs']:,}",
            f"{row['bound_cycles']:,}",
            f"{row['default_cycles']:,}",
            percent(row["bound_cycles"] / row["default_cycles"]),
            percent(row["share_of_time"]),
        )
    print_table(table, drop=("MACs", "operator", "shape", bound, "layers"))


def _layers_text(layers: list[str]) -> str:
    """The first layers that a task stands for, and how many more there are."""
    more = len(layers) - _SHOWN_LAYERS
    shown = ", ".join(layers[:_SHOWN_LAYERS])
    return f"{shown} and {more:,} more" if more > 0 else shown


@app.command(
    epilog="Example: nest-tune task measure conv2d-0123456789abcdef --target vta "
    "--schedule schedule.toml"
)
def measure(
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK", help="Id of a task, its beginning, or a .json file; @UNIT behind it."
        ),
    ],
    target: TargetName,
    schedule: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Keys of a schedule (TOML), or a whole configuration."),
    ],
    cmsis_nn: CmsisNn = None,  # noqa: ARG001
    as_json: AsJson = False,
) -> None:
    """Measure one given schedule of a task: cycles, bytes, utilization."""
    from compiler_core.targets.task_target import load_task_target
    from compiler_core.targets.unit_tasks import find_unit, task_id, task_suffix
    from compiler_core.tensor.choice import check_schedule
    from compiler_core.units.registry import kind_of_machine
    from nest_tune.stores.task_store import find

    chip = load_task_target(target)
    chosen = find(task_id(task))
    unit = find_unit(task, chosen, chip)
    name = chosen.id + task_suffix(chip, unit.name)
    given = _read_schedule(schedule, name)
    check_schedule(f"schedule of task {name}", chosen, given, unit.machine)
    cost = kind_of_machine(unit.machine).tasks.measure(chosen.workload, given, unit.machine)
    document = _measurement(chosen, given, cost, chip, unit)
    if as_json:
        print_json("task-measure", document)
        return
    counted = kind_of_machine(unit.machine).counted
    print(
        f"{name}: {cost.cycles:,} {counted}, bound {document['bound_cycles']:,} "
        f"({percent(document['utilization'])}), {document['dram_bytes']:,} DRAM bytes"
    )


def _read_schedule(path: Path, task: str) -> TaskSchedule:
    from compiler_core.configuration.configuration import (
        CONFIGURATION_SCHEMA,
        read_configuration_document,
        read_schedule,
    )
    from compiler_core.errors import InputError
    from compiler_core.files.toml_file import read_toml

    document = read_toml(path)
    if document.get("schema") != CONFIGURATION_SCHEMA:
        given: TaskSchedule = read_schedule(task, document, str(path))
        return given
    schedules = read_configuration_document(document, str(path)).schedules
    if task not in schedules:
        raise InputError(f"{path}: no schedule for task {task}")
    found: TaskSchedule = schedules[task]
    return found


def _measurement(
    task: Task, schedule: TaskSchedule, cost: TaskCost, chip: TaskTarget, unit: Unit
) -> dict[str, Any]:
    from compiler_core.files.plain import to_plain
    from compiler_core.units.registry import kind_of_machine

    bound = kind_of_machine(unit.machine).tasks.bound(task.workload, unit.machine)
    return {
        "task": task.id,
        "unit": unit.name,
        "target": chip.name,
        "operator": task.workload.operator,
        "shape": task.workload.shape,
        "cycles": cost.cycles,
        "bound_cycles": bound.cycles,
        "utilization": bound.cycles / cost.cycles,
        "limited_by": bound.limited_by,
        "energy_mj": (cost.energy_pj or 0.0) * 1e-9,
        "dram_bytes": cost.dram_bytes,
        "bytes": dict(cost.moved_bytes),
        "modules": {name: dict(account) for name, account in cost.modules.items()},
        "schedule": to_plain(schedule),
    }
