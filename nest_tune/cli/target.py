"""``nest-tune target``: hardware descriptions, listed, shown and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nest_tune.cli.completion import target_names
from nest_tune.cli.options import AsJson
from nest_tune.cli.output import console, print_json
from nest_tune.cli.tables import print_table

if TYPE_CHECKING:
    from compiler_core.targets.target import Quantity, Target, TargetDescription, Unit
    from compiler_core.targets.unit_table import Figure
    from compiler_core.units.facets.bundles import BundleTarget

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
    from compiler_core.targets.load import bundled_targets, load_description
    from compiler_core.targets.this_machine import HOST
    from compiler_core.units.facets.bundles import bundle_targets
    from nest_tune.bundling import bundle_target

    descriptions = [load_description(name) for name in (*bundled_targets(), HOST)]
    boards = [bundle_target(name) for name in bundle_targets()]
    if as_json:
        summaries = [_summary(known) for known in descriptions]
        print_json("target-list", {"targets": [*summaries, *map(_board_summary, boards)]})
        return
    from rich.table import Table

    rows: list[tuple[Target, Unit | None, dict[str, str]]] = []
    for target in (known.target for known in descriptions):
        units = present_units(target)
        rows += [(target, unit, {f.title: f.text for f in _figures(unit)}) for unit in units]
        rows += [] if units else [(target, None, {})]
    titles = list(dict.fromkeys(title for _, _, known in rows for title in known))
    table = Table("target", "unit", "cores", "clock", *titles, "CPU", "what", box=None)
    last = ""
    for target, unit, known in rows:
        first = target.name != last
        last = target.name
        table.add_row(
            target.name if first else "",
            "" if unit is None else unit.name,
            "" if unit is None else str(unit.cores),
            "" if unit is None else f"{unit.machine.clock_hz / 1e6:,g} MHz",
            *(known.get(title, "") for title in titles),
            target.cpu.name if first else "",
            target.description if first else "",
        )
    out = console()
    print_table(table, out=out, drop=(*reversed(titles), "CPU"))
    sources = Table("generated C", "core", "clock", "flash", "RAM", "what", box=None)
    for board in boards:
        clock = "" if board.clock_hz is None else f"{board.clock_hz / 1e6:,g} MHz"
        sizes = [_kib(board.flash_bytes), _kib(board.ram_bytes)]
        sources.add_row(board.name, board.core, clock, *sizes, board.description)
    out.print()
    print_table(sources, out=out)


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
    from nest_tune.bundling import bundle_target, is_bundle_target

    if is_bundle_target(target):
        _show_board(bundle_target(target), as_json)
        return
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
    from nest_tune.bundling import bundle_target, is_bundle_target

    if is_bundle_target(file):
        board = bundle_target(file)
        if as_json:
            print_json("target-check", {"ok": True, **_board_summary(board)})
            return
        print(f"{board.name}: correct, generated C for {board.core}")
        return
    description = load_description(file)
    target = description.target
    if as_json:
        print_json("target-check", {"ok": True, **_summary(description)})
        return
    origins = _origin_counts(description)
    counts = ", ".join(f"{count} {kind}" for kind, count in origins.items())
    print(f"{target.name}: correct, {len(description.quantities)} numbers ({counts})")
    print(f"digest {target.digest}")


def _kib(size: int | None) -> str:
    return "" if size is None else f"{size / 1024:,.0f} KiB"


def _board_summary(board: BundleTarget) -> dict[str, Any]:
    """What is known of a target of generated C; what it leaves open is absent."""
    from compiler_core.targets.target import OriginKind
    from compiler_core.units.names import CPU

    known = {
        "cpu_clock_hz": board.clock_hz,
        "flash_bytes": board.flash_bytes,
        "ram_bytes": board.ram_bytes,
    }
    return {
        "name": board.name,
        "description": board.description,
        "kinds": [CPU],
        "origin": OriginKind.PUBLISHED.value,
        "core": board.core,
        **{key: value for key, value in known.items() if value is not None},
    }


def _show_board(board: BundleTarget, as_json: bool) -> None:
    if as_json:
        print_json("target-show", _board_summary(board))
        return
    print(f"{board.name}: {board.description}")
    for label, value in (
        ("core", board.core),
        ("clock", "" if board.clock_hz is None else f"{board.clock_hz / 1e6:,g} MHz"),
        ("flash", _kib(board.flash_bytes)),
        ("RAM", _kib(board.ram_bytes)),
        ("compiles to", "C sources: nest-tune compile MODEL --target " + board.name),
    ):
        if value:
            print(f"{label:<14} {value}")


def _print_description(description: TargetDescription) -> None:
    from rich.table import Table
    from rich.text import Text

    target = description.target
    out = console()
    out.print(Text(f"{target.name}: {target.description}", style="bold"))
    out.print(f"resolved from  {' <- '.join(description.lineage)}")
    for unit in present_units(target):
        cores = f"{unit.cores} cores" if unit.cores > 1 else "1 core"
        out.print(
            f"{'unit':<14} {unit.name}: kind {unit.kind}, {cores} at "
            f"{unit.machine.clock_hz / 1e6:,g} MHz, memory {unit.memory} ({unit.access.value})"
        )
        for figure in _figures(unit):
            out.print(f"{figure.title:<14} {figure.text}")
    for memory in target.memories:
        if memory.bytes_per_s is not None:
            speed = f"{memory.bytes_per_s / 1e9:g} GB/s each way"
            out.print(f"{'memory':<14} {memory.name}: {speed}")
    out.print(f"CPU            {target.cpu.name}")
    out.print(f"launch         {target.launch_overhead_s * 1e6:.1f} µs of CPU time each")
    out.print(f"digest         {target.digest}")
    styles = {
        "measured": "green",
        "published": "cyan",
        "extrapolated": "yellow",
        "assumed": "red",
    }
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
    print_table(table, out=out, drop=("source", "stated by"))


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


def present_units(target: Target) -> tuple[Unit, ...]:
    """The units that a target has beside its CPU."""
    return tuple(unit for unit in target.units if unit.cores)


def _figures(unit: Unit) -> tuple[Figure, ...]:
    from compiler_core.targets.unit_table import unit_table

    return unit_table(unit.kind).figures(unit.machine)


def _unit_document(unit: Unit) -> dict[str, Any]:
    return {
        "name": unit.name,
        "kind": unit.kind,
        "cores": unit.cores,
        "clock_hz": unit.machine.clock_hz,
        "memory": unit.memory,
        "access": unit.access.value,
        **{figure.key: figure.value for figure in _figures(unit)},
    }


def _origin(description: TargetDescription) -> str:
    """How far the least certain number of a target can be trusted."""
    from compiler_core.targets.target import OriginKind

    if description.target.by_clock:
        return OriginKind.MEASURED.value
    order = [kind.value for kind in OriginKind]
    return max(_origin_counts(description), key=order.index, default=order[-1])


def _summary(description: TargetDescription) -> dict[str, Any]:
    from compiler_core.units.names import CPU

    target = description.target
    units = present_units(target)
    first: dict[str, Any] = {}
    if units:  # what scripts read of targets with one unit
        first = {
            "npu": units[0].kind,
            "npu_cores": units[0].cores,
            "npu_clock_hz": units[0].machine.clock_hz,
            **{figure.key: figure.value for figure in _figures(units[0])},
        }
    return {
        "name": target.name,
        "description": target.description,
        "kinds": sorted({CPU, *(unit.kind for unit in units)}),
        "origin": _origin(description),
        **first,
        "units": [_unit_document(unit) for unit in units],
        "memories": [
            {"name": memory.name, "bytes_per_s": memory.bytes_per_s} for memory in target.memories
        ],
        "cpu": target.cpu.name,
        "cpu_cores": target.cpu.cores,
        "cpu_clock_hz": target.cpu.clock_hz,
        "launch_overhead_us": target.launch_overhead_s * 1e6,
        "digest": target.digest,
    }


def _document(description: TargetDescription) -> dict[str, Any]:
    return {
        **_summary(description),
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
