"""``nest-tune quantize``: statistics of activations, layers by the damage they do, schemes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.files.whole_file import require_writable, write_atomically
from nest_tune.api.asked import JudgedSettings, RunSettings
from nest_tune.cli import quantize_search
from nest_tune.cli.completion import target_names
from nest_tune.cli.options import (
    AsJson,
    FixedInputs,
    ModelFile,
    fixed_model,
)
from nest_tune.cli.output import print_json, progress
from nest_tune.cli.setting_options import takes
from nest_tune.cli.tables import print_table

if TYPE_CHECKING:
    from compiler_core.quantize.sensitivity import LayerSensitivity
    from nest_tune.api.schemes import Sensitivities

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
@takes(RunSettings)
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
    fix_input: FixedInputs = None,
    *,
    asked: RunSettings,
    as_json: AsJson = False,
) -> None:
    """Gather activation statistics once, for every scheme that follows."""
    model = fixed_model(model, fix_input)
    require_writable(output, "--output")

    from nest_tune.api.schemes import profile_activations

    made = profile_activations(
        model,
        calibration,
        output,
        sizes=size or [],
        progress=lambda done, total: progress(f"{done} of {total} samples"),
        **asked,
    )
    for warning in made.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    found = made.profile
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
        f"{output}: {len(largest)} tensors of {made.model}, statistics of "
        f"{', '.join(map(str, sorted(found.sizes)))} samples, {output.stat().st_size:,} bytes"
    )


@app.command(
    "sensitivity",
    epilog="Example: nest-tune quantize sensitivity resnet8.onnx --target vta-pynq "
    "--calibration calib.npz --data eval.npz --plot layers.svg",
)
@takes(JudgedSettings)
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
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Write a picture.")] = None,
    fix_input: FixedInputs = None,
    *,
    asked: JudgedSettings,
    as_json: AsJson = False,
) -> None:
    """Rank layers by the damage each does when it alone is quantized."""
    model = fixed_model(model, fix_input)
    require_writable(plot, "--plot")

    from nest_tune.api.schemes import sensitivity as rank

    found = rank(
        model,
        target,
        calibration=calibration,
        profile=profile_file,
        data=data,
        scheme=scheme,
        limit=limit,
        progress=progress,
        **asked,
    )
    if plot is not None:
        picture = _picture(found).encode()
        write_atomically(plot, lambda stream: stream.write(picture))
    if as_json:
        body = {"model": found.model, "target": found.target, "samples": found.samples}
        layers = [_document(item) for item in found.layers]
        print_json("quantize-sensitivity", body | {"layers": layers})
        return
    _table(found.layers, found.samples)


app.command("search", epilog=quantize_search.EXAMPLE)(quantize_search.search)


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
    print_table(table)
    print(
        f"each layer alone in integers, {samples} samples; most damage first; SQNR of what the "
        "layer writes (own) and of the scores"
    )


def _picture(found: Sensitivities) -> str:
    from compiler_core.accuracy.metric import Metric
    from nest_tune.scheme_search.plot import sensitivity_svg

    values = [item.accuracy.metrics[Metric.SQNR].value for item in found.layers]
    title = f"{found.model}: SQNR of the scores with one layer alone in integers"
    return sensitivity_svg(title, [item.name for item in found.layers], values)
