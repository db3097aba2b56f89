"""``nest-tune quantize search``: a good scheme for a model whose plan is the default."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.files.whole_file import require_writable
from nest_tune.api.asked import JudgedSettings
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
    from compiler_core.quantize.accuracy import Accuracy
    from nest_tune.api.schemes import SchemeSearch
    from nest_tune.scheme_search.search import ScoredScheme

EXAMPLE = (
    "Example: nest-tune quantize search resnet8.onnx --target vta --calibration calib.npz "
    "--data eval.npz -o best.toml"
)


@takes(JudgedSettings)
def search(
    model: ModelFile,
    target: Annotated[str, typer.Option(metavar="T", help="Target: a name or a TOML file.")],
    calibration: Annotated[
        Path, typer.Option(metavar="calib.npz", help="Samples: x, or one array per input.")
    ],
    data: Annotated[
        Path, typer.Option(metavar="eval.npz", help="Samples to choose by, and labels y.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE.toml", help="Configuration, for compile --config."
        ),
    ],
    npu_share: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Least part of the multiplications in int8 on the NPU.",
        ),
    ] = 0.9,
    uniform: Annotated[
        bool, typer.Option("--uniform", help="Keep every supported layer on the NPU.")
    ] = False,
    gptq: Annotated[
        bool | None,
        typer.Option(
            "--gptq/--no-gptq",
            help="Try weights rounded by GPTQ, too; by default where agreement is below 0.9.",
        ),
    ] = None,
    fix_input: FixedInputs = None,
    *,
    asked: JudgedSettings,
    as_json: AsJson = False,
) -> None:
    """Find a quantization scheme: a grid in stages, then layers back to float.

    Accuracies are of the samples that chose, so they flatter: judge the result on others.
    """
    model = fixed_model(model, fix_input)
    require_writable(output, "--output")

    from nest_tune.api.schemes import search_scheme

    found = search_scheme(
        model,
        target,
        calibration=calibration,
        data=data,
        output=output,
        npu_share=npu_share,
        uniform=uniform,
        gptq=gptq,
        progress=progress,
        **asked,
    )
    if as_json:
        print_json("quantize-search", _document(found, output))
        return
    _table(found)
    print(f"{output}: the {'uniform' if uniform else 'mixed'} one")


def _document(found: SchemeSearch, output: Path) -> dict[str, Any]:
    result = found.result
    return {
        "model": found.model,
        "target": found.target,
        "configuration": str(output),
        "samples": result.uniform.accuracy.samples,
        "float": _metrics(found.float_accuracy),
        "uniform": _candidate(result.uniform),
        "mixed": None if result.mixed is None else _candidate(result.mixed),
        "evaluated": len(result.evaluated),
    }


def _candidate(found: ScoredScheme) -> dict[str, Any]:
    from compiler_core.quantize.scheme import scheme_document

    return {
        "scheme": scheme_document(found.scheme),
        "npu_share": found.npu_share,
        "metrics": _metrics(found.accuracy),
    }


def _metrics(accuracy: Accuracy) -> dict[str, Any]:
    return {
        metric.value: {"value": found.value, "low": found.low, "high": found.high}
        for metric, found in accuracy.metrics.items()
    }


def _table(search: SchemeSearch) -> None:
    from rich.table import Table

    from compiler_core.accuracy.metric import Metric
    from compiler_core.quantize.scheme import QuantizationScheme, scheme_document

    default = scheme_document(QuantizationScheme())
    result, floats = search.result, search.float_accuracy
    shown = floats.counted
    table = Table("", f"{shown.value} (95 %)", "SQNR [dB]", "on the NPU", "decisions")
    table.box = None
    rows: list[tuple[str, Accuracy, str, str]] = [("float", floats, "", "")]
    for label, found in (("uniform", result.uniform), ("mixed", result.mixed)):
        if found is None:
            continue
        decided = ", ".join(
            f"{name}={' '.join(value) if isinstance(value, list) else value}"
            for name, value in scheme_document(found.scheme).items()
            if value != default[name]
        )
        rows.append((label, found.accuracy, f"{100 * found.npu_share:.1f} %", decided))
    for label, accuracy, share, decided in rows:
        metric = accuracy.metrics[shown]
        noise = "" if label == "float" else f"{accuracy.metrics[Metric.SQNR].value:.1f}"
        if label == "float" and shown is Metric.SQNR:
            continue
        interval = f"{metric.value:.3f} ({metric.low:.3f}–{metric.high:.3f})"
        table.add_row(label, interval, noise, share, decided)
    print_table(table)
