"""A quantized graph from exponents that were found before: no calibration data are needed."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.quantize.apply import (
    AppliedScheme,
    allowed_units,
    asked_groups,
    weight_choice,
)
from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.host_lowering import with_host_integers
from compiler_core.quantize.quantize import with_exponents
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.quantize.unit_arithmetics import Computing, unit_arithmetics
from compiler_core.quantize.unit_cuts import cut_over_units


def apply_exponents(
    graph: Graph,
    assignment: Mapping[str, str],
    exponents: Mapping[str, int],
    scheme: QuantizationScheme,
    arithmetic: Computing | None = None,
) -> AppliedScheme:
    """Quantize ``graph`` with ``exponents``.

    Args:
        graph: The float graph, simplified.
        assignment: Unit of every node name.
        exponents: Of every int8 tensor.
        scheme: That they were found by; one that needs no statistics beside them.
        arithmetic: Of the NPUs; by default one of the usual kind.

    Raises:
        InputError: A tensor is unknown or has no exponent, or as
            :func:`~compiler_core.quantize.apply.apply_scheme`.
    """
    known = unit_arithmetics(arithmetic)
    cut = cut_over_units(graph, assignment, {}, known)
    graph, assignment = cut.graph, cut.assignment
    units, reasons = allowed_units(graph, assignment, scheme, known)
    groups = asked_groups(graph, units, known)
    skeleton = assemble(graph, units, known, () if groups is None else groups.loops)
    on_host = groups.found.tensors if groups is not None else frozenset()
    for name in exponents:
        if name not in skeleton.shapes and name not in on_host:
            near = get_close_matches(name, skeleton.shapes, 1)
            nearest = f"; the nearest is {near[0]!r}" if near else ""
            raise InputError(f"scheme: the model has no tensor {name!r}{nearest}")
    for name in skeleton.calibrated:
        if name not in exponents:
            raise InputError(f"scheme: tensor {name!r} has no exponent", hint="calibrate again")
    choice = weight_choice(scheme)
    own = {name: exponent for name, exponent in exponents.items() if name in skeleton.shapes}
    quantized = with_exponents(skeleton, own, choice, scheme.granularity)
    reasons |= skeleton.cpu_reasons
    if groups is not None:
        reasons |= groups.left
        quantized = with_host_integers(
            quantized, groups.found, groups.nodes, exponents.get, reasons, known
        )
    return AppliedScheme(quantized, units, reasons)
