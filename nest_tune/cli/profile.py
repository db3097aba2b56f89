"""``nest-tune profile``: where the time, bytes and energy of a package go."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.errors import InputError
from compiler_core.files.whole_file import require_writable, write_atomically
from compiler_core.sums import float_sum
from nest_tune.cli.options import AsJson, CmsisNn
from nest_tune.cli.output import print_json
from nest_tune.cli.tables import print_table
from nest_tune.figures import percent

if TYPE_CHECKING:
    from rich.table import Table

    from compiler_core.package.reader import Package
    from compiler_core.precision.report import FormatsReport
    from compiler_core.targets.target import Target

_FORMATS_MAX = 16 << 20

EXAMPLE = "Example: nest-tune profile out --by layer --trace trace.json"


class By(Enum):
    """What a row is."""

    LAYER = "layer"
    UNIT = "unit"
    INSTRUCTION = "instruction"


def profile(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="Folder of the package.")],
    trace: Annotated[
        Path | None,
        typer.Option(metavar="trace.json", help="Write a timeline that opens in Perfetto."),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="arena.svg", help="Of generated C: draw what lies where in the arena, and when."
        ),
    ] = None,
    by: Annotated[By, typer.Option(help="What a row of the table is.")] = By.LAYER,
    cmsis_nn: CmsisNn = None,  # noqa: ARG001
    as_json: AsJson = False,
) -> None:
    """Show where time, bytes and energy go, and how far each layer is from its bound."""
    require_writable(trace, "--trace")
    require_writable(picture, "--picture")

    from nest_tune.bundling import opens_bundle

    if opens_bundle(package) is not None:
        from nest_tune.cli.boards import profile_sources, refuse

        refuse(f"package {package}", {"--trace": trace, "--by": by is not By.LAYER})
        profile_sources(package, picture, as_json)
        return
    from compiler_core.package.reader import read_package

    loaded = read_package(package)
    if picture is not None:
        raise InputError(
            f"--picture: package {package} is not of generated C: there is no arena",
            hint="--trace trace.json writes a timeline",
        )
    if trace is not None:
        from compiler_core.executable.profile import trace_slices, tracks
        from compiler_core.files.trace import write_trace

        title = f"{loaded.manifest.model.name} on {loaded.manifest.target.name}"
        slices = trace_slices(loaded.executable, loaded.report)
        names = tracks(loaded.manifest.target)
        write_atomically(trace, lambda stream: write_trace(stream, title, names, slices))
    formats = _formats(package)
    if as_json:
        document = _document(loaded, package, by)
        if formats is not None:
            from compiler_core.precision.report import formats_document

            document["formats"] = formats_document(formats)
        print_json("profile", document)
        return
    metrics, target = loaded.manifest.metrics, loaded.manifest.target
    if metrics.by_clock is not None:
        _print_host(loaded, package, by)
        if formats is not None and by is By.LAYER:
            from nest_tune.cli.formats import print_formats

            print_formats(formats)
        return
    print(
        f"{package}: {metrics.latency_ms:.3f} ms, {metrics.npu_cycles:,} NPU cycles, "
        f"{metrics.energy_mj:.3f} mJ per run on {target.name} at {_clocks(target)}"
    )
    tables = {By.LAYER: _layers, By.UNIT: _units, By.INSTRUCTION: _instructions}
    print_table(tables[by](loaded), drop=("shape", "waits", "of roof", "MAC/cycle", "KiB"))
    if by is By.LAYER and _loads_before(loaded):
        print(
            "over 100 % of its roof: the layer's data are loaded while the layer before it in the "
            "program still runs"
        )


def _formats(package: Path) -> FormatsReport | None:
    """What the package says of number formats; ``None`` where they were not chosen by the clock."""
    from compiler_core.files.small_file import read_small_file
    from compiler_core.precision.report import FORMATS_FILE, read_formats

    path = package / FORMATS_FILE
    return read_formats(read_small_file(path, _FORMATS_MAX), str(path)) if path.is_file() else None


def _clocks(target: Target) -> str:
    if len(target.units) == 1:
        return f"{target.npu.clock_hz / 1e6:,g} MHz"
    return ", ".join(f"{u.machine.clock_hz / 1e6:,g} MHz ({u.name})" for u in target.units)


def _print_host(loaded: Package, package: Path, by: By) -> None:
    """What was measured by the clock when the package was compiled."""
    if by is By.INSTRUCTION:
        raise InputError(
            f"--by instruction: package {package} is for {loaded.manifest.target.name!r}, which "
            "has no NPU: there are no instructions"
        )
    metrics = loaded.manifest.metrics
    clock = metrics.by_clock
    assert clock is not None
    print(
        f"{package}: {metrics.latency_ms:.3f} ms per run by the clock, shared out among kernels by "
        f"onnxruntime's profile; {clock.text}"
    )
    from compiler_core.units.names import CPU

    table = _table("<layer", "<unit", "<operator", "ms", "share")
    total = float_sum(layer.latency_ms for layer in loaded.report.layers) or 1.0
    for layer in loaded.report.layers if by is By.LAYER else ():
        share = percent(layer.latency_ms / total)
        table.add_row(layer.name, layer.unit, layer.operator, f"{layer.latency_ms:.4f}", share)
    if by is By.UNIT:
        table.add_row("all", CPU, "", f"{total:.4f}", percent(1.0))
    print_table(table)


def _document(loaded: Package, package: Path, by: By) -> dict[str, Any]:
    from compiler_core.executable.profile import by_instruction, by_unit, roofline, unit_document
    from compiler_core.executable.report import layer_document, metrics_document

    target, metrics = loaded.manifest.target, loaded.manifest.metrics
    layers = []
    for layer in loaded.report.layers:
        place = roofline(layer, target)
        document = layer_document(layer, metrics)
        layers.append(document | {"roofline": None if place is None else asdict(place)})
    body: dict[str, Any] = {
        "package": str(package),
        "target": target.name,
        "by": by.value,
        "deterministic": metrics.by_clock is None,
        "metrics": metrics_document(metrics),
        "layers": layers,
        "units": [unit_document(unit, metrics) for unit in by_unit(loaded.report)],
    }
    if by is By.INSTRUCTION:
        body["instructions"] = [asdict(item) for item in by_instruction(loaded.executable)]
    return body


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None)
    for title in columns:
        table.add_column(
            title.removeprefix("<"),
            justify="left" if title.startswith("<") else "right",
            overflow="fold",
            no_wrap=title not in ("<layer", "<shape"),
            min_width=18 if title in ("<layer", "<shape") else None,
        )
    return table


def _layers(loaded: Package) -> Table:
    from rich.text import Text

    from compiler_core.executable.profile import roofline
    from compiler_core.units.facets.profiles import profiles_of

    table = _table(
        "<layer", "<unit", "<operator", "<shape", "ms", "cycles", "bound", "of bound",
        "<limit", "KiB", "MAC/cycle", "of roof", "waits",
    )  # fmt: skip
    target = loaded.manifest.target
    computing = {}
    for unit in target.units:
        known = profiles_of(unit.machine)
        computing[unit.name] = "" if known is None else f"{known.roof(unit.machine).arithmetic}_"
    for layer in loaded.report.layers:
        row = [f"{layer.latency_ms:.3f}"]
        place, own = roofline(layer, target), target.unit_at(layer.unit)
        if own is not None and layer.cycles:
            row += [
                f"{layer.cycles:,}",
                f"{layer.bound_cycles:,}",
                percent(layer.utilization),
                layer.limited_by,
                f"{sum(layer.bytes.values()) / 1024:,.1f}",
            ]
        if own is not None and place is not None:  # some kinds say no roof
            roof = place.attainable_macs_per_cycle
            waits = sum(
                cycles
                for name, cycles in layer.stall_cycles.items()
                if name.startswith(computing[own.name])
            )
            row += [
                f"{place.achieved_macs_per_cycle:.1f}",
                percent(place.achieved_macs_per_cycle / roof) if roof else "",
                f"{waits:,}",
            ]
        table.add_row(Text(layer.name), layer.unit, Text(layer.operator), Text(layer.shape), *row)
    return table


def _loads_before(loaded: Package) -> bool:
    """Whether a layer is faster than the memory port lets it be alone."""
    from compiler_core.executable.profile import roofline

    places = [roofline(layer, loaded.manifest.target) for layer in loaded.report.layers]
    return any(
        place.achieved_macs_per_cycle > place.attainable_macs_per_cycle > 0
        for place in places
        if place is not None
    )


def _units(loaded: Package) -> Table:
    from compiler_core.executable.profile import by_unit

    table = _table("<unit", "steps", "ms", "share", "mJ", "share", "cycles", "DRAM KiB")
    for unit in by_unit(loaded.report):
        table.add_row(
            unit.unit,
            str(unit.layers),
            f"{unit.latency_ms:.3f}",
            percent(unit.latency_share),
            f"{unit.energy_mj:.3f}",
            percent(unit.energy_share),
            f"{unit.cycles:,}",
            f"{unit.bytes / 1024:,.1f}",
        )
    return table


def _instructions(loaded: Package) -> Table:
    from compiler_core.executable.profile import by_instruction

    table = _table("<module", "<what", "<kind", "count", "cycles", "of all cycles")
    total = loaded.manifest.metrics.npu_cycles or 1
    for item in by_instruction(loaded.executable):
        table.add_row(
            item.module,
            item.name,
            item.category,
            f"{item.count:,}",
            f"{item.cycles:,}",
            percent(item.cycles / total),
        )
    return table
