"""``nest-tune evaluate``: accuracy of a compiled model."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from nest_tune.cli.compile import parse_shapes
from nest_tune.cli.output import print_json

EXAMPLE = "Example: nest-tune evaluate out --data eval.npz --against resnet8.onnx --json"


class MetricName(Enum):
    """What is counted."""

    TOP1 = "top1"
    TOP5 = "top5"
    AGREEMENT = "agreement"


class Executor(Enum):
    """Who computes the integers; both give the same bits."""

    SIMULATOR = "simulator"
    REFERENCE = "reference"


def evaluate(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="Folder of the package.")],
    data: Annotated[
        Path, typer.Option(metavar="eval.npz", help="x (or one array per input) and labels y.")
    ],
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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure the accuracy of a package on labelled data."""
    shapes = parse_shapes(shape or [])

    from compiler_core.errors import InputError
    from compiler_core.frontend import LABELS, load_model, read_samples
    from compiler_core.npz import read_npz
    from compiler_core.package.backends import Backend, Reference, Simulator
    from compiler_core.package.evaluate import Metric
    from compiler_core.package.evaluate import evaluate as measure
    from compiler_core.package.reader import read_package
    from compiler_core.package.runner import Runner

    loaded = read_package(package)
    executable = loaded.executable
    samples = read_samples(data, executable.signature)
    labels = read_npz(data, names=[LABELS]).get(LABELS)
    if limit is not None:
        samples = {name: array[:limit] for name, array in samples.items()}
        labels = None if labels is None else labels[:limit]
    chosen = metric or (MetricName.AGREEMENT if labels is None else MetricName.TOP1)
    name = output or executable.signature.outputs[0]
    if name not in executable.signature.outputs:
        known = ", ".join(executable.signature.outputs)
        raise InputError(f"--output {name}: the model has no such output; it has {known}")
    backend: Backend
    if executor is Executor.SIMULATOR:
        backend = Simulator(executable, threads=jobs)
    else:
        backend = Reference(executable, threads=jobs)
    result = measure(
        Runner(executable, backend),
        samples,
        labels,
        Metric(chosen.value),
        output=name,
        against=None if against is None else load_model(against, shapes).graph,
        progress=_Progress(len(next(iter(samples.values())))),
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

    def __init__(self, total: int) -> None:
        self._total, self._next = total, 0

    def __call__(self, done: int) -> None:
        if done >= self._next or done == self._total:
            print(f"{done} of {self._total} samples", file=sys.stderr, flush=True)
            self._next = done + max(1, self._total // 10)
