"""``nest-tune compile``: one configuration of a model to a package."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.errors import InputError
from nest_tune.cli.completion import target_names, trial_names
from nest_tune.cli.options import (
    AsJson,
    CmsisNn,
    FixedInputs,
    Shapes,
    States,
    fixed_model,
    parse_shapes,
    parse_states,
)
from nest_tune.cli.output import console, launches_text, print_json, progress
from nest_tune.cli.plan_job import parse_damage
from nest_tune.cli.tables import print_table
from nest_tune.figures import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compiler_core.configuration.configuration import Configuration
    from compiler_core.precision.report import FormatsReport
    from nest_tune.api.compiling import Compilation
    from nest_tune.named import Named

EXAMPLE = "Example: nest-tune compile resnet8.onnx --target vta --calibration calib.npz -o out"

LEVELS = ("graph", "tensor", "commands")


def compile_(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the package.")
    ],
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="[MODEL]", help="ONNX file; else the one that --config or --study names."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="T",
            autocompletion=target_names,
            help="Name of a target, or path of a .toml file; else as --config or --study name it.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="best.toml", help="Configuration; else the untuned default."),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:TRIAL]",
            autocompletion=trial_names,
            help="Configuration of a study's trial; else of its pick.",
        ),
    ] = None,
    pick: Annotated[
        str | None, typer.Option(metavar="RULE", help="Which trial of --study, as in study best.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Database of --study; default sqlite:///nest-tune.db."),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(metavar="plan.toml", help="Plan; nodes that it leaves free are placed."),
    ] = None,
    most_damage: Annotated[
        str | None,
        typer.Option(
            metavar="10%",
            help="On units of different precision: the plan of plan best --most-damage.",
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="calib.npz",
            help="Samples of the inputs: x, or one array per input; else those that --config or "
            "--study name, where they are needed.",
        ),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A profile of quantize profile, in place of samples."),
    ] = None,
    shape: Shapes = None,
    fix_input: FixedInputs = None,
    emit: Annotated[
        str | None,
        typer.Option(
            metavar="LEVELS", help="Add texts to the package: graph, tensor, commands, by comma."
        ),
    ] = None,
    launches: Annotated[
        str | None,
        typer.Option(
            metavar="apart|merged",
            help="One per operator, or layers that follow one another as one program; else as the "
            "configuration says.",
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Threads of calibration.")] = 1,
    state: States = None,
    cmsis_nn: CmsisNn = None,
    as_json: AsJson = False,
) -> None:
    """Compile a model to a package of verified programs."""
    if model is not None:
        model = fixed_model(model, fix_input)
    elif fix_input:
        raise InputError("--fix-input is given without a model", hint="name it: compile MODEL.onnx")
    shapes = parse_shapes(shape)
    levels = _parse_levels(emit)
    if _is_sources(target, config):
        from nest_tune.cli.boards import compile_sources, refuse

        what = f"target {target}" if target is not None else f"{config}"
        given = {"--study": study, "--plan": plan, "--profile": profile, "--emit": emit}
        refuse(what, {**given, "--most-damage": most_damage})
        if model is None and config is not None:
            from nest_tune.ci.source_lock import named_by_sources

            named = named_by_sources(config)
            if named is not None:
                model, shapes = named.model.found(), shapes or dict(named.shapes)
        tune = cmsis_nn is not None and config is None
        states = parse_states(state)
        compile_sources(model, target, config, output, calibration, shapes, states, tune, as_json)
        return

    from nest_tune.api.compiling import compile as compile_package

    configuration: Path | Configuration | None = config
    formats: FormatsReport | None = None
    if study is not None:
        if config is not None:
            raise InputError("--config and --study are both given", hint="one of them says it all")
        moved = {
            "model": None if model is None else str(model),
            "target": target,
            "calibration": None if calibration is None else str(calibration),
        }
        configuration, named, formats = _of_study(study, pick, storage, moved)
        model, target = model or named.model.path, target or named.target
        shapes = shapes or dict(named.shapes)
        if calibration is None and profile is None and named.calibration is not None:
            calibration = named.calibration.path
    compiled = compile_package(
        model,
        target,
        output,
        config=configuration,
        plan=plan,
        most_damage=None if most_damage is None else parse_damage(most_damage, plan=plan),
        calibration=calibration,
        profile=profile,
        shapes=shapes,
        states=parse_states(state),
        emit=levels,
        launches=launches,
        formats=formats,
        threads=jobs,
        progress=progress,
    )
    for warning in compiled.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if as_json:
        print_json("compile", _document(compiled))
        return
    _print_summary(compiled)


def _is_sources(target: str | None, config: Path | None) -> bool:
    """Whether the result is C sources: by its target, or by the configuration's kind."""
    from nest_tune.bundling import configures_bundle, is_bundle_target

    if config is not None and configures_bundle(config) is not None:
        return True
    return target is not None and is_bundle_target(target)


def _of_study(
    name: str, pick: str | None, storage: str | None, moved: Mapping[str, str | None]
) -> tuple[Configuration, Named, FormatsReport | None]:
    """The configuration of a trial, what its study names, and how its number formats were found;
    ``moved`` says what lies elsewhere by now."""
    from nest_tune.cli.study_options import open_storage, split_name
    from nest_tune.named import named_by_study
    from nest_tune.study.store.result import (
        compile_trial,
        formats_of_trial,
        load_result,
        moved_result,
    )
    from nest_tune.study.store.selection import ground_of, selected

    opened = open_storage(storage)
    study, number = split_name(name, opened)
    progress(f"reading {f'trial {number}' if number is not None else 'the pick'} of study {study}")
    result = moved_result(load_result(opened, opened.find(study)), moved)
    trial = selected(result, number, pick)
    ground = ground_of(result)
    compiled = compile_trial(ground, result, trial)
    formats = formats_of_trial(ground, compiled, trial)
    return compiled.configuration, named_by_study(result), formats


def _parse_levels(text: str | None) -> list[str]:
    levels = [] if text is None else [part.strip() for part in text.split(",")]
    for level in levels:
        if level not in LEVELS:
            raise InputError(f"--emit {text}: {level!r}; allowed are {', '.join(LEVELS)}")
    return levels


def _document(compiled: Compilation) -> dict[str, Any]:
    from compiler_core.configuration.configuration import scheme_record
    from compiler_core.executable.report import metrics_document

    configuration = compiled.configuration
    return {
        "package": str(compiled.folder),
        "model": asdict(configuration.model),
        "target": asdict(configuration.target),
        "metrics": metrics_document(compiled.metrics),
        "tasks": list(compiled.tasks),
        "segments": list(compiled.segments),
        "macs_share_npu": compiled.macs_share_npu,
        "cpu_reasons": [
            {
                "reason": cause.reason,
                "nodes": list(cause.nodes),
                "macs_share": cause.macs_share,
                "latency_share": cause.latency_share,
                "example": cause.example,
            }
            for cause in compiled.cpu_causes
        ],
        "unpriced": list(compiled.unpriced),
        **scheme_record(configuration.scheme),
        "warnings": list(compiled.warnings),
        **({} if compiled.damage is None else {"damage": compiled.damage}),
        **_formats_document(compiled),
    }


def _formats_document(compiled: Compilation) -> dict[str, Any]:
    if compiled.formats is None:
        return {}
    from compiler_core.precision.report import formats_document

    return {"formats": formats_document(compiled.formats)}


def _print_summary(compiled: Compilation) -> None:
    metrics, npu = compiled.metrics, compiled.npu_segments
    out = console()
    if metrics.by_clock is not None:
        clock = metrics.by_clock
        out.print(f"package    {compiled.folder}", markup=False, soft_wrap=True)
        threads = compiled.configuration.runtime.threads
        on = "one thread" if threads == 1 else f"{threads} threads"
        out.print(f"latency    {metrics.latency_ms:.3f} ms by the clock on {on}", end="; ")
        out.print(clock.text, soft_wrap=True)
        out.print(f"size       {metrics.size_bytes:,} bytes")
        _print_quality(compiled)
        if compiled.formats is not None:
            from nest_tune.cli.formats import print_formats

            print_formats(compiled.formats)
        return
    share = f"{100 * compiled.macs_share_npu:.1f} % of the multiplications"
    for label, value in (
        ("package", str(compiled.folder)),
        ("latency", f"{metrics.latency_ms:.3f} ms per run"),
        ("NPU", f"{metrics.npu_cycles:,} cycles in {launches_text(metrics.launches)}, {share}"),
        ("energy", f"{metrics.energy_mj:.3f} mJ per run"),
        ("size", f"{metrics.size_bytes:,} bytes"),
        (
            "DRAM peak",
            f"{metrics.dram_peak_bytes:,} bytes: {metrics.dram_constant_bytes:,} constants, "
            f"{metrics.dram_activation_bytes:,} activations "
            f"({metrics.dram_activation_bytes_without_reuse:,} without reuse)",
        ),
        ("segments", f"{npu} NPU, {len(compiled.segments) - npu} CPU"),
    ):
        out.print(f"{label:<10} {value}", markup=False, soft_wrap=True)
    if compiled.damage is not None:
        text = f"{percent(compiled.damage)} of what fewest bits do to all weights"
        out.print(f"damage     {text}", soft_wrap=True)
    _print_quality(compiled)
    _print_causes(compiled)


def _print_causes(compiled: Compilation) -> None:
    """Why what runs on the CPU runs there, by cause; nothing where that is borders alone."""
    from rich.table import Table

    if not any(cause.nodes for cause in compiled.cpu_causes):
        return
    table = Table("why on the CPU", box=None)
    for head in ("nodes", "multiplications", "time"):
        table.add_column(head, justify="right")
    for cause in compiled.cpu_causes:
        table.add_row(
            cause.reason,
            str(len(cause.nodes) or ""),
            f"{100 * cause.macs_share:.1f} %",
            f"{100 * cause.latency_share:.1f} %",
        )
    print_table(table)


def _print_quality(compiled: Compilation) -> None:
    from compiler_core.quantize.ladder import ROOM
    from compiler_core.quantize.ladder_record import TAKEN
    from nest_tune.api.quantizing import quality_text, rung_text

    out, ladder = console(), compiled.ladder
    if compiled.quality is not None:
        out.print(f"quality    {quality_text(compiled.quality)}", markup=False, soft_wrap=True)
    if ladder is not None:
        text = rung_text(ladder)
        if ROOM in ladder.rungs and ladder.rungs[ROOM].outcome == TAKEN:
            text += f", with {ROOM}"
        if ladder.latency_ms is not None and ladder.first_latency_ms:
            more = 100 * (ladder.latency_ms / ladder.first_latency_ms - 1)
            text += f"; {more:+.1f} % latency against weights per tensor"
        out.print(f"scheme     {text}", markup=False, soft_wrap=True)
