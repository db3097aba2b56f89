"""``nest-tune space``: parameters, domains, sizes, and what each rule prunes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nest_tune.api.asked import SpaceSettings
from nest_tune.cli.counts import plain_count, shown_count
from nest_tune.cli.options import (
    AsJson,
    FixedInputs,
    ModelFile,
    TargetName,
    fixed_model,
)
from nest_tune.cli.output import console, print_json
from nest_tune.cli.setting_options import takes
from nest_tune.cli.tables import print_table

if TYPE_CHECKING:
    from nest_tune.api.spaces import TaskSpaceOf
    from search_spaces.parameter import Parameter

app = typer.Typer(
    name="space",
    help="The search spaces of a model: what can be decided.",
    epilog="Example: nest-tune space show resnet8.onnx --target vta",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help answers in half the time
)


@app.callback()
def _space() -> None:
    """Keeps ``show`` a command of its own."""


@app.command(epilog="Example: nest-tune space show resnet8.onnx --target vta --task conv2d-1a2b3c")
@takes(SpaceSettings)
def show(
    model: ModelFile,
    target: TargetName,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="Id of a task: its tiling space.")
    ] = None,
    fix_input: FixedInputs = None,
    *,
    asked: SpaceSettings,
    as_json: AsJson = False,
) -> None:
    """Show the joint space of a model, or the tiling space of one of its tasks."""
    model = fixed_model(model, fix_input)

    from compiler_core.targets.task_target import SourceTarget, load_task_target
    from nest_tune.api.spaces import space, task_space

    if task is not None and isinstance(chip := load_task_target(target), SourceTarget):
        _show_task(task_space(task, chip), as_json)
        return
    found = space(model, target, **asked)
    if task is not None:
        _show_task(task_space(task, target, among=found.tasks), as_json)
        return
    if as_json:
        body = {
            "model": str(model),
            "target": found.target,
            "digest": found.joint.digest,
            "parameters": [_parameter(p) for p in found.joint.parameters],
            "outer_size": str(plain_count(found.joint.product_size)),
            "tasks": [{"id": name, "size": str(size)} for name, size in found.task_sizes.items()],
        }
        print_json("space", body)
        return
    out = console()
    print_table(_table(found.joint.parameters), out=out)
    out.print(f"outer space: {shown_count(found.joint.product_size)} points (scheme × plan)")
    for name, size in found.task_sizes.items():
        out.print(f"tiling of {name}: {shown_count(size)} points before rules")
    out.print(f"all together: {shown_count(found.size)} points; tilings are searched task by task")


def _show_task(found: TaskSpaceOf, as_json: bool) -> None:
    task, space = found.task, found.space
    pruning = space.pruning()
    if as_json:
        body = {
            "task": task.id,
            "shape": task.workload.shape,
            "digest": space.digest,
            "parameters": [_parameter(p) for p in space.parameters],
            "product_size": space.product_size,
            "size": space.size,
            "pruned": [
                {"rule": count.rule, "removed": count.removed, "left": count.left}
                for count in pruning
            ],
        }
        print_json("space", body)
        return
    from rich.table import Table

    out = console()
    out.print(f"task {task.id}: {task.workload.shape}")
    print_table(_table(space.parameters), out=out)
    table = Table("rule", "removes", "left", box=None)
    table.add_row("all points", "", f"{space.product_size:,}")
    for count in pruning:
        table.add_row(count.rule, f"{count.removed:,}", f"{count.left:,}")
    print_table(table, out=out)


def _table(parameters: tuple[Parameter, ...]) -> Any:
    from rich.table import Table

    table = Table("parameter", "values", "ordered", "domain", box=None)
    for parameter in parameters:
        shown = _parameter(parameter)["values"]
        text = ", ".join(map(str, shown[:12])) + (", …" if len(shown) > 12 else "")
        table.add_row(parameter.name, str(len(parameter)), "yes" if parameter.ordered else "", text)
    return table


def _parameter(parameter: Parameter) -> dict[str, Any]:
    from compiler_core.files.plain import to_plain

    return {
        "name": parameter.name,
        "ordered": parameter.ordered,
        "values": [to_plain(value) for value in parameter.values],
    }
