"""A graph, an assignment, statistics and a scheme become a quantized graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.assemble import CPU, assemble
from compiler_core.quantize.compared import compared
from compiler_core.quantize.cpu_integers import (
    WEIGHTED,
    float_reason,
    lower_integers,
    writes_new_values,
)
from compiler_core.quantize.equalization import equalize
from compiler_core.quantize.exponents import (
    RangeChoice,
    calibrated_ranges,
    fitting_exponent,
    score_tensors,
)
from compiler_core.quantize.fitting import UnfitError, require_fitting
from compiler_core.quantize.host_groups import HostGroups, groups_beside
from compiler_core.quantize.host_lowering import with_host_integers
from compiler_core.quantize.input_equalization import equalize_inputs
from compiler_core.quantize.ir import FloatSegment, IntegerSegment, QuantizedGraph
from compiler_core.quantize.kept_scales import with_kept_scales
from compiler_core.quantize.magnitudes import least_error_exponent
from compiler_core.quantize.offsets import offset
from compiler_core.quantize.precision_segments import with_precisions
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.quantize import channel_means, with_exponents
from compiler_core.quantize.range_methods import (
    MOST_CLIPPING,
    PERCENTILE,
    choose,
    percentile,
    with_room,
)
from compiler_core.quantize.reconstruction import Reconstruction, Samples, reconstruct
from compiler_core.quantize.rescaling import rescale
from compiler_core.quantize.scheme import CpuPrecision, QuantizationScheme, RangeMethod
from compiler_core.quantize.skeleton import Skeleton
from compiler_core.quantize.split_inputs import split_inputs
from compiler_core.quantize.statistics import TensorRange
from compiler_core.quantize.uneven_borders import UNEVEN, equalize_outputs, leave_uneven
from compiler_core.quantize.unit_arithmetics import Computing, UnitArithmetics, unit_arithmetics
from compiler_core.quantize.unit_cuts import cut_over_units
from compiler_core.units.names import CPU_INT8, is_on_cpu

_LEVELS = 127


@dataclass(frozen=True, eq=False)
class AppliedScheme:
    """What a scheme made of a graph.

    Attributes:
        quantized: The quantized graph. Its source may hold factors that equalize inputs, and
            operators cut over several units.
        assignment: Unit per node of that source, as the scheme allows it.
        reasons: Why nodes that the assignment gave to the NPU run on the CPU, and why weighted
            nodes on the CPU stay float, by node.
        unfit: Those of them whose ranges no scales fit: a plan that goes without statistics has to
            place them on the CPU.
    """

    quantized: QuantizedGraph
    assignment: Mapping[str, str]
    reasons: Mapping[str, str]
    unfit: tuple[str, ...] = ()

    def placed(self, assignment: Mapping[str, str]) -> dict[str, str]:
        """``assignment``, as it was asked for, with what has no scales on the CPU."""
        return {**assignment, **dict.fromkeys(self.unfit, CPU)}


def apply_profile(
    graph: Graph,
    assignment: Mapping[str, str],
    profile: Profile,
    scheme: QuantizationScheme,
    reconstruction: Reconstruction = reconstruct,
    arithmetic: Computing | None = None,
) -> AppliedScheme:
    """:func:`apply_scheme` with what ``profile`` knows of the samples that the scheme asks for.

    Raises:
        InputError: As :func:`apply_scheme`; the profile has no such samples.
    """
    ranges, samples = profile.ranges(scheme.calibration), profile.first(scheme.calibration)
    return apply_scheme(graph, assignment, ranges, scheme, samples, reconstruction, arithmetic)


def apply_scheme(
    graph: Graph,
    assignment: Mapping[str, str],
    ranges: Mapping[str, TensorRange],
    scheme: QuantizationScheme,
    samples: Samples | None = None,
    reconstruction: Reconstruction = reconstruct,
    arithmetic: Computing | None = None,
) -> AppliedScheme:
    """Quantize ``graph`` as ``scheme`` says; what no scales fit runs on the CPU.

    Args:
        graph: The float graph, simplified.
        assignment: Place of every node name; several units may share one.
        ranges: Statistics of every float tensor, of the samples that the scheme asks for.
        scheme: The decisions. Nodes that the NPU cannot run under it go to the CPU.
        samples: Those that ``ranges`` are of, where the scheme needs them.
        reconstruction: How they lead to other weights and biases.
        arithmetic: Of the NPUs; by default one of the usual kind.

    Raises:
        InputError: The scheme names unknown layers, the assignment does not fit the graph, a
            tensor has no statistics or statistics that are not finite, samples are missing.
    """
    units, unfit = dict(assignment), dict[str, str]()
    known = unit_arithmetics(arithmetic)
    while True:
        cut = cut_over_units(graph, units, ranges, known)
        origin, own = cut.origin, (cut.graph, cut.assignment, cut.ranges)
        try:
            applied = _applied(*own, scheme, samples, reconstruction, known)
        except UnfitError as error:
            named = [origin.get(name, name) for name in error.nodes]
            fresh = [name for name in named if not is_on_cpu(units.get(name, CPU))]
            if not fresh:
                raise
            unfit |= dict.fromkeys(fresh, error.message)
            units |= dict.fromkeys(fresh, CPU)
        else:
            return replace(applied, reasons={**applied.reasons, **unfit}, unfit=tuple(unfit))


def _applied(
    graph: Graph,
    assignment: Mapping[str, str],
    ranges: Mapping[str, TensorRange],
    scheme: QuantizationScheme,
    samples: Samples | None,
    reconstruction: Reconstruction,
    arithmetic: UnitArithmetics,
) -> AppliedScheme:
    """As :func:`apply_scheme`.

    Raises:
        UnfitError: No scales fit some operators.
    """
    floats = float_layers(graph, scheme)
    ranges = with_kept_scales(graph, ranges)
    units, reasons = allowed_units(graph, assignment, scheme, arithmetic, ranges)
    known = ranges
    if scheme.equalization:
        rounded = {
            n for n, unit in units.items() if unit == CPU_INT8 or arithmetic.is_integer(unit)
        }
        real = leave_uneven(graph, units, ranges, rounded)
        reasons |= {name: UNEVEN for name, unit in real.items() if unit != units[name]}
        even = equalize_outputs(graph, real, ranges)
        equalized = equalize_inputs(even.graph, even.assignment, even.ranges)
        graph, units, known = equalized.graph, dict(equalized.assignment), equalized.ranges
    if scheme.split_inputs:
        parts = split_inputs(graph, units, known)
        graph, units, known = parts.graph, dict(parts.assignment), parts.ranges
    groups, of_floats = asked_groups(graph, units, arithmetic, known), known
    skeleton = assemble(graph, units, arithmetic, () if groups is None else groups.loops)
    reasons.update(skeleton.cpu_reasons)
    require_fitting(skeleton, known)
    if scheme.equalization:
        skeleton, known = equalize(skeleton, known)
    if scheme.rescaling:
        skeleton, known = offset(skeleton, known, scheme.activation_range)
        skeleton, known = rescale(skeleton, known, scheme.activation_range)
    exponents = method_exponents(skeleton, known, scheme.activation_range)
    choice = weight_choice(scheme)
    means = channel_means(skeleton, known) if scheme.bias_correction else None
    quantized = with_exponents(skeleton, exponents, choice, scheme.granularity, means)
    if groups is not None:
        reasons.update(groups.left)
        method = scheme.activation_range

        def exponent_of(tensor: str) -> int | None:
            found = of_floats.get(tensor)
            return None if found is None or not found.bounded else _exponent(found, method)

        quantized = with_host_integers(
            quantized, groups.found, groups.nodes, exponent_of, reasons, arithmetic
        )
    if scheme.cpu_precision is not CpuPrecision.FLOAT:
        quantized = _with_cpu_integers(quantized, known, scheme, floats, reasons)
    quantized = with_precisions(quantized, units, of_floats, scheme, samples)
    if scheme.needs_samples:
        if samples is None:
            raise InputError(
                f"the scheme decides weight_rounding = {scheme.weight_rounding.value!r}: that "
                "takes calibration samples, not their statistics alone",
                hint="give --calibration calib.npz in place of a profile",
            )
        quantized = reconstruction(skeleton, quantized, samples)
    return AppliedScheme(quantized, units, reasons)


def allowed_units(
    graph: Graph,
    assignment: Mapping[str, str],
    scheme: QuantizationScheme,
    arithmetic: UnitArithmetics,
    ranges: Mapping[str, TensorRange] | None = None,
) -> tuple[dict[str, str], dict[str, str]]:
    """Unit per node as ``scheme`` and ``ranges`` allow it, and why nodes left the NPU, by node.

    Raises:
        InputError: The scheme names unknown layers.
    """
    floats, same = float_layers(graph, scheme), compared(graph)
    units, reasons = dict(assignment), {}
    for node in graph.nodes:
        place = units.get(node.name, CPU)
        staying = node.name in floats or node.name in same
        if is_on_cpu(place) and not (place == CPU_INT8 and staying):
            continue
        reason = "The scheme keeps it in float." if node.name in floats else same.get(node.name)
        reason = reason or arithmetic.unsupported_scheme(graph, node, scheme, units[node.name])
        reason = reason or _unbounded(node, ranges or {})
        if reason is not None:
            units[node.name], reasons[node.name] = CPU, reason
    return units, reasons


def _unbounded(node: Node, ranges: Mapping[str, TensorRange]) -> str | None:
    for name in (*node.inputs, *node.outputs):
        if name in ranges and not ranges[name].bounded:
            return f"'{name}' holds NaN or infinity for the calibration data."
    return None


@dataclass(frozen=True, eq=False)
class AskedGroups:
    """What an assignment wants the CPU to run on integers.

    Attributes:
        found: All groups that it can.
        nodes: Those of the groups that are asked for.
        left: Why others that are asked for stay float, by node.
    """

    found: HostGroups
    nodes: frozenset[str]
    left: Mapping[str, str]

    @property
    def loops(self) -> tuple[tuple[str, ...], ...]:
        """Nodes of each group that is asked for."""
        return tuple(group.nodes for group in self.found.groups if self.nodes >= {*group.nodes})


def asked_groups(
    graph: Graph,
    assignment: Mapping[str, str],
    arithmetic: UnitArithmetics,
    ranges: Mapping[str, TensorRange] | None = None,
) -> AskedGroups | None:
    """Groups that ``assignment`` wants the CPU to run on integers; ``None`` where it wants none.

    Args:
        graph: The model.
        assignment: Unit of every node name.
        arithmetic: Of the NPU.
        ranges: Where given, what has NaN or infinities in it stays float.
    """
    asked = {name for name, unit in assignment.items() if unit == CPU_INT8}
    if not asked:
        return None
    found = groups_beside(graph, arithmetic)
    left: dict[str, str] = {}
    for group in found.groups:
        wanted = asked.intersection(group.nodes)
        names = (*group.inputs, *group.outputs)
        wild = [n for n in names if ranges and n in ranges and not ranges[n].bounded]
        if wanted and wild:
            why = f"'{wild[0]}' holds NaN or infinity for the calibration data."
            left |= dict.fromkeys(group.nodes, why)
        elif wanted and len(wanted) < len(group.nodes):
            left |= dict.fromkeys(wanted, f"The plan splits the loop of '{group.name}'.")
    for name in asked - found.of_node.keys():
        left[name] = f"{found.reasons.get(name, 'another unit can run it')}.".capitalize()
    return AskedGroups(found, frozenset(asked - left.keys()), left)


def weight_choice(scheme: QuantizationScheme) -> RangeChoice:
    """How scales of weights on the NPU follow from them."""
    return RangeChoice.MAX if scheme.weight_range is RangeMethod.MAX else RangeChoice.LEAST_ERROR


def weighted_layers(graph: Graph) -> tuple[str, ...]:
    """Names of the nodes with constant weights, in order."""
    return tuple(
        node.name
        for node in graph.nodes
        if node.op in WEIGHTED and len(node.inputs) > 1 and node.inputs[1] in graph.constants
    )


def float_layers(graph: Graph, scheme: QuantizationScheme) -> frozenset[str]:
    """Names of the nodes that ``scheme`` keeps in float.

    Raises:
        InputError: It names a node that the graph does not have.
    """
    names = {node.name for node in graph.nodes}
    for name in scheme.float_layers:
        if name not in names:
            raise InputError(f"float_layers: the model has no node {name!r}")
    weighted = weighted_layers(graph)
    ends = {weighted[0], weighted[-1]} if scheme.first_last_float and weighted else set()
    return frozenset(scheme.float_layers) | ends


def method_exponents(
    skeleton: Skeleton, ranges: Mapping[str, TensorRange], method: RangeMethod
) -> dict[str, int]:
    """The exponent of every calibrated tensor by ``method``.

    Raises:
        InputError: A tensor has no statistics, or statistics that are not finite.
    """
    scores = score_tensors(skeleton.source)
    return {
        name: _exponent(known, RangeMethod.MAX if name in scores else method)
        for name, known in calibrated_ranges(skeleton, ranges).items()
    }


def _exponent(known: TensorRange, method: RangeMethod) -> int:
    if method is RangeMethod.ROOMY:
        known, method = with_room(known), RangeMethod.MSE
    fitting = fitting_exponent(known.absmax)
    magnitudes = known.magnitudes
    if method is RangeMethod.MAX or magnitudes is None or not magnitudes.counts.any():
        return fitting
    if method is RangeMethod.MSE:
        return least_error_exponent(magnitudes, fitting, MOST_CLIPPING)
    if method is RangeMethod.PERCENTILE:
        return max(fitting, fitting_exponent(percentile(magnitudes, PERCENTILE)))
    finer = range(fitting, fitting + MOST_CLIPPING + 1)
    candidates = [_LEVELS * 2.0**-exponent for exponent in finer]
    return finer[candidates.index(choose(magnitudes, candidates, RangeMethod.KL, _LEVELS))]


def _with_cpu_integers(
    quantized: QuantizedGraph,
    ranges: Mapping[str, TensorRange],
    scheme: QuantizationScheme,
    floats: frozenset[str],
    reasons: dict[str, str],
) -> QuantizedGraph:
    segments: list[FloatSegment | IntegerSegment] = []
    every = scheme.cpu_precision is CpuPrecision.INT8_ALL
    for segment in quantized.segments:
        if isinstance(segment, FloatSegment) and not segment.unit:
            chosen = set()
            for node in segment.graph.nodes:
                if node.name in floats:
                    continue
                if node.op not in WEIGHTED:
                    known = quantized.host.base(node.output) in quantized.host.written
                    if every and not known and writes_new_values(segment.graph, node, ranges):
                        chosen.add(node.name)
                    continue
                reason = float_reason(segment.graph, node, ranges)
                if reason is None:
                    chosen.add(node.name)
                else:
                    reasons[node.name] = reason
            if chosen:
                parts = lower_integers(segment.graph, chosen, ranges, scheme)
                qdq = parts.qdq
                if segment.qdq is not None:
                    qdq = lower_integers(segment.qdq, chosen, ranges, scheme).qdq
                segment = replace(segment, graph=parts.exact, qdq=qdq)
        segments.append(segment)
    return replace(quantized, segments=tuple(segments))
