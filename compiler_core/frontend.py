"""From a model file and its calibration data to a quantized graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.configuration import Configuration, Scheme, Subject
from compiler_core.errors import InputError
from compiler_core.graph.importer import import_onnx
from compiler_core.graph.ir import Graph
from compiler_core.graph.simplify import simplify
from compiler_core.graph.text import graph_digest
from compiler_core.npz import read_npz
from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.calibration import calibrate
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.quantize.quantize import quantize, with_exponents
from compiler_core.quantize.skeleton import Skeleton

Arrays = dict[str, npt.NDArray[Any]]

LABELS = "y"
"""Array of labels in evaluation data."""


@dataclass(frozen=True)
class FloatModel:
    """An imported model.

    Attributes:
        name: Of the file, without its folder and ending.
        digest: SHA-256 of the graph as imported.
        graph: Simplified.
    """

    name: str
    digest: str
    graph: Graph


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """A quantized graph and the part of a configuration that led to it.

    Attributes:
        model: What it was made from.
        quantized: The graph.
        configuration: Scheme and plan in full, the schedules as given.
        cpu_reasons: Why nodes that were assigned to the NPU run on the CPU, by node.
    """

    model: FloatModel
    quantized: QuantizedGraph
    configuration: Configuration
    cpu_reasons: Mapping[str, str]


def load_model(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> FloatModel:
    """Imports and simplifies an ONNX file.

    Raises:
        InputError: The file or ``shapes`` is wrong.
    """
    graph = import_onnx(path, shapes=shapes)
    return FloatModel(path.stem, graph_digest(graph), simplify(graph))


def read_samples(path: Path, graph: Graph) -> Arrays:
    """The inputs of ``graph`` from an ``.npz`` file: ``x`` for the only one, else by name.

    Raises:
        InputError: The file is damaged, or an input is missing.
    """
    arrays = {name: array for name, array in read_npz(path).items() if name != LABELS}
    if len(graph.inputs) == 1 and graph.inputs[0] not in arrays and "x" in arrays:
        return {graph.inputs[0]: arrays["x"]}
    missing = [name for name in graph.inputs if name not in arrays]
    if missing:
        only = " (or 'x')" if len(graph.inputs) == 1 and graph.inputs[0] != "x" else ""
        raise InputError(
            f"{path}: input {missing[0]!r}{only} is missing; it holds "
            f"{', '.join(map(repr, arrays)) or 'no arrays'}"
        )
    return {name: arrays[name] for name in graph.inputs}


def noise_samples(graph: Graph, count: int = 4) -> Arrays:
    """Seeded stand-ins for calibration data, where no numbers matter but shapes and rough ranges.

    Args:
        graph: Its inputs are filled: floats with a standard normal distribution, others with 0.
        count: Runs of the model.
    """
    random = np.random.default_rng(0)
    samples = {}
    for name in graph.inputs:
        known = graph.types[name]
        shape = [size or 1 for size in known.shape or ()]
        if shape:
            shape[0] *= count
        if known.dtype.startswith("float"):
            samples[name] = random.standard_normal(shape).astype(known.dtype)
        else:
            samples[name] = np.zeros(shape, known.dtype)
    return samples


def quantize_model(
    model: FloatModel,
    configuration: Configuration,
    calibration: Mapping[str, npt.NDArray[Any]] | None,
    *,
    threads: int = 1,
) -> QuantizedModel:
    """Quantizes by a configuration; whatever it leaves open is the untuned default.

    Args:
        model: The float model.
        configuration: Its exponents are used as they stand where there are any.
        calibration: Samples per input, needed where the configuration holds no exponents.
        threads: Threads of onnxruntime.

    Raises:
        InputError: The configuration is for another model, names unknown nodes or tensors, or
            calibration data are missing or do not fit.
    """
    made_for = configuration.model.digest
    if made_for and made_for != model.digest:
        raise InputError(
            f"the configuration is for model {configuration.model.name!r} with digest "
            f"{made_for[:16]}…; this one has {model.digest[:16]}…",
            hint="compile the model that it was made for, or remove digest from its [model]",
        )
    assignment = default_assignment(model.graph)
    for node, unit in configuration.plan.items():
        if node not in assignment:
            raise InputError(f"plan: {_unknown('node', node, assignment)}")
        assignment[node] = unit
    if configuration.scheme.decisions:
        return _with_decisions(model, configuration, assignment, calibration, threads)
    skeleton = assemble(model.graph, assignment)
    exponents = dict(configuration.scheme.exponents)
    if exponents or not skeleton.calibrated:
        quantized = _with_exponents(skeleton, exponents)
    elif calibration is None:
        raise InputError(
            f"model {model.name!r} has {len(skeleton.steps)} operators to quantize and there are "
            f"no calibration data (first tensor without a range: {skeleton.calibrated[0]!r})",
            hint="give --calibration calib.npz with the model's inputs, or --config with exponents",
        )
    else:
        samples = {name: np.asarray(array) for name, array in calibration.items()}
        ranges = calibrate(model.graph, samples, skeleton.calibrated, threads=threads)
        quantized = quantize(model.graph, assignment, ranges)
    found = {name: tensor.exponent for name, tensor in sorted(quantized.tensors.items())}
    full = Configuration(
        Scheme(found),
        dict(sorted(assignment.items())),
        configuration.schedules,
        Subject(model.name, model.digest),
        configuration.target,
        configuration.measured,
        slicing=configuration.slicing,
    )
    return QuantizedModel(model, quantized, full, skeleton.cpu_reasons)


def _with_decisions(
    model: FloatModel,
    configuration: Configuration,
    assignment: Mapping[str, str],
    calibration: Mapping[str, npt.NDArray[Any]] | None,
    threads: int,
) -> QuantizedModel:
    """Quantizes as a scheme says, and checks that it leads to the same exponents as before."""
    from compiler_core.quantize.apply import apply_scheme
    from compiler_core.quantize.profile import profile_model

    scheme = configuration.scheme.quantization()
    if calibration is None:
        raise InputError(
            f"the scheme decides {', '.join(configuration.scheme.decisions)}: that takes the "
            "calibration data again",
            hint="give --calibration calib.npz, the same as when the scheme was found",
        )
    samples = {name: np.asarray(array) for name, array in calibration.items()}
    profile = profile_model(model.graph, samples, threads=threads)
    applied = apply_scheme(model.graph, assignment, profile.ranges(scheme.calibration), scheme)
    found = {name: t.exponent for name, t in sorted(applied.quantized.tensors.items())}
    for name, exponent in configuration.scheme.exponents.items():
        if found.get(name) != exponent:
            raise InputError(
                f"scheme: tensor {name!r} has exponent {exponent}; these calibration data give "
                f"{found.get(name)}",
                hint="give the calibration data that the scheme was found with",
            )
    full = replace(
        configuration,
        scheme=Scheme.of(found, scheme),
        plan=dict(sorted(assignment.items())),
        model=Subject(model.name, model.digest),
    )
    return QuantizedModel(model, applied.quantized, full, applied.reasons)


def _with_exponents(skeleton: Skeleton, exponents: Mapping[str, int]) -> QuantizedGraph:
    for name in exponents:
        if name not in skeleton.shapes:
            raise InputError(f"scheme: {_unknown('tensor', name, skeleton.shapes)}")
    for name in skeleton.calibrated:
        if name not in exponents:
            raise InputError(f"scheme: tensor {name!r} has no exponent", hint="calibrate again")
    return with_exponents(skeleton, exponents)


def _unknown(kind: str, name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(name, known, 1)
    return f"the model has no {kind} {name!r}" + (f"; the nearest is {near[0]!r}" if near else "")
