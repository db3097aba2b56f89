"""Quantization: statistics of activations, layers by the damage they do, schemes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.exam import make_exam
from compiler_core.accuracy.judge import Judge
from compiler_core.compile.for_target import fitted
from compiler_core.compile.sources import FloatModel, quantize_model
from compiler_core.configuration.configuration import (
    Configuration,
    Scheme,
    Subject,
    configuration_text,
)
from compiler_core.errors import InputError
from compiler_core.files.toml_file import read_toml
from compiler_core.files.whole_file import require_writable, write_atomically
from compiler_core.graph.sampling import model_batch
from compiler_core.partition.configured import with_room
from compiler_core.quantize.accuracy import Accuracy
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.calibration_warnings import calibration_warnings
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.finite_inputs import require_finite
from compiler_core.quantize.profile import Profile, profile_model
from compiler_core.quantize.profile_file import read_profile, write_profile
from compiler_core.quantize.scheme import QuantizationScheme, read_scheme
from compiler_core.quantize.sensitivity import LayerSensitivity, sensitivities
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from compiler_core.targets.this_machine import require_npu
from nest_tune.api.asked import JudgedSettings, RunSettings
from nest_tune.api.settings import takes_settings
from nest_tune.api.values import (
    Data,
    Model,
    PathName,
    Progress,
    calibration_of,
    evaluation_of,
    loaded_model,
)
from nest_tune.scheme_search.accuracy_cache import AccuracyCache
from nest_tune.scheme_search.evaluation import SchemeEvaluator
from nest_tune.scheme_search.search import SearchResult, search_schemes
from nest_tune.setting import settled
from nest_tune.stores.profile_store import stored_profile
from nest_tune.stores.task_store import cache_folder

Count = Callable[[int, int], None]
"""Told how much of how much is done."""


@dataclass(frozen=True, eq=False)
class ActivationProfile:
    """Statistics of a model's activations.

    Attributes:
        model: Name.
        profile: The statistics, for every scheme that follows.
        warnings: What makes the calibration data doubtful, one line each.
    """

    model: str
    profile: Profile
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Sensitivities:
    """Layers by the damage that each does when it alone is quantized.

    Attributes:
        model, target: Names.
        samples: How many were measured on.
        layers: Most damage first.
    """

    model: str
    target: str
    samples: int
    layers: tuple[LayerSensitivity, ...]


@dataclass(frozen=True, eq=False)
class SchemeSearch:
    """What a search of schemes found.

    Attributes:
        model, target: Names.
        configuration: For :func:`nest_tune.compile`.
        float_accuracy: Of the float model on the samples that chose.
        result: The best schemes, and all that were evaluated.
        warnings: What makes the calibration data doubtful, one line each.
    """

    model: str
    target: str
    configuration: Configuration
    float_accuracy: Accuracy
    result: SearchResult
    warnings: tuple[str, ...]


@takes_settings(RunSettings)
def profile_activations(
    model: Model,
    calibration: Data,
    output: PathName | None = None,
    *,
    sizes: Sequence[int] = (),
    progress: Count = lambda _done, _total: None,
    **asked: Unpack[RunSettings],
) -> ActivationProfile:
    """Gathers activation statistics once, for every scheme that follows.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        calibration: Samples of the inputs.
        output: File that ``compile`` and others take as ``profile``.
        sizes: Statistics of the first so many samples, too.
        progress: Told how many samples of how many are done.
        asked: How the model is run:

    Raises:
        InputError: The model or the samples are wrong, or the file cannot be written.

    Example:
        >>> import nest_tune
        >>> found = nest_tune.profile_activations(
        ...     "examples/digits/model.onnx", "examples/digits/calib.npz"
        ... )
        >>> found.profile.samples > 0
        True
    """
    if output is not None:
        require_writable(Path(output), "--output")
    said = settled(RunSettings, asked)
    source = loaded_model(model, said["shapes"], calibration)
    found = _gather(source, calibration, sizes, said["threads"], progress)
    if output is not None:
        write_profile(Path(output), found)
    warnings = tuple(calibration_warnings(source.graph, found))
    return ActivationProfile(source.name, found, warnings)


@takes_settings(JudgedSettings)
def sensitivity(
    model: Model,
    target: str | Target,
    *,
    calibration: Data | None = None,
    profile: PathName | None = None,
    data: Data | None = None,
    scheme: PathName | QuantizationScheme | None = None,
    limit: int = 32,
    progress: Progress = lambda _: None,
    **asked: Unpack[JudgedSettings],
) -> Sensitivities:
    """Ranks layers by the damage each does when it alone is quantized.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        target: Name, path of a ``.toml`` file, or a loaded target.
        calibration: Samples of the inputs.
        profile: Statistics that :func:`profile_activations` wrote, in place of ``calibration``.
        data: Samples, and labels ``y``, to measure on; the calibration data without.
        scheme: Decisions, or a file of them; the usual guess without.
        limit: Samples at most, spread over those given.
        progress: Told what is being done.
        asked: How the model is run and judged:

    Raises:
        InputError: A file or argument is wrong, or does not fit the model or target.
    """
    said = settled(JudgedSettings, asked)
    judged_output, threads = said["judged_output"], said["threads"]
    chip = require_npu(target if isinstance(target, Target) else load_target(target))
    source = loaded_model(model, said["shapes"], data if calibration is None else calibration)
    source = fitted(source, chip)
    samples, labels, judged = _samples(
        source,
        calibration if data is None else data,
        limit,
        judged_output,
        labelled=data is not None,
    )
    known = _profile(source, profile, calibration, threads, progress)
    chosen, arithmetic = _scheme(scheme), target_arithmetic(chip)
    found = sensitivities(
        source.graph,
        default_assignment(source.graph, arithmetic=arithmetic),
        known.ranges(chosen.calibration),
        chosen,
        samples,
        labels,
        judged=judged,
        arithmetic=arithmetic,
        progress=lambda done, total: progress(f"layer {done} of {total}"),
    )
    return Sensitivities(source.name, chip.name, len(next(iter(samples.values()))), found)


@takes_settings(JudgedSettings)
def search_scheme(
    model: Model,
    target: str | Target,
    *,
    calibration: Data,
    data: Data,
    output: PathName | None = None,
    npu_share: float = 0.9,
    uniform: bool = False,
    gptq: bool | None = None,
    progress: Progress = lambda _: None,
    **asked: Unpack[JudgedSettings],
) -> SchemeSearch:
    """Finds a quantization scheme: a grid in stages, then layers back to float.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        target: Name, path of a ``.toml`` file, or a loaded target.
        calibration: Samples of the inputs.
        data: Samples to choose by, and labels ``y``.
        output: File of the configuration.
        npu_share: Least part of the multiplications in int8 on the NPU.
        uniform: Keep every supported layer on the NPU.
        gptq: Try weights rounded by GPTQ, too; by default where agreement is low.
        progress: Told what is being done.
        asked: How the model is run and judged:

    Raises:
        InputError: A file or argument is wrong, or does not fit the model or target.
    """
    if output is not None:
        require_writable(Path(output), "--output")
    said = settled(JudgedSettings, asked)
    judged_output, threads = said["judged_output"], said["threads"]
    chip = require_npu(target if isinstance(target, Target) else load_target(target))
    source = fitted(loaded_model(model, said["shapes"], calibration), chip)
    given = evaluation_of(data, source.graph)
    exam = make_exam(source.graph, None, labelled=given.labels is not None, output=judged_output)
    given.check(exam)
    require_finite(given, source.graph, judged=tuple(exam.judges))
    known = calibration_of(calibration, source.graph)
    profile = stored_profile(
        source.graph,
        known,
        threads=threads,
        progress=lambda done, total: progress(f"calibrating: {done} of {total} samples"),
    )
    warnings = tuple(calibration_warnings(source.graph, profile))
    for warning in warnings:
        progress(f"warning: {warning}")
    arithmetic = target_arithmetic(chip)
    cache = AccuracyCache(cache_folder() / "accuracies")
    choosing, plain = (
        SchemeEvaluator(
            source.graph,
            default_assignment(source.graph, arithmetic=arithmetic),
            profile,
            samples,
            labels,
            output=judged_output,
            arithmetic=arithmetic,
            cache=cache,
            threads=threads,
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
    wanted = Configuration(
        Scheme.of({}, (result.mixed or result.uniform).scheme),
        model=Subject(source.name, source.digest),
        target=Subject(chip.name, chip.digest),
    )
    roomy = with_room(wanted, source, chip)
    found = quantize_model(source, roomy, profile, arithmetic=arithmetic).configuration
    if output is not None:
        text = configuration_text(found).encode()
        write_atomically(Path(output), lambda stream: stream.write(text))
    return SchemeSearch(source.name, chip.name, found, choosing.float_accuracy(), result, warnings)


def _gather(
    source: FloatModel,
    calibration: Data,
    sizes: Sequence[int],
    threads: int,
    progress: Count,
) -> Profile:
    samples = calibration_of(calibration, source.graph)
    return profile_model(source.graph, samples, list(sizes), threads=threads, progress=progress)


def _profile(
    source: FloatModel,
    file: PathName | None,
    calibration: Data | None,
    threads: int,
    progress: Progress,
) -> Profile:
    if file is not None:
        found = read_profile(Path(file))
        found.check_model(source.graph)
        return found
    if calibration is None:
        raise InputError(
            "there are no calibration data", hint="give --calibration calib.npz or --profile FILE"
        )
    return _gather(
        source,
        calibration,
        (),
        threads,
        lambda done, total: progress(f"{done} of {total} samples"),
    )


def _samples(
    source: FloatModel,
    data: Data | None,
    limit: int,
    output: str | None,
    *,
    labelled: bool,
) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[Any] | None, Mapping[str, Judge]]:
    """At most ``limit`` samples, spread evenly, their labels where there are some and are asked
    for, and how outputs are judged."""
    if data is None:
        raise InputError("there are no samples to measure with", hint="give --data eval.npz")
    given, batch = evaluation_of(data, source.graph), model_batch(source.graph)
    labels = given.labels if labelled else None
    exam = make_exam(source.graph, None, labelled=labels is not None, output=output)
    given.check(exam)
    require_finite(given, source.graph, judged=tuple(exam.judges))
    runs = given.samples // batch
    wanted = min(runs, -(-limit // batch))
    starts = np.arange(wanted) * runs // wanted * batch
    chosen = (starts[:, None] + np.arange(batch)).reshape(-1)
    samples = {name: array[chosen] for name, array in given.inputs.items()}
    return samples, None if labels is None else labels[chosen], exam.judges


def _scheme(given: PathName | QuantizationScheme | None) -> QuantizationScheme:
    if isinstance(given, QuantizationScheme):
        return given
    if given is None:
        return QuantizationScheme(
            granularity=Granularity.CHANNEL, bias_correction=True, split_inputs=True
        )
    return read_scheme(read_toml(Path(given)), str(given))
