"""Packages of generated sources: read, executed, judged and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.exam import make_exam
from compiler_core.accuracy.settle import settled_exam
from compiler_core.errors import CheckError, InputError
from compiler_core.executable.evaluate import PackageEvaluation
from compiler_core.executable.evaluate import evaluate as evaluate_runner
from compiler_core.executable.runner import BlockResult
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import check_samples, model_batch, take
from compiler_core.quantize.finite_inputs import require_finite
from compiler_core.units.facets.bundles import BundleReport, Bundles, OpenBundle
from nest_tune.api.values import (
    Data,
    Model,
    PathName,
    Progress,
    evaluation_of,
    loaded_model,
    samples_of,
)
from nest_tune.bundling import opens_bundle
from nest_tune.user_modules import allow_folder, working_folder

_RUNS_PER_BLOCK = 256


@dataclass(frozen=True, eq=False)
class BundleRun:
    """What an execution gave.

    Attributes:
        outputs: Array per output of the model, real numbers, samples first.
        samples: How many were run.
        bit_exact: ``True`` where they were compared with the reference, else ``None``.
        core: That ran them.
    """

    outputs: Mapping[str, npt.NDArray[Any]]
    samples: int
    bit_exact: bool | None
    core: str


def load_bundle(package: PathName) -> tuple[Bundles, OpenBundle]:
    """Reads a package of sources, and who knows its kind.

    Raises:
        InputError: It is none, or a file of it is missing or changed.
    """
    bundles = opens_bundle(Path(package))
    if bundles is None:
        raise InputError(
            f"package {package}: holds no generated sources with their configuration",
            hint="nest-tune compile MODEL --target cortex-m4 writes one",
        )
    return bundles, bundles.open(Path(package))


def run_bundle(
    package: PathName,
    inputs: Data,
    *,
    check: bool = False,
    emulated: bool = False,
    progress: Progress = lambda _: None,
) -> BundleRun:
    """Builds the sources of a package and executes them.

    Args:
        package: Folder.
        inputs: Samples: an ``.npz`` file, or arrays by input.
        check: Compare every output with the reference, bit for bit.
        emulated: On the target's core in an emulator; else on this machine.
        progress: Told what is being done.

    Raises:
        InputError: The package is damaged, or the inputs do not fit.
        MissingDependencyError: Compiler or emulator are not installed.
        CheckError: A bit differs, or the program fails.

    Example:
        >>> import nest_tune
        >>> made = nest_tune.compile_bundle(
        ...     "examples/digits/model.onnx", "c99", "out", calibration="examples/digits/calib.npz"
        ... )
        >>> nest_tune.run_bundle("out", "examples/digits/calib.npz", check=True).bit_exact
        True
    """
    opened = load_bundle(package)[1]
    samples = samples_of(inputs, opened.graph)
    count = check_samples(opened.graph, samples)
    core = opened.report.core if emulated else "this machine"
    progress(f"building for {core}, running {count} samples")
    rows = opened.run(samples, emulated=emulated)
    if check:
        progress("computing the reference")
        _compare(package, rows, opened.reference(samples))
    outputs = {name: opened.real(name, array) for name, array in rows.items()}
    return BundleRun(outputs, count, True if check else None, core)


def _compare(package: PathName, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    for name, expected in theirs.items():
        wrong = np.argwhere(ours[name].view(np.uint8) != expected.view(np.uint8))
        if len(wrong):
            run, byte = map(int, wrong[0])
            raise CheckError(
                f"package {package} differs from the integer reference: output {name!r}, run "
                f"{run}, byte {byte}; {len(wrong)} bytes in all"
            )


class _BundleRunner:
    """Executes sources in blocks, as :class:`compiler_core.executable.runner.PackageRunner`."""

    def __init__(self, opened: OpenBundle, executor: str) -> None:
        self._opened, self._executor = opened, executor

    @property
    def signature(self) -> Graph:
        return self._opened.graph

    def blocks(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Iterator[BlockResult]:
        graph = self.signature
        count = check_samples(graph, inputs)
        step = model_batch(graph) * _RUNS_PER_BLOCK
        for first in range(0, count, step):
            last = min(first + step, count)
            part = take(graph, inputs, first, last)
            if self._executor == "reference":
                rows = self._opened.reference(part)
            else:
                rows = self._opened.run(part, emulated=self._executor == "qemu")
            found = {name: self._opened.real(name, array) for name, array in rows.items()}
            yield BlockResult(first, last - first, found, {})


def evaluate_bundle(
    package: PathName,
    data: Data,
    *,
    against: Model | None = None,
    metric: str | None = None,
    limit: int | None = None,
    executor: str = "native",
    output: str | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> PackageEvaluation:
    """Measures how good a package of sources is, by labels or against the float model.

    Args:
        package: Folder.
        data: Samples and labels, as for :func:`nest_tune.evaluate`.
        against: Float model to compare with.
        metric: As for :func:`nest_tune.evaluate`.
        limit: Take the first so many samples.
        executor: ``native`` runs the sources on this machine, ``qemu`` on the target's core,
            ``reference`` computes the same bits without a compiler.
        output: The only output that counts.
        shapes: Of inputs of the float model with dynamic axes.
        progress: Told how many samples of how many are done.

    Raises:
        InputError: The package is damaged, or data or float model do not fit.
        MissingDependencyError, CheckError: See :func:`run_bundle`.

    Example:
        >>> import nest_tune
        >>> made = nest_tune.compile_bundle(
        ...     "examples/digits/model.onnx", "c99", "out", calibration="examples/digits/calib.npz"
        ... )
        >>> found = nest_tune.evaluate_bundle(
        ...     "out", "examples/digits/eval.npz", executor="reference", limit=100
        ... )
        >>> found.accuracy > 0.9
        True
    """
    if executor not in ("native", "qemu", "reference"):
        raise InputError(f"executor {executor!r}; allowed are native, qemu, reference")
    opened = load_bundle(package)[1]
    graph = opened.graph if against is None else loaded_model(against, shapes, data).graph
    given = evaluation_of(data, opened.graph)
    chosen = given.first(limit)
    told: tuple[str, ...] = ()
    if against is None:
        exam = make_exam(graph, metric, labelled=given.labels is not None, output=output)
    else:
        exam, told = settled_exam(graph, chosen, metric, output)
    given.check(exam)
    require_finite(given, opened.graph, judged=tuple(exam.judges))
    allow_folder(working_folder())
    found = evaluate_runner(
        _BundleRunner(opened, executor),
        chosen,
        exam,
        against=None if against is None else graph,
        progress=lambda done: progress(done, chosen.samples),
    )
    return replace(found, notes=(*told, *found.notes))


def profile_bundle(package: PathName) -> BundleReport:
    """Measures every operator of a package: instructions in an emulator, else time by the clock.

    Raises:
        InputError: The package is damaged.
        MissingDependencyError, CheckError: See :func:`run_bundle`.

    Example:
        >>> import nest_tune
        >>> made = nest_tune.compile_bundle(
        ...     "examples/digits/model.onnx", "c99", "out", calibration="examples/digits/calib.npz"
        ... )
        >>> all(layer.latency_ms > 0 for layer in nest_tune.profile_bundle("out").operators)
        True
    """
    bundles, opened = load_bundle(package)
    report = opened.report
    if bundles.counts(report.core):
        return bundles.count(report, Path(package))
    return bundles.times_ms(report, Path(package))
