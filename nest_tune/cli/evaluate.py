"""``nest-tune evaluate``: accuracy of a compiled model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.errors import InputError
from compiler_core.executable.runtimes import DEFAULT_RUNTIME
from nest_tune.cli.completion import runtimes, study_names
from nest_tune.cli.options import (
    AsJson,
    CmsisNn,
    FixedInputs,
    States,
    fixed_model,
    named_source,
    parse_shapes,
    parse_states,
)
from nest_tune.cli.output import print_json
from nest_tune.figures import figure

if TYPE_CHECKING:
    from compiler_core.executable.evaluate import PackageEvaluation

EXAMPLE = "Example: nest-tune evaluate out --data eval.npz --against resnet8.onnx --json"


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
        str | None,
        typer.Option(
            metavar="NAME",
            help="top1, top5, agreement, sqnr_db, cosine, kl, or module:function; default: top1 "
            "with labels, else agreement, or sqnr_db for real values.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Take the first N samples.")
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=runtimes,
            help="simulator: the compiled programs (default); reference: faster, same bits; "
            "generated C: native (default), qemu, reference.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "--judged-output",
            metavar="NAME",
            help="Only output that counts; default: all, the worst.",
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=1,3,…", help="Shape of an input of the float model."),
    ] = None,
    fix_input: FixedInputs = None,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Samples at the same time.")] = 1,
    state: States = None,
    cmsis_nn: CmsisNn = None,  # noqa: ARG001
    as_json: AsJson = False,
) -> None:
    """Measure how good a package is: by labels, or against the float model."""
    shapes = parse_shapes(shape)
    named = named_source(config, study, storage)
    if named is not None:
        data = data or (None if named.evaluation is None else named.evaluation.found())
        against = against or named.model.found()
        shapes = shapes or dict(named.shapes)
        metric = metric or named.metric or None
    against = None if against is None else fixed_model(against, fix_input)
    if data is None:
        raise InputError(
            "evaluate: no data",
            hint="--data eval.npz, or --config best.toml or --study NAME, which name them",
        )

    from nest_tune.bundling import opens_bundle

    common: dict[str, Any] = {
        "against": against,
        "metric": metric,
        "limit": limit,
        "output": output,
        "shapes": shapes,
        "progress": _Progress(),
    }
    if opens_bundle(package) is not None:
        from nest_tune.api.bundle_packages import evaluate_bundle
        from nest_tune.cli.boards import refuse

        refuse(f"package {package}", {"--state": state})
        executor = executor or "native"
        result = evaluate_bundle(package, data, executor=executor, **common)
    else:
        from nest_tune.api.packages import evaluate as evaluate_package

        executor = executor or DEFAULT_RUNTIME
        states = parse_states(state)
        result = evaluate_package(
            package, data, executor=executor, states=states, threads=jobs, **common
        )
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    if as_json:
        print_json("evaluate", _document(package, executor, result))
        return
    _show(executor, result)


def _document(package: Path, executor: str, result: PackageEvaluation) -> dict[str, Any]:
    interval = result.interval
    return {
        "package": str(package),
        "metric": result.metric,
        "value": result.value,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "accuracy": result.accuracy,
        "float_accuracy": result.float_accuracy,
        "accuracy_drop": result.accuracy_drop,
        "agreement": result.agreement,
        "outputs": dict(result.outputs),
        "samples": result.samples,
        "executor": executor,
        "notes": list(result.notes),
    }


def _show(executor: str, result: PackageEvaluation) -> None:
    executor = result.computed_by or executor
    of = "" if len(result.outputs) < 2 else ", the worst output"
    shown = figure(result.value, result.metric)
    print(f"{result.metric} {shown} on {result.samples} samples ({executor}){of}")
    if of:
        for name, value in result.outputs.items():
            print(f"  {name} {figure(value, result.metric)}")
    if result.float_accuracy is not None:
        own = figure(result.float_accuracy, result.metric)
        drop = figure(result.accuracy_drop, result.metric, signed=True)
        print(f"float {result.metric} {own}, drop {drop}")
    if result.agreement is not None and result.metric != "agreement":
        print(f"agreement with the float model {result.agreement:.4f}")


class _Progress:
    """A line on standard error now and then."""

    def __init__(self) -> None:
        self._next = 0

    def __call__(self, done: int, total: int) -> None:
        if done >= self._next or done == total:
            print(f"{done} of {total} samples", file=sys.stderr, flush=True)
            self._next = done + max(1, total // 10)
