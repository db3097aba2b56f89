"""What ``compile``, ``run``, ``evaluate`` and ``profile`` do for targets of generated sources."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler_core.errors import InputError
from compiler_core.files.whole_file import write_atomically
from nest_tune.cli.output import console, print_json, progress
from nest_tune.cli.tables import print_table
from nest_tune.figures import percent

if TYPE_CHECKING:
    from compiler_core.quantize.ladder_record import Ladder
    from compiler_core.units.facets.bundles import BundleReport
    from nest_tune.api.bundle_ladder import BundleCompilation

_COUNTED = "instructions are what the emulator executes; they are not cycles"


def refuse(what: str, given: Mapping[str, object]) -> None:
    """Refuses options that mean nothing here.

    Args:
        what: Target or package, for the message.
        given: Values by option; what is ``None``, false or empty was not given.

    Raises:
        InputError: One was given.
    """
    for option, value in given.items():
        if value:
            raise InputError(
                f"{option}: {what} is of generated C, where there is none of that",
                hint="states are inputs and outputs of the function: give them with the samples, "
                "as study start --state writes them to DATA.unrolled.npz"
                if option == "--state"
                else None,
            )


def compile_sources(
    model: Path | None,
    target: str | None,
    config: Path | None,
    output: Path,
    calibration: Path | None,
    shapes: Mapping[str, tuple[int, ...]],
    states: Mapping[str, str],
    tune: bool,
    as_json: bool,
) -> None:
    """``nest-tune compile`` for a microcontroller.

    Raises:
        InputError: There is no model, or what the compile refuses.
    """
    from nest_tune.api.bundle_compiling import compile_bundle

    if model is None:
        raise InputError("compile: no model", hint="MODEL.onnx --target cortex-m4")
    made = compile_bundle(
        model,
        target,
        output,
        config=config,
        calibration=calibration,
        tune=tune,
        shapes=shapes,
        states=states,
        progress=progress,
    )
    for warning in made.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if as_json:
        print_json("compile", _compiled(made))
        return
    _print_compiled(made)


def metrics_of(report: BundleReport) -> dict[str, int | float]:
    """Sizes of a package, and its instructions where they were counted; unknown ones are absent."""
    found: dict[str, int | float] = {
        "ram_peak_bytes": report.ram_peak_bytes,
        "constant_bytes": report.constant_bytes,
    }
    if report.flash_bytes is not None:
        found["flash_bytes"] = report.flash_bytes
    counted = [item.instructions for item in report.operators if item.instructions is not None]
    if counted:
        found["instructions"] = sum(counted)
    if report.latency_us is not None:
        found["latency_ms"] = report.latency_us.value / 1e3
    return found


def _compiled(made: BundleCompilation) -> dict[str, Any]:
    return {
        "package": str(made.folder),
        "target": {"name": made.report.target, "core": made.report.core},
        "metrics": metrics_of(made.report),
        "quality": None if made.quality is None else asdict(made.quality),
        "ladder": None if made.ladder is None else asdict(made.ladder),
        "operators": len(made.report.operators),
        "warnings": list(made.warnings),
    }


def _print_compiled(made: BundleCompilation) -> None:
    from nest_tune.api.quantizing import quality_text

    report, out = made.report, console()
    gap = report.arena_bytes - report.arena_bound_bytes
    proof = "no smaller arena exists" if gap <= 0 else f"at most {gap:,} bytes could be saved"
    core = "" if report.core == report.target else f" ({report.core})"
    lines = [
        ("package", str(made.folder)),
        ("function", f"{report.name}_run for {report.target}{core}"),
        ("flash", _of_limit(report.flash_bytes, report.flash_limit_bytes)),
        (
            "RAM",
            f"{_of_limit(report.ram_peak_bytes, report.ram_limit_bytes)}: arena "
            f"{report.arena_bytes:,} ({proof}), inputs and outputs {report.port_bytes:,}",
        ),
        ("operators", f"{len(report.operators)}"),
    ]
    if made.quality is not None:
        lines.append(("quality", quality_text(made.quality)))
    if made.ladder is not None:
        lines.append(("scheme", _rung(made, made.ladder)))
    for label, value in lines:
        out.print(f"{label:<10} {value}", markup=False, soft_wrap=True)


def _rung(made: BundleCompilation, ladder: Ladder) -> str:
    from nest_tune.api.quantizing import rung_text

    text = rung_text(ladder)
    if made.first_flash_bytes is None or made.report.flash_bytes is None:
        return text
    return f"{text}; flash {made.first_flash_bytes:,} to {made.report.flash_bytes:,} bytes"


def _of_limit(demand: int | None, limit: int | None) -> str:
    if demand is None:
        return "not known without the target's compiler"
    if limit is None:
        return f"{demand:,} bytes"
    return f"{demand:,} bytes of {limit:,} ({percent(demand / limit)})"


def run_sources(
    package: Path, inputs: Path, outputs: Path | None, check: bool, emulated: bool, as_json: bool
) -> None:
    """``nest-tune run`` for a package of sources."""
    from compiler_core.files.npz import write_npz
    from nest_tune.api.bundle_packages import load_bundle, run_bundle

    done = run_bundle(package, inputs, check=check, emulated=emulated, progress=progress)
    if outputs is not None:
        write_npz(outputs, dict(done.outputs))
    report = load_bundle(package)[1].report
    if as_json:
        body = {
            "package": str(package),
            "target": report.target,
            "samples": done.samples,
            "on": done.core,
            "metrics": metrics_of(report),
            "bit_exact": done.bit_exact,
            "deterministic": True,
            "outputs": {name: list(array.shape) for name, array in done.outputs.items()},
        }
        print_json("run", body)
        return
    held = "bit-exact with the integer reference" if check else "not checked"
    print(f"{done.samples} samples on {done.core}, {held}")


def profile_sources(package: Path, picture: Path | None, as_json: bool) -> None:
    """``nest-tune profile`` for a package of sources."""
    from rich.table import Table
    from rich.text import Text

    from nest_tune.api.bundle_packages import profile_bundle

    report = profile_bundle(package)
    if picture is not None:
        from nest_tune.report.arena import draw_arena

        text = draw_arena(report).encode()
        write_atomically(picture, lambda stream: stream.write(text))
    counted = any(item.instructions is not None for item in report.operators)
    if as_json:
        layers = [_layer(asdict(item)) for item in report.operators]
        body = {
            "package": str(package),
            "target": report.target,
            "deterministic": counted,
            "metrics": metrics_of(report),
            "layers": layers,
        }
        if report.latency_us is not None:
            ends = [report.latency_us.low / 1e3, report.latency_us.high / 1e3]
            body["intervals"] = {"latency_ms": ends}
            body["warnings"] = list(report.warnings)
        print_json("profile", body)
        return
    key = "instructions" if counted else "latency_ms"
    total = sum(getattr(item, key) or 0 for item in report.operators)
    what = f"{total:,.0f} instructions"
    if (timed := report.latency_us) is not None:
        what = (
            f"{timed.value / 1e3:.4f} ms on this machine by the clock (95 % between "
            f"{timed.low / 1e3:.4f} and {timed.high / 1e3:.4f} ms, {timed.samples} rounds)"
        )
    print(f"{package}: {what} per run of {report.name}_run; code for {report.core}")
    for warning in report.warnings if timed is not None else ():
        print(f"warning: {warning}", file=sys.stderr)
    table = Table(box=None)
    table.add_column("layer", overflow="fold")
    table.add_column("operator")
    table.add_column("instructions" if counted else "ms", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    for item in report.operators:
        value = getattr(item, key) or 0.0
        shown = f"{value:,.0f}" if counted else f"{value:.4f}"
        table.add_row(Text(item.name), item.operator, shown, percent(value / (total or 1)))
    print_table(table)
    if counted:
        print(_COUNTED)


def _layer(plain: dict[str, Any]) -> dict[str, Any]:
    """A layer without what was not measured."""
    return {key: value for key, value in plain.items() if value is not None}
