"""``nest-tune space``: parameters, domains, sizes, and what each rule prunes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nest_tune.cli.options import AsJson, ModelFile, Shapes, TargetName, parse_shapes
from nest_tune.cli.output import console, print_json

if TYPE_CHECKING:
    from compiler_core.targets.target import Target
    from compiler_core.tensor.task import Task
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
def show(
    model: ModelFile,
    target: TargetName,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="Id of a task: its tiling space.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="calib.npz", help="Samples; without, seeded noise stands in."),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(metavar="plan.toml", help="Fixes the partition.")
    ] = None,
    shape: Shapes = None,
    as_json: AsJson = False,
) -> None:
    """Show the joint space of a model, or the tiling space of one of its tasks."""
    shapes = parse_shapes(shape)

    from compiler_core.compile.compile import model_layers, model_tasks
    from compiler_core.compile.sources import (
        load_model,
        noise_samples,
        quantize_model,
        read_samples,
    )
    from compiler_core.configuration.configuration import Configuration
    from compiler_core.partition.configured import with_room
    from compiler_core.quantize.arithmetic import arithmetic_of
    from compiler_core.targets.load import load_npu_target
    from nest_tune.stores.default_scheme import with_default_scheme
    from nest_tune.stores.profile_store import stored_profile
    from nest_tune.stores.task_store import find
    from nest_tune.study.proposals.outer_space import FIRST_SCHEME, make_space

    chip = load_npu_target(target)
    source = load_model(model, shapes)
    known = arithmetic_of(chip.npu)
    asked, default = with_room(Configuration(), source, chip), FIRST_SCHEME
    if calibration is None:
        quantized = quantize_model(source, asked, noise_samples(source.graph), arithmetic=known)
    else:
        profile = stored_profile(source.graph, read_samples(calibration, source.graph))
        asked = with_default_scheme(asked, source, profile, arithmetic=known)
        default = asked.scheme.quantization()
        quantized = quantize_model(source, asked, profile, arithmetic=known)
    tasks = model_tasks(model_layers(quantized.quantized, chip.npu))
    if task is not None:
        matching = [found for name, found in tasks.items() if name.startswith(task)]
        _show_task(matching[0] if len(matching) == 1 else find(task), chip, as_json)
        return
    space = make_space(source.graph, chip, plan=plan, default=default)
    tilings = {name: _tiling_size(found, chip) for name, found in tasks.items()}
    if as_json:
        body = {
            "model": str(model),
            "target": chip.name,
            "digest": space.digest,
            "parameters": [_parameter(p) for p in space.parameters],
            "outer_size": str(space.product_size),
            "tasks": [{"id": name, "size": str(size)} for name, size in tilings.items()],
        }
        print_json("space", body)
        return
    out = console()
    out.print(_table(space.parameters))
    out.print(f"outer space: {_number(space.product_size)} points (scheme × plan)")
    for name, size in tilings.items():
        out.print(f"tiling of {name}: {_number(size)} points before rules")
    whole = space.product_size
    for size in tilings.values():
        whole *= size
    out.print(f"all together: {_number(whole)} points; tilings are searched task by task")


def _tiling_size(task: Task, chip: Target) -> int:
    from search_spaces.task_space import task_space

    return task_space(task.workload, chip.npu).product_size


def _show_task(task: Task, chip: Target, as_json: bool) -> None:
    from search_spaces.task_space import task_space

    space = task_space(task.workload, chip.npu)
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
    out.print(_table(space.parameters))
    table = Table("rule", "removes", "left", box=None)
    table.add_row("all points", "", f"{space.product_size:,}")
    for count in pruning:
        table.add_row(count.rule, f"{count.removed:,}", f"{count.left:,}")
    out.print(table)


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


def _number(count: int) -> str:
    return f"{count:,}" if count < 10**12 else f"{count:.3g}"
