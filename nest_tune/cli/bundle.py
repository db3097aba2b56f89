"""``nest-tune bundle``: a model as generated sources for a board."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compiler_core.errors import InputError
from nest_tune.cli.options import (
    AsJson,
    CmsisNn,
    FixedInputs,
    Shapes,
    fixed_model,
    parse_shapes,
)
from nest_tune.cli.output import print_json, progress
from nest_tune.cli.tables import print_table

if TYPE_CHECKING:
    from compiler_core.units.facets.bundles import BundleReport

EXAMPLE = "Example: nest-tune bundle model.onnx --target cortex-m4 --calibration calib.npz -o board"


def bundle(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="ONNX file, or a package with an NPU's programs."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the sources.")
    ],
    target: Annotated[
        str | None,
        typer.Option(
            metavar="T",
            help="c99, cortex-m4, cortex-m55, rv32imc …, or path of a .toml file; a package has "
            "its own.",
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="calib.npz", help="Samples: x, or one array per input; int8 needs them."
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(metavar="P", help="int8, or float32 for all operators.")
    ] = "int8",
    int4: Annotated[
        list[str] | None,
        typer.Option(metavar="NODE", help="Weights of this node have 4 bits; may be repeated."),
    ] = None,
    int16: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NODE", help="Activations of this node have 16 bits; may be repeated."
        ),
    ] = None,
    float_layer: Annotated[
        list[str] | None,
        typer.Option(metavar="NODE", help="This node stays float32; may be repeated."),
    ] = None,
    float_ports: Annotated[
        bool, typer.Option("--float-ports", help="Inputs and outputs are float32.")
    ] = False,
    model_layout: Annotated[
        bool,
        typer.Option("--model-layout", help="Images have their channel first, as in the model."),
    ] = False,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the function: NAME_run.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, max=64, metavar="N", help="Samples of the self test.")
    ] = 2,
    tune: Annotated[
        bool,
        typer.Option("--tune", help="Choose every kernel by its instructions in an emulator."),
    ] = False,
    patches: Annotated[
        str,
        typer.Option(
            metavar="NODE=N",
            help="Run all up to this node in N stripes, for less RAM; least: what needs least.",
        ),
    ] = "",
    check: Annotated[
        bool,
        typer.Option("--check", help="Build the self test and run it: here, or in an emulator."),
    ] = False,
    count: Annotated[
        bool, typer.Option("--count", help="Count the instructions of every operator.")
    ] = False,
    shape: Shapes = None,
    fix_input: FixedInputs = None,
    cmsis_nn: CmsisNn = None,
    as_json: AsJson = False,
) -> None:
    """Write a model as sources for a board, with a self test that compares every bit."""
    if model.is_dir():
        given = {
            "--target": target,
            "--precision": precision if precision != "int8" else None,
            "--int4": int4,
            "--int16": int16,
            "--float-layer": float_layer,
            "--float-ports": float_ports,
            "--model-layout": model_layout,
            "--tune": tune,
            "--cmsis-nn": cmsis_nn,
            "--patches": patches,
            "--count": count,
            "--shape": shape,
            "--fix-input": fix_input,
        }
        _of_package(model, output, calibration, name, samples, check, as_json, given)
        return
    if target is None:
        raise InputError("bundle: no target", hint="--target c99, cortex-m4 …")
    from nest_tune.api.bundle_compiling import compile_bundle
    from nest_tune.bundling import bundles_for

    report = compile_bundle(
        fixed_model(model, fix_input),
        target,
        output,
        calibration=calibration,
        precision=precision,
        int4=int4 or (),
        int16=int16 or (),
        float_layers=float_layer or (),
        float_ports=float_ports,
        model_layout=model_layout,
        name=name,
        samples=samples,
        tune=tune or cmsis_nn is not None,
        patches=patches,
        beside=True,
        shapes=parse_shapes(shape),
        progress=progress,
    ).report
    bundles = bundles_for(target)
    said = bundles.check(report, output) if check else None
    if count:
        report = bundles.count(report, output)
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if as_json:
        print_json("bundle", {**asdict(report), "folder": str(output), "check": said})
        return
    _show(report, output, said)


def _of_package(
    package: Path,
    output: Path,
    calibration: Path | None,
    name: str | None,
    samples: int,
    check: bool,
    as_json: bool,
    given: Mapping[str, object],
) -> None:
    """``nest-tune bundle PACKAGE``: sources around an NPU.

    Raises:
        InputError: An option was given that the package has decided, or it cannot be written.
    """
    from nest_tune.api.driving import bundle_package

    for option, value in given.items():
        if value:
            raise InputError(f"{option}: {package} is a package, which has decided that")
    made = bundle_package(
        package, output, inputs=calibration, name=name, samples=samples, check=check
    )
    report = made.report
    if as_json:
        print_json("bundle", {**asdict(report), "folder": str(output), "check": made.check})
        return
    print(
        f"{output}: {report.name}_load and {report.name}_run around an NPU in "
        f"{len(report.stages)} stages; arena {report.arena_bytes} bytes, constants "
        f"{report.constant_bytes}, memory of the NPU {report.npu_bytes}"
    )
    if made.check is not None:
        print(f"self test on the simulator: {made.check}")


def _show(report: BundleReport, folder: Path, said: str | None) -> None:
    from rich.table import Table
    from rich.text import Text

    counted = any(item.instructions is not None for item in report.operators)
    if counted:
        table = Table(box=None)
        table.add_column("node", overflow="fold")
        table.add_column("operator")
        table.add_column("instructions", justify="right", no_wrap=True)
        for item in report.operators:
            table.add_row(Text(item.name), item.operator, f"{item.instructions or 0:,.0f}")
        total = sum(item.instructions or 0 for item in report.operators)
        table.add_row("all", "", f"{total:,.0f}")
        print_table(table)
        print("instructions are what the emulator executes; they are not cycles")
    flash = "unknown" if report.flash_bytes is None else f"{report.flash_bytes} bytes"
    gap = report.arena_bytes - report.arena_bound_bytes
    proof = "no smaller one exists" if gap <= 0 else f"at most {gap} bytes could be saved"
    print(
        f"{folder}: {report.name}_run for {report.target}; flash {flash}, of them constants "
        f"{report.constant_bytes}; arena {report.arena_bytes} bytes ({proof})"
    )
    if said is not None:
        print(f"self test on {report.core}: {said}")
