"""``nest-tune evaluate``: accuracy of a compiled model."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from compiler_core.errors import InputError
from nest_tune.cli.completion import study_names
from nest_tune.cli.options import AsJson, named_source, parse_shapes
from nest_tune.cli.output import print_json

EXAMPLE = "Example: nest-tune evaluate out --data eval.npz --against resnet8.onnx --json"


class MetricName(Enum):
    """What is counted."""

    TOP1 = "top1"
    TOP5 = "top5"
    AGREEMENT = "agreement"


_METRICS = frozenset(metric.value for metric in MetricName)


class Executor(Enum):
    """Who computes the integers; both give the same bits."""

    SIMULATOR = "simulator"
    REFERENCE = "reference"


def evaluate(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="Folder of the package.")],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="eval.npz",
            help="x (or one array per input) and labels y; else those that --config or --study "
            "name.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="best.toml", help="Lock file: its data and metric, against its model."
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=study_names,
            help="Study: its data and metric, against its model.",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Database of --study; default sqlite:///nest-tune.db."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="model.onnx", help="Float model to compare with.")
    ] = None,
    metric: Annotated[
        MetricName | None, typer.Option(help="Default: top1, or agreement where y is missing.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Take the first N samples.")
    ] = None,
    executor: Annotated[
        Executor,
        typer.Option(help="The compiled programs, or the integer reference: faster, same bits."),
    ] = Executor.SIMULATOR,
    output: Annotated[
        str | None, typer.Option(metavar="NAME", help="Output with the scores; else the first.")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=1,3,…", help="Shape of an input of the float model."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Samples at the same time.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Measure the accuracy of a package on labelled data."""
    shapes = parse_shapes(shape)
    named = named_source(config, study, storage)
    counted = None if metric is None else metric.value
    if named is not None:
        data = data or (None if named.evaluation is None else named.evaluation.found())
        against = against or named.model.found()
        shapes = shapes or dict(named.shapes)
        counted = counted or (named.metric if named.metric in _METRICS else None)
    if data is None:
        raise InputError(
            "evaluate: no data",
            hint="--data eval.npz, or --config best.toml or --study NAME, which name them",
        )

    from nest_tune.api.packages import evaluate as evaluate_package

    result = evaluate_package(
        package,
        data,
        against=against,
        metric=cast("Literal['top1', 'top5', 'agreement'] | None", counted),
        limit=limit,
        executor=executor.value,
        output=output,
        shapes=shapes,
        threads=jobs,
        progress=_Progress(),
    )
    if as_json:
        body = {
            "package": str(package),
            "metric": result.metric.value,
            "accuracy": result.accuracy,
            "float_accuracy": result.float_accuracy,
            "accuracy_drop": result.accuracy_drop,
            "agreement": result.agreement,
            "samples": result.samples,
            "executor": executor.value,
        }
        print_json("evaluate", body)
        return
    print(
        f"{result.metric.value} {result.accuracy:.4f} on {result.samples} samples "
        f"({executor.value})"
    )
    if result.float_accuracy is not None:
        print(
            f"float {result.metric.value} {result.float_accuracy:.4f}, drop "
            f"{result.accuracy_drop:+.4f}"
        )
    if result.agreement is not None:
        print(f"agreement with the float model {result.agreement:.4f}")


class _Progress:
    """A line on standard error now and then."""

    def __init__(self) -> None:
        self._next = 0

    def __call__(self, done: int, total: int) -> None:
        if done >= self._next or done == total:
            print(f"{done} of {total} samples", file=sys.stderr, flush=True)
            self._next = done + max(1, total // 10)
