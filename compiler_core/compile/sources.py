"""From a model file and its calibration data to a quantized graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.samples import LABELS as LABELS
from compiler_core.accuracy.samples import named_samples as named_samples
from compiler_core.accuracy.samples import read_samples as read_samples
from compiler_core.configuration.configuration import Configuration, Scheme, Subject
from compiler_core.errors import InputError
from compiler_core.graph.containers import element_type, is_container
from compiler_core.graph.dtypes import STRING
from compiler_core.graph.importer import import_onnx
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.sampling import runs, spread
from compiler_core.graph.text import graph_digest
from compiler_core.quantize.apply import apply_profile, apply_scheme
from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.copies import with_copies
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.quantize.kept_scales import kept_exponents
from compiler_core.quantize.profile import Profile, profile_model
from compiler_core.quantize.rebuild import apply_exponents
from compiler_core.quantize.reconstruction import Reconstruction, reconstruct
from compiler_core.quantize.unit_arithmetics import Computing, general, unit_arithmetics

Arrays = dict[str, npt.NDArray[Any]]

_BY_CONTENT = re.compile(r"model-[0-9a-f]{16}")
"""Names of files that models in memory are kept in."""
_OF_EXPORTERS = frozenset(("", "graph", "main_graph", "torch_jit", "torch-jit-export"))
"""Names that every graph of an exporter has."""

_ELEMENTS = frozenset(
    [STRING, "bool", "float16", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)
"""Element types that samples and results may have: those of arrays in ``.npz`` files; narrower
ones got a Cast as they were imported."""


_KEPT_BYTES = 1 << 25
"""Constants of a model that is kept as it was imported."""


@dataclass(frozen=True)
class FloatModel:
    """An imported model.

    Attributes:
        name: Of the file, without its folder and ending; of a model that was given in memory, that
            of its graph.
        digest: SHA-256 of the graph as imported.
        graph: Simplified.
        imported: As it was imported; ``None`` where its constants would take much memory twice.
    """

    name: str
    digest: str
    graph: Graph
    imported: Graph | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """A quantized graph and the part of a configuration that led to it.

    Attributes:
        model: What it was made from.
        quantized: The graph.
        configuration: Scheme and plan in full, the schedules as given.
        cpu_reasons: Why nodes that were assigned to the NPU run on the CPU, by node.
        feeds: Inputs of one run, of the calibration data; ``None`` where they are not at hand.
    """

    model: FloatModel
    quantized: QuantizedGraph
    configuration: Configuration
    cpu_reasons: Mapping[str, str]
    feeds: Mapping[str, Any] | None = None

    def timed_feeds(self) -> Mapping[str, Any]:
        """Inputs of a run by the clock: of the calibration data, noise without.

        Raises:
            InputError: There are none, and none can be made up.
        """
        return noise_samples(self.model.graph, 1) if self.feeds is None else self.feeds


def load_model(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> FloatModel:
    """Imports and simplifies an ONNX file.

    Raises:
        InputError: The file or ``shapes`` is wrong, or an input or output is of a type that no
            array has (complex numbers).
    """
    graph = import_onnx(path, shapes=shapes)
    for kind, names in (("input", graph.inputs), ("output", graph.outputs)):
        for name in names:
            known = graph.types.get(name)
            if known is not None and element_type(known.dtype) not in _ELEMENTS:
                raise InputError(
                    f"model {path}: {kind} {name!r} has element type {known.dtype}; allowed are "
                    "booleans, integers, floats, text, and sequences and optionals of them",
                    hint="leave that part of the model to the application",
                )
    simple = with_copies(simplify(graph))
    size = sum(array.nbytes for array in graph.constants.values())
    kept = graph if size <= _KEPT_BYTES else None
    return FloatModel(_model_name(path, graph), graph_digest(graph), simple, kept)


def _model_name(path: Path, graph: Graph) -> str:
    """That of the file; of a file that was named by its content, that of the graph."""
    if not _BY_CONTENT.fullmatch(path.stem):
        return path.stem
    return "model" if graph.name in _OF_EXPORTERS else graph.name


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
        if is_container(known.dtype):
            raise InputError(
                f"input {name!r} is a {known.dtype}: no data can be made up for it",
                hint="give --calibration calib.npz",
            )
        if known.dtype.startswith("float"):
            samples[name] = random.standard_normal(shape).astype(known.dtype)
        else:
            samples[name] = np.zeros(shape, "U1" if known.dtype == STRING else known.dtype)
    return samples


def first_run(
    graph: Graph, samples: Mapping[str, npt.NDArray[Any]] | Profile | None
) -> Mapping[str, Any] | None:
    """Inputs of one run of a model, of its calibration data; ``None`` where these are not at hand.

    Args:
        graph: The model.
        samples: Array per input, or their profile.
    """
    arrays = samples.first() if isinstance(samples, Profile) else samples
    if arrays is None or not graph.inputs:
        return None
    given = {name: np.asarray(array) for name, array in arrays.items()}
    return next(runs(graph, spread(graph, given)), None)


def check_model(model: FloatModel, configuration: Configuration) -> None:
    """Refuses a configuration that was made for another model.

    Raises:
        InputError: Its digest differs.
    """
    made_for = configuration.model.digest
    if made_for and made_for != model.digest:
        raise InputError(
            f"the configuration is for model {configuration.model.name!r} with digest "
            f"{made_for[:16]}…; this one has {model.digest[:16]}…",
            hint="compile the model that it was made for, or remove digest from its [model]",
        )


def quantize_model(
    model: FloatModel,
    configuration: Configuration,
    calibration: Mapping[str, npt.NDArray[Any]] | Profile | None,
    *,
    threads: int = 1,
    reconstruction: Reconstruction = reconstruct,
    arithmetic: Computing | None = None,
) -> QuantizedModel:
    """Quantizes by a configuration; what it leaves open has weights per tensor, the first rung of
    the default's ladder (:mod:`compiler_core.compile.default_scheme` climbs it).

    Args:
        model: The float model.
        configuration: Its exponents are used as they stand where they say everything; else the
            scheme has to lead to them again.
        calibration: Samples per input, or their profile, needed where the exponents do not say
            everything.
        threads: Threads of onnxruntime.
        reconstruction: How GPTQ finds weights.
        arithmetic: Of the NPUs; by default one of the usual kind.

    Raises:
        InputError: The configuration is for another model, names unknown nodes or tensors, or
            calibration data are missing or do not fit.
    """
    check_model(model, configuration)
    assignment = assignment_of(model, configuration, arithmetic)
    scheme, wanted = configuration.scheme.quantization(), configuration.scheme.exponents
    if wanted and not scheme.needs_statistics:
        applied = apply_exponents(model.graph, assignment, wanted, scheme, arithmetic)
    else:
        profile = _profile(model, configuration, assignment, calibration, threads, arithmetic)
        if profile is None:
            applied = apply_scheme(model.graph, assignment, {}, scheme, arithmetic=arithmetic)
        else:
            applied = apply_profile(
                model.graph, assignment, profile, scheme, reconstruction, arithmetic
            )
    found = {name: tensor.exponent for name, tensor in sorted(applied.quantized.tensors.items())}
    if scheme.needs_statistics:
        _require_exponents(wanted, found)
    full = replace(
        configuration,
        scheme=replace(
            configuration.scheme,
            exponents=found,
            decisions=Scheme.of(found, scheme).decisions,
        ),
        plan=dict(sorted(applied.placed(assignment).items())),
        model=Subject(model.name, model.digest),
        lock=None,
    )
    feeds = first_run(model.graph, calibration)
    return QuantizedModel(model, applied.quantized, full, applied.reasons, feeds)


def assignment_of(
    model: FloatModel, configuration: Configuration, arithmetic: Computing | None = None
) -> dict[str, str]:
    """Unit of every node by the plan of a configuration; the default of those that it leaves out.

    Raises:
        InputError: The plan names unknown nodes or units.
    """
    assignment = default_assignment(model.graph, arithmetic=general(arithmetic))
    units = unit_arithmetics(arithmetic)
    for node, place in configuration.plan.items():
        if node not in assignment:
            raise InputError(f"plan: {_unknown('node', node, assignment)}")
        units.unit_of(place, node)  # refuses what no unit has
        assignment[node] = place
    return assignment


def _profile(
    model: FloatModel,
    configuration: Configuration,
    assignment: Mapping[str, str],
    calibration: Mapping[str, npt.NDArray[Any]] | Profile | None,
    threads: int,
    arithmetic: Computing | None,
) -> Profile | None:
    """With statistics of the samples that the scheme asks for; ``None`` where nothing needs it."""
    scheme = configuration.scheme.quantization()
    if isinstance(calibration, Profile):
        calibration.check_model(model.graph)
        return calibration
    if calibration is not None:
        samples = {name: np.asarray(array) for name, array in calibration.items()}
        sizes = [scheme.calibration] if isinstance(scheme.calibration, int) else []
        return profile_model(model.graph, samples, sizes, threads=threads)
    if scheme.needs_statistics:
        raise InputError(
            f"the scheme decides {', '.join(configuration.scheme.decisions)}: that takes the "
            "calibration data again",
            hint="give --calibration calib.npz, the same as when the scheme was found",
        )
    skeleton = assemble(model.graph, assignment, arithmetic)
    kept = kept_exponents(model.graph)
    unknown = [name for name in skeleton.calibrated if name not in kept]
    if not unknown:
        return None
    raise InputError(
        f"model {model.name!r} has {len(skeleton.steps)} operators to quantize and there are "
        f"no calibration data (first tensor without a range: {unknown[0]!r})",
        hint="give --calibration calib.npz with the model's inputs, or --config with exponents",
    )


def _require_exponents(wanted: Mapping[str, int], found: Mapping[str, int]) -> None:
    for name, exponent in wanted.items():
        if found.get(name) != exponent:
            raise InputError(
                f"scheme: tensor {name!r} has exponent {exponent}; these calibration data give "
                f"{found.get(name)}",
                hint="give the calibration data that the scheme was found with",
            )


def _unknown(kind: str, name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(name, known, 1)
    return f"the model has no {kind} {name!r}" + (f"; the nearest is {near[0]!r}" if near else "")
