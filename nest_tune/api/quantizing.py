"""What a compile says of its quantization: quality, what the default costs, and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import (
    FloatModel,
    QuantizedModel,
    assignment_of,
    quantize_model,
)
from compiler_core.configuration.configuration import Configuration, Scheme
from compiler_core.configuration.launches import LaunchSettings
from compiler_core.errors import InfeasibleError, InputError
from compiler_core.graph.importer import import_onnx
from compiler_core.graph.ir import Graph
from compiler_core.graph.text import graph_digest
from compiler_core.quantize.apply import apply_profile, float_layers
from compiler_core.quantize.as_read import holds_integers, reason_misread
from compiler_core.quantize.behind_selections import measure_plan
from compiler_core.quantize.calibration_warnings import calibration_warnings
from compiler_core.quantize.good_enough import worst
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.quantize.ladder import FIRST, FLOAT, RUNGS
from compiler_core.quantize.ladder_record import Ladder, Quality
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.quality import QualityMeter
from compiler_core.quantize.rebuild import apply_exponents
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.quantize.sensitivity import layer_macs
from compiler_core.quantize.unit_arithmetics import Computing
from compiler_core.quantize.unseen import reason_unseen, warning_of
from compiler_core.targets.integer_units import target_arithmetic
from nest_tune.stores.reconstruction_store import stored_reconstruction

_TOLD_SHARE = 0.1
"""Of the multiplications in float, from which on a compile warns."""


def quantize(
    model: FloatModel,
    configuration: Configuration,
    profile: Profile | None,
    arithmetic: Computing | None = None,
    *,
    threads: int = 1,
) -> QuantizedModel:
    """Quantizes by a decided configuration, and measures its quality where samples are at hand.

    Args:
        model: The float model.
        configuration: Its scheme is decided.
        profile: Statistics of the calibration data.
        arithmetic: Of the NPUs; by default one of the usual kind.
        threads: Threads of onnxruntime.

    Raises:
        InputError: As :func:`~compiler_core.compile.sources.quantize_model`.
    """
    if profile is None:
        return quantize_model(model, configuration, None, threads=threads, arithmetic=arithmetic)
    kept = stored_reconstruction(profile, configuration.scheme.quantization())
    found = quantize_model(
        model,
        configuration,
        profile,
        threads=threads,
        reconstruction=kept,
        arithmetic=arithmetic,
    )
    samples = profile.first()
    if samples is None or configuration.scheme.ladder is not None:
        return found
    try:
        meter = QualityMeter(model.graph, samples, threads=threads)
        measured = measure_plan(
            meter,
            model.graph,
            assignment_of(model, configuration, arithmetic),
            lambda places: _elsewhere(model, configuration, profile, places, arithmetic),
            found.quantized,
        )
        quality = worst(measured)
    except InputError:
        quality = None
    scheme = replace(found.configuration.scheme, quality=quality)
    return replace(found, configuration=replace(found.configuration, scheme=scheme))


def _elsewhere(
    model: FloatModel,
    configuration: Configuration,
    profile: Profile,
    places: Mapping[str, str],
    arithmetic: Computing | None,
) -> QuantizedGraph:
    """The quantized graph under another plan: exponents that the configuration holds where they
    have a tensor there, and as its scheme finds them where they have none."""
    scheme = configuration.scheme.quantization()
    kept = stored_reconstruction(profile, scheme)
    found = apply_profile(model.graph, places, profile, scheme, kept, arithmetic).quantized
    wanted = configuration.scheme.exponents
    if not wanted or scheme.needs_statistics:
        return found
    own = {name: tensor.exponent for name, tensor in found.tensors.items()}
    own |= {name: exponent for name, exponent in wanted.items() if name in own}
    return apply_exponents(model.graph, places, own, scheme, arithmetic).quantized


def with_first_latency(
    compiled: CompiledModel, model: FloatModel, profile: Profile
) -> CompiledModel:
    """The compile with what the ladder costs: the first rung is compiled, too, where it was left.

    Args:
        compiled: By a configuration of the ladder, or any other.
        model: What was compiled.
        profile: Statistics of the calibration data.
    """
    target, configuration = compiled.executable.target, compiled.configuration
    ladder = configuration.scheme.ladder
    if ladder is None or ladder.taken == FIRST or target.by_clock:
        return compiled
    own = compiled.source.configuration
    first = Configuration(
        Scheme.of({}, RUNGS[FIRST]), own.plan, launches=LaunchSettings(merge=own.launches.merge)
    )
    try:
        arithmetic = target_arithmetic(target)
        before = compile_model(quantize_model(model, first, profile, arithmetic=arithmetic), target)
    except (InfeasibleError, InputError):
        return compiled
    known = replace(
        ladder,
        latency_ms=compiled.metrics.latency_ms,
        first_latency_ms=before.metrics.latency_ms,
    )
    scheme = replace(configuration.scheme, ladder=known)
    return replace(compiled, configuration=replace(configuration, scheme=scheme))


def compile_warnings(
    configuration: Configuration,
    model: FloatModel,
    profile: Profile,
    arithmetic: Computing | None = None,
    *,
    file: tuple[Path, Mapping[str, tuple[int, ...]]] | None = None,
    threads: int = 1,
) -> tuple[str, ...]:
    """What makes the result doubtful, one line each.

    Args:
        configuration: With a decided scheme.
        model: What is compiled.
        profile: Statistics of the calibration data.
        arithmetic: Of the NPUs; by default one of the usual kind.
        file: That the model was read from, and the shapes that it was read with: it is held to it.
        threads: Threads of onnxruntime.

    Raises:
        InputError: The plan does not fit the model.
    """
    misread = () if file is None else misread_warnings(*file, model, profile, threads=threads)
    unseen = _unseen(configuration, model, profile, arithmetic, threads)
    return (*misread, *_warnings(configuration, model, profile), *unseen)


def misread_warnings(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    model: FloatModel,
    profile: Profile,
    *,
    threads: int = 1,
) -> tuple[str, ...]:
    """Where a model's file says something else than what was read from it, one line each.

    Args:
        path: The file.
        shapes: That it was read with.
        model: What was read.
        profile: Of the calibration data; both are run on some of its samples.
        threads: Threads of onnxruntime.

    Returns:
        Nothing where that cannot be told, as where the file is gone by now.
    """
    samples = profile.first()
    if samples is None:
        return ()
    imported = model.imported
    if imported is None:
        try:
            imported = import_onnx(path, shapes=shapes)
        except InputError:
            return ()
        if graph_digest(imported) != model.digest:
            return ()
    reason = reason_misread(imported, model.graph, samples, threads=threads)
    if not reason:
        return ()
    if holds_integers(imported):
        return (
            "the model is quantized already, and the real numbers that its operators are read as "
            f"give other results than its integers in onnxruntime: {reason}; quality is told "
            "against the former",
        )
    return (
        "the model as it was read gives other results than its file in onnxruntime: "
        f"{reason}; quality is told against the former. This is a fault of nest-tune: please "
        "report it with the model",
    )


def _unseen(
    configuration: Configuration,
    model: FloatModel,
    profile: Profile,
    arithmetic: Computing | None,
    threads: int,
) -> Iterator[str]:
    """Where a scheme is good enough on the samples alone that its ranges were found on."""
    ladder = configuration.scheme.ladder
    known = ladder is not None and not ladder.good_enough
    if known or configuration.scheme.exponents or configuration.scheme.is_open:
        return
    places, scheme = assignment_of(model, configuration, arithmetic), configuration.scheme
    reason = reason_unseen(
        model.graph, places, profile, scheme.quantization(), arithmetic, threads=threads
    )
    if reason:
        yield warning_of(reason, profile.samples)


def _warnings(configuration: Configuration, model: FloatModel, profile: Profile) -> Iterator[str]:
    scheme = configuration.scheme
    if scheme.ladder is not None and scheme.quality is None and not scheme.ladder.good_enough:
        yield (
            "how much this quantization loses could not be measured: "
            f"{scheme.ladder.rungs[scheme.ladder.taken].outcome}"
        )
    elif scheme.ladder is not None and scheme.quality and not scheme.ladder.good_enough:
        yield (
            "no default quantization is good enough: "
            f"{scheme.ladder.rungs[scheme.ladder.taken].outcome} on {scheme.quality.samples} "
            f"calibration samples with {scheme.ladder.taken}, which is taken; nest-tune quantize "
            "search or study start look further"
        )
    if scheme.ladder is not None and scheme.ladder.taken == FLOAT:
        share = float_share(model.graph, configuration.scheme.quantization())
        if share >= _TOLD_SHARE:
            yield (
                f"{100 * share:.0f} % of the multiplications stay in float on the CPU: int8 of one "
                "scale per tensor loses what they compute; --plan, or quantize search and study "
                "start, decide otherwise"
            )
    if profile.inputs is None and scheme.is_open:
        yield (
            "a profile holds no samples: how much this quantization loses was not measured; "
            "--calibration measures it"
        )
    yield from calibration_warnings(model.graph, profile)


def float_share(graph: Graph, scheme: QuantizationScheme) -> float:
    """Share of the multiplications that a scheme keeps in float, 0 to 1."""
    macs = layer_macs(graph)
    kept = sum(macs.get(name, 0) for name in float_layers(graph, scheme))
    return kept / max(1, sum(macs.values()))


def rung_text(ladder: Ladder) -> str:
    """Which default was taken."""
    number = 1 + list(ladder.rungs).index(ladder.taken)
    return f"{ladder.taken}, rung {number} of the default's ladder"


def quality_text(quality: Quality | None) -> str:
    """A quality in a few words."""
    if quality is None:
        return "not measured"
    agreement = "" if quality.agreement is None else f", agreement {quality.agreement:.3f}"
    return (
        f"output {quality.output!r} has SQNR {quality.sqnr_db:.1f} dB{agreement} on "
        f"{quality.samples} calibration samples"
    )
