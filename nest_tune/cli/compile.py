"""``nest-tune compile``: one configuration of a model to a package."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.errors import InputError
from nest_tune.cli.output import console, print_json

if TYPE_CHECKING:
    from compiler_core.compile import CompiledModel
    from compiler_core.configuration import Configuration
    from compiler_core.frontend import FloatModel
    from compiler_core.quantize.profile import Profile
    from compiler_core.targets.target import Target

EXAMPLE = "Example: nest-tune compile resnet8.onnx --target vta --calibration calib.npz -o out"

LEVELS = ("graph", "tensor", "commands")


def compile_(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="ONNX file.")],
    target: Annotated[
        str, typer.Option(help="Name of a target, or path of a .toml file.", metavar="T")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the package.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(metavar="best.toml", help="Configuration; else the untuned default."),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(metavar="plan.toml", help="Plan; nodes that it leaves free are placed."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="calib.npz", help="Samples of the inputs: x, or one array per input."),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A profile of quantize profile, in place of samples."),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=1,3,…", help="Shape of an input with dynamic axes."),
    ] = None,
    emit: Annotated[
        str | None,
        typer.Option(
            metavar="LEVELS", help="Add texts to the package: graph, tensor, commands, by comma."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Threads of calibration.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compile a model to a package of verified programs."""
    shapes = parse_shapes(shape or [])
    levels = _parse_levels(emit)

    from compiler_core.compile import compile_model
    from compiler_core.configuration import Configuration, read_configuration
    from compiler_core.frontend import load_model, quantize_model
    from compiler_core.package.text import Level, level_text
    from compiler_core.package.writer import require_free, write_package
    from compiler_core.targets.load import load_target

    require_free(output)
    chip = load_target(target)
    configuration = Configuration() if config is None else read_configuration(config)
    progress(f"importing {model.name}")
    source = load_model(model, shapes)
    if plan is not None:
        configuration = _planned(configuration, plan, source, chip)
    elif chip.npu_cores > 1 and not configuration.plan:
        configuration = _sliced_by_default(configuration, source, chip)
    statistics = _statistics(source, configuration, calibration, profile, jobs)
    progress(f"quantizing: {len(source.graph.nodes)} nodes")
    quantized = quantize_model(source, configuration, statistics, threads=jobs)
    compiled = compile_model(quantized, chip, progress=progress)
    texts = {f"{name}.txt": level_text(compiled, Level(name)) for name in levels}
    progress(f"writing {output}")
    write_package(compiled, output, texts)
    if as_json:
        print_json("compile", _document(compiled, output))
        return
    _print_summary(compiled, output)


def _statistics(
    source: FloatModel,
    configuration: Configuration,
    calibration: Path | None,
    profile: Path | None,
    jobs: int,
) -> Profile | None:
    """The profile that is given, or that of the calibration data; ``None`` where nothing is."""
    from compiler_core.frontend import read_samples
    from compiler_core.quantize.profile import read_profile
    from nest_tune.quantization.profile_store import stored_profile

    if profile is not None:
        if calibration is not None:
            raise InputError(
                "--calibration and --profile are both given", hint="one of them says it all"
            )
        return read_profile(profile)
    if calibration is None:
        return None
    samples = read_samples(calibration, source.graph)
    size = configuration.scheme.quantization().calibration
    return stored_profile(
        source.graph,
        samples,
        [size] if isinstance(size, int) else [],
        threads=jobs,
        progress=lambda done, total: progress(f"profile: {done} of {total} samples"),
    )


def _planned(
    configuration: Configuration, plan: Path, source: FloatModel, chip: Target
) -> Configuration:
    """The configuration with its plan replaced by that of a file."""
    from compiler_core.configuration import Subject
    from compiler_core.partition.best import check_subjects, planned_assignment
    from compiler_core.partition.plan import read_plan

    given = read_plan(plan)
    check_subjects(given, Subject(source.name, source.digest), Subject(chip.name, chip.digest))
    assignment = planned_assignment(
        given, source.graph, chip, schedules=configuration.schedules, progress=progress
    )
    return replace(configuration, plan=assignment)


def _sliced_by_default(
    configuration: Configuration, source: FloatModel, chip: Target
) -> Configuration:
    """The configuration with the plan of a target of several cores."""
    from compiler_core.partition.best import default_plan

    progress(f"plan: what is faster across the {chip.npu_cores} cores")
    plan = default_plan(source.graph, chip, schedules=configuration.schedules)
    return replace(configuration, plan=plan)


def progress(line: str) -> None:
    """Tells on standard error what is being done."""
    print(line, file=sys.stderr, flush=True)


def parse_shapes(options: list[str]) -> dict[str, tuple[int, ...]]:
    """``NAME=1,3,224,224`` by name.

    Raises:
        InputError: An option reads otherwise.
    """
    shapes = {}
    for option in options:
        name, equals, numbers = option.rpartition("=")
        sizes = numbers.split(",")
        if not equals or not name or not all(s.isascii() and s.isdigit() for s in sizes):
            raise InputError(
                f"--shape {option}: NAME=SIZE,SIZE,… is needed", hint="--shape input=1,3,224,224"
            )
        if name in shapes:
            raise InputError(f"--shape {option}: input {name!r} is given twice")
        if any(len(size) > 10 for size in sizes):
            raise InputError(f"--shape {option}: a size has more than 10 digits")
        shapes[name] = tuple(int(size) for size in sizes)
    return shapes


def _parse_levels(text: str | None) -> list[str]:
    levels = [] if text is None else [part.strip() for part in text.split(",")]
    for level in levels:
        if level not in LEVELS:
            raise InputError(f"--emit {text}: {level!r}; allowed are {', '.join(LEVELS)}")
    return levels


def _document(compiled: CompiledModel, output: Path) -> dict[str, Any]:
    configuration = compiled.configuration
    return {
        "package": str(output),
        "model": asdict(configuration.model),
        "target": asdict(configuration.target),
        "metrics": asdict(compiled.metrics),
        "tasks": sorted(compiled.tasks),
        "segments": [segment.name for segment in compiled.executable.segments],
        "cpu_reasons": dict(compiled.source.cpu_reasons),
    }


def _print_summary(compiled: CompiledModel, output: Path) -> None:
    metrics, segments = compiled.metrics, compiled.executable.segments
    npu = sum(1 for _ in compiled.executable.npu_segments)
    out = console()
    for label, value in (
        ("package", str(output)),
        ("latency", f"{metrics.latency_ms:.3f} ms per run"),
        ("NPU", f"{metrics.npu_cycles:,} cycles in {metrics.launches} launches"),
        ("energy", f"{metrics.energy_mj:.3f} mJ per run"),
        ("size", f"{metrics.size_bytes:,} bytes"),
        (
            "DRAM peak",
            f"{metrics.dram_peak_bytes:,} bytes: {metrics.dram_constant_bytes:,} constants, "
            f"{metrics.dram_activation_bytes:,} activations "
            f"({metrics.dram_activation_bytes_without_reuse:,} without reuse)",
        ),
        ("segments", f"{npu} NPU, {len(segments) - npu} CPU"),
    ):
        out.print(f"{label:<10} {value}", markup=False, soft_wrap=True)
