"""``nest-tune quantize search``: a good scheme for a model whose plan is the default."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.files.whole_file import require_writable, write_atomically
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
    from compiler_core.quantize.accuracy import Accuracy
    from nest_tune.scheme_search.evaluation import SchemeEvaluator
    from nest_tune.scheme_search.search import Candidate, SearchResult

EXAMPLE = (
    "Example: nest-tune quantize search resnet8.onnx --target vta --calibration calib.npz "
    "--data eval.npz -o best.toml"
)


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
    judged_output: JudgedOutput = None,
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
    shape: Shapes = None,
    jobs: OrtThreads = 1,
    as_json: AsJson = False,
) -> None:
    """Find a quantization scheme: a grid in stages, then layers back to float.

    Accuracies are of the samples that chose, so they flatter: judge the result on others.
    """
    shapes = parse_shapes(shape)
    require_writable(output, "--output")

    from compiler_core.accuracy.exam import make_exam
    from compiler_core.accuracy.samples import read_evaluation, read_samples
    from compiler_core.compile.sources import load_model, quantize_model
    from compiler_core.configuration.configuration import (
        Configuration,
        Scheme,
        Subject,
        configuration_text,
    )
    from compiler_core.partition.configured import with_room
    from compiler_core.quantize.arithmetic import arithmetic_of
    from compiler_core.quantize.assignment import default_assignment
    from compiler_core.quantize.calibration_warnings import calibration_warnings
    from compiler_core.quantize.infinite_inputs import require_finite
    from compiler_core.targets.load import load_target
    from compiler_core.targets.this_machine import require_npu
    from nest_tune.scheme_search.accuracy_cache import AccuracyCache
    from nest_tune.scheme_search.evaluation import SchemeEvaluator
    from nest_tune.scheme_search.search import search_schemes
    from nest_tune.stores.profile_store import stored_profile
    from nest_tune.stores.task_store import cache_folder

    chip = require_npu(load_target(target))
    source = load_model(model, shapes)
    given = read_evaluation(data, source.graph)
    labelled = given.labels is not None
    given.check(make_exam(source.graph, None, labelled=labelled, output=judged_output))
    require_finite(given, source.graph)
    known = read_samples(calibration, source.graph)
    profile = stored_profile(
        source.graph,
        known,
        threads=jobs,
        progress=lambda done, total: progress(f"profile: {done} of {total} samples"),
    )
    for warning in calibration_warnings(source.graph, profile):
        print(f"warning: {warning}", file=sys.stderr)
    arithmetic = arithmetic_of(chip.npu)
    units = default_assignment(source.graph, arithmetic=arithmetic)
    cache = AccuracyCache(cache_folder() / "accuracies")
    choosing, plain = (
        SchemeEvaluator(
            source.graph,
            units,
            profile,
            samples,
            labels,
            output=judged_output,
            arithmetic=arithmetic,
            cache=cache,
            threads=jobs,
        )
        for samples, labels in ((given.inputs, given.labels), (known, None))
    )
    result = search_schemes(
        choosing,
        unlabelled=plain,
        npu_share=npu_share,
        gptq=gptq,
        mixed=not uniform,
        progress=progress,
    )
    chosen = result.mixed or result.uniform
    asked = Configuration(
        Scheme.of({}, chosen.scheme),
        model=Subject(source.name, source.digest),
        target=Subject(chip.name, chip.digest),
    )
    roomy = with_room(asked, source, chip)
    found = quantize_model(source, roomy, profile, arithmetic=arithmetic).configuration
    text = configuration_text(found)
    write_atomically(output, lambda stream: stream.write(text.encode()))
    if as_json:
        print_json("quantize-search", _document(source.name, chip.name, output, choosing, result))
        return
    _table(choosing, result)
    print(f"{output}: the {'uniform' if uniform else 'mixed'} one")


def _document(
    model: str, target: str, output: Path, evaluator: SchemeEvaluator, result: SearchResult
) -> dict[str, Any]:
    return {
        "model": model,
        "target": target,
        "configuration": str(output),
        "samples": result.uniform.accuracy.samples,
        "float": _metrics(evaluator.float_accuracy()),
        "uniform": _candidate(result.uniform),
        "mixed": None if result.mixed is None else _candidate(result.mixed),
        "evaluated": len(result.evaluated),
    }


def _candidate(found: Candidate) -> dict[str, Any]:
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


def _table(evaluator: SchemeEvaluator, result: SearchResult) -> None:
    from rich.table import Table

    from compiler_core.accuracy.metric import Metric
    from compiler_core.quantize.scheme import QuantizationScheme, scheme_document

    default = scheme_document(QuantizationScheme())
    shown = evaluator.float_accuracy().counted
    table = Table("", f"{shown.value} (95 %)", "SQNR [dB]", "on the NPU", "decisions")
    table.box = None
    rows: list[tuple[str, Accuracy, str, str]] = [("float", evaluator.float_accuracy(), "", "")]
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
    console().print(table)
