"""``nest-tune quantize``: statistics of activations, layers by the damage they do, schemes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.errors import InputError
from compiler_core.files.whole_file import require_writable, write_atomically
from nest_tune.cli import quantize_search
from nest_tune.cli.completion import target_names
from nest_tune.cli.options import (
    AsJson,
    JudgedOutput,
    ModelFile,
    OrtThreads,
    Shapes,
    parse_shapes,
)
from nest_tune.cli.output import console, print_json, progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compiler_core.accuracy.judge import Judge
    from compiler_core.compile.sources import FloatModel
    from compiler_core.quantize.profile import Profile
    from compiler_core.quantize.scheme import QuantizationScheme
    from compiler_core.quantize.sensitivity import LayerSensitivity

app = typer.Typer(
    name="quantize",
    help="Statistics of activations, layers by the damage that quantizing them does, schemes.",
    epilog="Example: nest-tune quantize profile resnet8.onnx --calibration calib.npz -o profile",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help answers in half the time
)


@app.command(
    "profile",
    epilog="Example: nest-tune quantize profile resnet8.onnx --calibration calib.npz -o profile",
)
def profile(
    model: ModelFile,
    calibration: Annotated[
        Path, typer.Option(metavar="calib.npz", help="Samples: x, or one array per input.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The profile.")],
    size: Annotated[
        list[int] | None,
        typer.Option(
            min=1, metavar="N", help="Statistics of the first N samples, too; may be repeated."
        ),
    ] = None,
    shape: Shapes = None,
    jobs: OrtThreads = 1,
    as_json: AsJson = False,
) -> None:
    """Gather activation statistics once, for every scheme that follows."""
    shapes = parse_shapes(shape)
    require_writable(output, "--output")

    from compiler_core.compile.sources import load_model
    from compiler_core.quantize.calibration_warnings import calibration_warnings
    from compiler_core.quantize.profile import write_profile

    source = load_model(model, shapes)
    found = _gather(source, calibration, size or [], jobs)
    write_profile(output, found)
    for warning in calibration_warnings(source.graph, found):
        print(f"warning: {warning}", file=sys.stderr)
    largest = found.sizes[max(found.sizes)]
    if as_json:
        body = {
            "profile": str(output),
            "model_digest": found.model_digest,
            "data_digest": found.data_digest,
            "samples": found.samples,
            "sizes": sorted(found.sizes),
            "tensors": [
                {"name": name, "low": known.low, "high": known.high}
                for name, known in largest.items()
            ],
        }
        print_json("quantize-profile", body)
        return
    print(
        f"{output}: {len(largest)} tensors of {source.name}, statistics of "
        f"{', '.join(map(str, sorted(found.sizes)))} samples, {output.stat().st_size:,} bytes"
    )


@app.command(
    "sensitivity",
    epilog="Example: nest-tune quantize sensitivity resnet8.onnx --target vta-pynq "
    "--calibration calib.npz --data eval.npz --plot layers.svg",
)
def sensitivity(
    model: ModelFile,
    target: Annotated[
        str,
        typer.Option(
            metavar="T", autocompletion=target_names, help="Target: a name or a TOML file."
        ),
    ],
    calibration: Annotated[
        Path | None, typer.Option(metavar="calib.npz", help="Samples to profile.")
    ] = None,
    profile_file: Annotated[
        Path | None,
        typer.Option("--profile", metavar="FILE", help="A profile, in place of --calibration."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="eval.npz", help="x, and labels y; else the calibration samples."),
    ] = None,
    scheme: Annotated[
        Path | None,
        typer.Option(metavar="scheme.toml", help="Scheme; else the usual guess."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="Samples, spread over those given.")
    ] = 32,
    judged_output: JudgedOutput = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Write a picture.")] = None,
    shape: Shapes = None,
    jobs: OrtThreads = 1,
    as_json: AsJson = False,
) -> None:
    """Rank layers by the damage each does when it alone is quantized."""
    shapes = parse_shapes(shape)
    require_writable(plot, "--plot")

    from compiler_core.compile.sources import load_model
    from compiler_core.quantize.arithmetic import arithmetic_of
    from compiler_core.quantize.assignment import default_assignment
    from compiler_core.quantize.sensitivity import sensitivities
    from compiler_core.targets.load import load_target
    from compiler_core.targets.this_machine import require_npu

    chip = require_npu(load_target(target))
    source = load_model(model, shapes)
    samples, labels, judged = _samples(
        source, data or calibration, limit, judged_output, labelled=data is not None
    )
    known = _profile(source, profile_file, calibration, jobs)
    chosen, arithmetic = _scheme(scheme), arithmetic_of(chip.npu)
    found = sensitivities(
        source.graph,
        default_assignment(source.graph, arithmetic=arithmetic),
        known.ranges(chosen.calibration),
        chosen,
        samples,
        labels,
        judged=judged,
        arithmetic=arithmetic,
        progress=lambda done, total: progress(f"layer {done} of {total}"),
    )
    if plot is not None:
        write_atomically(plot, lambda stream: stream.write(_picture(source, found).encode()))
    count = len(next(iter(samples.values())))
    if as_json:
        body = {"model": source.name, "target": chip.name, "samples": count}
        print_json("quantize-sensitivity", body | {"layers": [_document(i) for i in found]})
        return
    _table(found, count)


app.command("search", epilog=quantize_search.EXAMPLE)(quantize_search.search)


def _gather(source: FloatModel, calibration: Path, sizes: list[int], jobs: int) -> Profile:
    from compiler_core.compile.sources import read_samples
    from compiler_core.quantize.profile import profile_model

    samples = read_samples(calibration, source.graph)
    return profile_model(
        source.graph,
        samples,
        sizes,
        threads=jobs,
        progress=lambda done, total: progress(f"{done} of {total} samples"),
    )


def _profile(source: FloatModel, file: Path | None, calibration: Path | None, jobs: int) -> Profile:
    from compiler_core.quantize.profile import read_profile

    if file is not None:
        found = read_profile(file)
        found.check_model(source.graph)
        return found
    if calibration is None:
        raise InputError(
            "there are no calibration data", hint="give --calibration calib.npz or --profile FILE"
        )
    return _gather(source, calibration, [], jobs)


def _samples(
    source: FloatModel, path: Path | None, limit: int, output: str | None, *, labelled: bool
) -> tuple[dict[str, Any], Any, Mapping[str, Judge]]:
    """At most ``limit`` samples, spread evenly, their labels where there are some and are asked
    for, and how outputs are judged."""
    import numpy as np

    from compiler_core.accuracy.exam import make_exam
    from compiler_core.accuracy.samples import read_evaluation
    from compiler_core.graph.sampling import model_batch
    from compiler_core.quantize.infinite_inputs import require_finite

    if path is None:
        raise InputError("there are no samples to measure with", hint="give --data eval.npz")
    given, batch = read_evaluation(path, source.graph), model_batch(source.graph)
    labels = given.labels if labelled else None
    exam = make_exam(source.graph, None, labelled=labels is not None, output=output)
    given.check(exam)
    require_finite(given, source.graph)
    runs = given.samples // batch
    wanted = min(runs, -(-limit // batch))
    starts = np.arange(wanted) * runs // wanted * batch
    chosen = (starts[:, None] + np.arange(batch)).reshape(-1)
    samples = {name: array[chosen] for name, array in given.inputs.items()}
    return samples, None if labels is None else labels[chosen], exam.judges


def _scheme(path: Path | None) -> QuantizationScheme:
    from compiler_core.files.toml_file import read_toml
    from compiler_core.quantize.exponents import Granularity
    from compiler_core.quantize.scheme import QuantizationScheme, read_scheme

    if path is None:
        return QuantizationScheme(
            granularity=Granularity.CHANNEL, bias_correction=True, split_inputs=True
        )
    return read_scheme(read_toml(path), str(path))


def _document(item: LayerSensitivity) -> dict[str, Any]:
    metrics = {
        metric.value: {"value": found.value, "low": found.low, "high": found.high}
        for metric, found in item.accuracy.metrics.items()
    }
    own = {"value": item.own.value, "low": item.own.low, "high": item.own.high}
    return {
        "name": item.name,
        "operator": item.operator,
        "macs": item.macs,
        "metrics": metrics,
        "own_sqnr_db": own,
    }


def _table(found: tuple[LayerSensitivity, ...], samples: int) -> None:
    from rich.table import Table

    from compiler_core.accuracy.metric import Metric
    from nest_tune.scheme_search.plot import noise_bars, text_bar

    shown = found[0].accuracy.counted if found else Metric.AGREEMENT
    table = Table(
        "layer", "operator", "MACs", "own [dB]", "SQNR [dB]", f"{shown.value} (95 %)", "damage"
    )
    table.box = None
    bars = noise_bars([item.accuracy.metrics[Metric.SQNR].value for item in found])
    for item, bar in zip(found, bars, strict=True):
        metric = item.accuracy.metrics[shown]
        table.add_row(
            item.name,
            item.operator,
            f"{item.macs:,}",
            f"{item.own.value:.1f}",
            f"{item.accuracy.metrics[Metric.SQNR].value:.1f}",
            f"{metric.value:.3f} ({metric.low:.3f}–{metric.high:.3f})",
            text_bar(bar, max(bars), 24),
        )
    console().print(table)
    print(
        f"each layer alone in integers, {samples} samples; most damage first; SQNR of what the "
        "layer writes (own) and of the scores"
    )


def _picture(source: FloatModel, found: tuple[LayerSensitivity, ...]) -> str:
    from compiler_core.accuracy.metric import Metric
    from nest_tune.scheme_search.plot import sensitivity_svg

    values = [item.accuracy.metrics[Metric.SQNR].value for item in found]
    title = f"{source.name}: SQNR of the scores with one layer alone in integers"
    return sensitivity_svg(title, [item.name for item in found], values)
