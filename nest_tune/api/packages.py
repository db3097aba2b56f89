"""Packages: read, executed, evaluated and profiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from compiler_core.accuracy.exam import make_exam
from compiler_core.accuracy.settle import settled_exam
from compiler_core.accuracy.states import Run, output_for_labels, unrolled_evaluation
from compiler_core.errors import CheckError, InputError, OpenShapeError
from compiler_core.executable.backends import Observer, Simulator
from compiler_core.executable.check import run_checked
from compiler_core.executable.evaluate import PackageEvaluation
from compiler_core.executable.evaluate import evaluate as evaluate_runner
from compiler_core.executable.profile import Roofline, UnitProfile, by_unit, trace_slices, tracks
from compiler_core.executable.profile import roofline as roofline_of
from compiler_core.executable.report import LayerReport, Metrics
from compiler_core.executable.results import flat_outputs
from compiler_core.executable.runner import PackageRunner
from compiler_core.executable.runtimes import DEFAULT_RUNTIME, RUNTIMES, make_backend
from compiler_core.files.trace import write_trace
from compiler_core.graph.importer import import_onnx
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.sampling import check_samples, spread
from compiler_core.package.manifest import QDQ_MODEL
from compiler_core.package.reader import Package, read_package
from compiler_core.quantize.finite_inputs import require_finite
from nest_tune.api.compiling import Compilation
from nest_tune.api.values import (
    Data,
    Model,
    PathName,
    Progress,
    float_run,
    loaded_model,
    path_of,
    stateful_evaluation_of,
    stateful_samples_of,
)
from nest_tune.user_modules import allow_folder, working_folder


@dataclass(frozen=True, eq=False)
class RunResult:
    """What an execution on the simulator gave.

    Attributes:
        outputs: Array per output of the model; its first axis is the sample. Sequences, and what
            differs in shape from sample to sample, are ``name/0``, ``name/1`` …
            (:mod:`compiler_core.executable.results`).
        samples: How many were run.
        bit_exact: ``True`` where it was compared with the integer reference, else ``None``.
        metrics: Totals of one run.
    """

    outputs: Mapping[str, npt.NDArray[Any]]
    samples: int
    bit_exact: bool | None
    metrics: Metrics


@dataclass(frozen=True, eq=False)
class PackageProfile:
    """Where time, bytes and energy of a package go.

    Attributes:
        package: What was profiled.
        metrics: Totals of one run.
        layers: In execution order: unit, cycles, bound, bytes, latency in ms.
        rooflines: Per layer; ``None`` for what runs on the CPU.
        units: Sums and shares per unit.
    """

    package: Package
    metrics: Metrics
    layers: tuple[LayerReport, ...]
    rooflines: tuple[Roofline | None, ...]
    units: tuple[UnitProfile, ...]

    def write_trace(self, path: PathName) -> None:
        """Writes a timeline of one run that opens in Perfetto.

        Raises:
            InputError: The file cannot be written.
        """
        from compiler_core.files.whole_file import require_writable, write_atomically

        require_writable(Path(path), "trace")
        manifest = self.package.manifest
        title = f"{manifest.model.name} on {manifest.target.name}"
        slices = trace_slices(self.package.executable, self.package.report)
        names = tracks(manifest.target)
        write_atomically(Path(path), lambda stream: write_trace(stream, title, names, slices))


def load_package(package: PathName | Package | Compilation) -> Package:
    """Reads a package and verifies it: every digest, type, name and address.

    Args:
        package: Folder, or what :func:`compile` returned; a loaded package is returned as it is.

    Raises:
        InputError: It is not a package, or a file of it is missing or changed.

    Example:
        >>> import nest_tune
        >>> _ = nest_tune.compile(
        ...     "examples/digits/model.onnx", "vta", "out", calibration="examples/digits/calib.npz"
        ... )
        >>> nest_tune.load_package("out").manifest.target.name
        'vta'
    """
    if isinstance(package, Package):
        return package
    if isinstance(package, Compilation):
        return read_package(package.folder)
    return read_package(path_of("package", package))


def run(
    package: PathName | Package | Compilation,
    inputs: Data,
    *,
    check: bool = False,
    states: Mapping[str, str] | None = None,
    threads: int = 1,
    observer: Observer | None = None,
    progress: Progress = lambda _: None,
) -> RunResult:
    """Executes a package on the simulator.

    Args:
        package: Folder or loaded package.
        inputs: Samples: an ``.npz`` file, or arrays by input (``x`` stands for the only input);
            the first axis is the sample.
        check: Compare every output of every integer segment and every output of the model with
            the integer reference, bit for bit.
        states: Inputs by the outputs that are fed back to them from sample to sample.
        threads: Samples at the same time.
        observer: Called with every launch of the first sample and the memory around it.
        progress: Told what is being done.

    Raises:
        InputError: The package is damaged, the inputs do not fit the model, or there is nothing to
            check on a target without an NPU.
        CheckError: ``check`` was asked for and a bit differs.

    Example:
        >>> import nest_tune
        >>> made = nest_tune.compile(
        ...     "examples/digits/model.onnx", "vta", "out", calibration="examples/digits/calib.npz"
        ... )
        >>> result = nest_tune.run(made, "examples/digits/calib.npz", check=True)
        >>> {name: array.shape[1:] for name, array in result.outputs.items()}
        {'logits': (10,)}
    """
    loaded = load_package(package)
    executable = loaded.executable
    if check and not executable.target.npu_cores:
        raise InputError(
            f"package {loaded.folder} is for {executable.target.name!r}, which has no NPU: there "
            "are no programs to compare with the integer reference",
            hint="nest-tune evaluate PACKAGE --data eval.npz --against model.onnx compares outputs",
        )
    own = PackageRunner(executable, Simulator(executable, threads=threads))
    samples = stateful_samples_of(inputs, executable.signature, states or {}, _once(own))
    simulator = Simulator(executable, threads=threads, observer=observer)
    count = check_samples(executable.signature, samples)
    progress(f"running {count} samples{' with check' if check else ''}")
    if check:
        outputs, difference = run_checked(executable, simulator, samples)
        if difference is not None:
            raise CheckError(
                f"package {loaded.folder} differs from the integer reference: {difference}",
                hint="nest-tune run --dump-launches DIR writes the launches",
            )
    else:
        outputs = PackageRunner(executable, simulator).run(samples)
    return RunResult(flat_outputs(outputs), count, True if check else None, loaded.manifest.metrics)


def evaluate(
    package: PathName | Package | Compilation,
    data: Data,
    *,
    against: Model | None = None,
    metric: str | None = None,
    limit: int | None = None,
    executor: str = DEFAULT_RUNTIME,
    output: str | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    states: Mapping[str, str] | None = None,
    threads: int = 1,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> PackageEvaluation:
    """Measures how good a package is: its accuracy by labels, or how near the float model it is.

    Args:
        package: Folder or loaded package.
        data: Samples as for :func:`run`, and labels ``y``: ``int64[samples]``, for outputs with
            positions ``int64[samples, positions…]``; 0 and 1 for an output of one value.
        against: Float model to compare with.
        metric: ``top1``, ``top5``, ``agreement``, ``sqnr_db``, ``cosine``, ``kl``, or
            ``module:function``; by default ``top1`` where there are labels, else ``agreement``, or
            ``sqnr_db`` for outputs of real values.
        limit: Take the first so many samples.
        executor: ``simulator`` runs the compiled programs, ``reference`` computes the same bits
            faster; or a plug-in's runtime.
        output: The only output that counts; by default all do, and the worst decides.
        shapes: Of inputs of the float model with dynamic axes.
        states: Inputs by the outputs that are fed back to them from sample to sample; the package
            and the float model have states of their own. Labels are about the only other output.
        threads: Samples at the same time.
        progress: Told how many samples of how many are done.

    Raises:
        InputError: The package is damaged, data or float model do not fit, or the metric cannot
            judge an output.

    Example:
        >>> import nest_tune
        >>> made = nest_tune.compile(
        ...     "examples/digits/model.onnx", "vta", "out", calibration="examples/digits/calib.npz"
        ... )
        >>> found = nest_tune.evaluate(made, "examples/digits/eval.npz", executor="reference")
        >>> found.accuracy > 0.9
        True
    """
    RUNTIMES.require(executor)
    loaded = load_package(package)
    executable = loaded.executable
    graph = None
    if against is not None:
        graph = _float_model(against, shapes, data, executable.signature)
    given = stateful_evaluation_of(data, executable.signature, states or {})
    chosen = given.first(limit)
    told: tuple[str, ...] = ()
    judged = _judged_graph(loaded) if graph is None else graph
    if graph is None or states:
        if output is None and given.labels is not None:
            output = output_for_labels(judged, states or {})
        exam = make_exam(judged, metric, labelled=given.labels is not None, output=output)
    else:
        exam, told = settled_exam(graph, chosen, metric, output)
    given.check(exam)
    require_finite(given, executable.signature, executable.views)
    if not states:  # of what is handed on, nothing is known before it runs
        require_finite(given, judged, executable.views, judged=tuple(exam.judges))
    allow_folder(working_folder())
    runner, theirs = (
        PackageRunner(executable, make_backend(executor, executable, threads=threads)),
        None,
    )
    if states:
        if graph is not None:
            theirs = unrolled_evaluation(graph, chosen, states, float_run(graph, threads)).inputs
        chosen = unrolled_evaluation(executable.signature, chosen, states, _once(runner))
    found = evaluate_runner(
        runner,
        chosen,
        exam,
        against=graph,
        float_inputs=theirs,
        progress=lambda done: progress(done, chosen.samples),
    )
    by = executor if executable.unit_segments else "onnxruntime"
    return replace(found, notes=(*told, *found.notes), computed_by=by)


def _once(runner: PackageRunner) -> Run:
    """Executes a package for what one run of the model is fed."""
    return lambda feed: runner.run(spread(runner.signature, feed))


def _float_model(
    against: Model, shapes: Mapping[str, tuple[int, ...]] | None, data: Data, signature: Graph
) -> Graph:
    """A model to compare a package with; what nobody says of open axes is as the package has it."""
    try:
        return loaded_model(against, shapes, data).graph
    except OpenShapeError:
        known = {name: signature.types[name].shape or () for name in signature.inputs}
        own = {
            name: tuple(size or 1 for size in shape)
            for name, shape in known.items()
            if None not in shape[1:]
        }
        return loaded_model(against, own | dict(shapes or {}), data).graph


def _judged_graph(package: Package) -> Graph:
    """What a package says of its outputs: its QDQ model has the operators that they come from."""
    try:
        return simplify(import_onnx(package.folder / QDQ_MODEL))
    except InputError:
        return package.executable.signature


def profile(package: PathName | Package | Compilation) -> PackageProfile:
    """Shows where time, bytes and energy go, and how far each layer is from its bound.

    Raises:
        InputError: The package is damaged.

    Example:
        >>> import nest_tune
        >>> made = nest_tune.compile(
        ...     "examples/digits/model.onnx", "vta", "out", calibration="examples/digits/calib.npz"
        ... )
        >>> sorted(unit.unit for unit in nest_tune.profile(made).units)
        ['cpu', 'vta']
    """
    loaded = load_package(package)
    layers, target = loaded.report.layers, loaded.manifest.target
    return PackageProfile(
        loaded,
        loaded.manifest.metrics,
        layers,
        tuple(roofline_of(layer, target) for layer in layers),
        by_unit(loaded.report),
    )
