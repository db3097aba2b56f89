"""``nest-tune target``: hardware descriptions, listed, shown and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nest_tune.cli.completion import target_names
from nest_tune.cli.options import AsJson
from nest_tune.cli.output import console, print_json

if TYPE_CHECKING:
    from compiler_core.targets.target import Quantity, Target, TargetDescription
    from compiler_core.targets.unit_table import Figure

app = typer.Typer(
    name="target",
    help="Hardware descriptions, listed, shown and checked.",
    epilog="Example: nest-tune target show vta-pynq",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help answers in half the time
)


@app.command("list", epilog="Example: nest-tune target list")
def list_targets(as_json: AsJson = False) -> None:
    """List the targets that come with nest-tune."""
    from compiler_core.targets.load import bundled_targets, load_target

    targets = [load_target(name) for name in bundled_targets()]
    if as_json:
        print_json("target-list", {"targets": [_summary(target) for target in targets]})
        return
    from rich.table import Table

    texts = [{figure.title: figure.text for figure in _figures(target)} for target in targets]
    titles = list(dict.fromkeys(title for known in texts for title in known))
    table = Table("target", "cores", "clock", *titles, "CPU", "what", box=None)
    for target, known in zip(targets, texts, strict=True):
        table.add_row(
            target.name,
            str(target.npu_cores),
            f"{target.npu.clock_hz / 1e6:g} MHz",
            *(known.get(title, "") for title in titles),
            target.cpu.name,
            target.description,
        )
    console().print(table)


@app.command(epilog="Example: nest-tune target show vta-pynq --json")
def show(
    target: Annotated[
        str,
        typer.Argument(
            help="Name of a target, or path of a .toml file.", autocompletion=target_names
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Show a target, resolved, with unit and origin of each number."""
    from compiler_core.targets.load import load_description

    description = load_description(target)
    if as_json:
        print_json("target-show", _document(description))
        return
    _print_description(description)


@app.command(epilog="Example: nest-tune target check my-soc.toml")
def check(
    file: Annotated[
        str,
        typer.Argument(
            help="Path of a .toml file, or name of a target.", autocompletion=target_names
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Check a target description; exit 2 says what is wrong with it."""
    from compiler_core.targets.load import load_description

    description = load_description(file)
    target = description.target
    if as_json:
        print_json("target-check", {"ok": True, **_summary(target)})
        return
    origins = _origin_counts(description)
    counts = ", ".join(f"{count} {kind}" for kind, count in origins.items())
    print(f"{target.name}: correct, {len(description.quantities)} numbers ({counts})")
    print(f"digest {target.digest}")


def _print_description(description: TargetDescription) -> None:
    from rich.table import Table
    from rich.text import Text

    target = description.target
    out = console()
    out.print(Text(f"{target.name}: {target.description}", style="bold"))
    out.print(f"resolved from  {' <- '.join(description.lineage)}")
    for figure in _figures(target):
        out.print(f"{figure.title:<14} {figure.text}")
    out.print(f"CPU            {target.cpu.name}")
    out.print(f"launch         {target.launch_overhead_s * 1e6:.1f} µs of CPU time each")
    out.print(f"digest         {target.digest}")
    styles = {"measured": "green", "extrapolated": "yellow", "assumed": "red"}
    table = Table(box=None)
    for title, justify in (("key", "left"), ("value", "right"), ("unit", "left")):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("origin", no_wrap=True)
    table.add_column("stated by", no_wrap=True)
    table.add_column("source", overflow="fold")
    for quantity in description.quantities:
        kind = quantity.origin.kind.value
        table.add_row(
            quantity.key,
            _number(quantity),
            quantity.unit,
            Text(kind, style=styles[kind]),
            quantity.origin.stated_by,
            Text(quantity.origin.source),
        )
    out.print()
    out.print(table)


def _number(quantity: Quantity) -> str:
    if quantity.unit == "Hz":
        return f"{quantity.value:,.0f}"
    return f"{quantity.value:g}" if isinstance(quantity.value, float) else str(quantity.value)


def _origin_counts(description: TargetDescription) -> dict[str, int]:
    counts: dict[str, int] = {}
    for quantity in description.quantities:
        kind = quantity.origin.kind.value
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _figures(target: Target) -> tuple[Figure, ...]:
    from compiler_core.targets.unit_table import unit_table

    return unit_table(target.npu.kind).figures(target.npu)


def _summary(target: Target) -> dict[str, Any]:
    return {
        "name": target.name,
        "description": target.description,
        "npu": target.npu.kind,
        "npu_cores": target.npu_cores,
        "npu_clock_hz": target.npu.clock_hz,
        **{figure.key: figure.value for figure in _figures(target)},
        "cpu": target.cpu.name,
        "cpu_cores": target.cpu.cores,
        "cpu_clock_hz": target.cpu.clock_hz,
        "launch_overhead_us": target.launch_overhead_s * 1e6,
        "digest": target.digest,
    }


def _document(description: TargetDescription) -> dict[str, Any]:
    return {
        **_summary(description.target),
        "lineage": list(description.lineage),
        "quantities": [
            {
                "key": quantity.key,
                "value": quantity.value,
                "unit": quantity.unit,
                "origin": quantity.origin.kind.value,
                "source": quantity.origin.source,
                "stated_by": quantity.origin.stated_by,
            }
            for quantity in description.quantities
        ],
    }
