"""The forms of int8 throughout that a user could build without a search: types of activations and
weights, a scale per channel or per tensor, concatenations that copy or rescale.

Which of them a machine runs well differs by its instructions, and sums of operators do not tell
small differences. So all that are not far behind by the sums are run whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

from compiler_core.graph.ir import Node
from compiler_core.precision.table import PrecisionTable
from compiler_core.quantize.precisions import Static, has_weights, precision_of
from compiler_core.sums import float_sum
from compiler_core.units.names import CPU

_TYPES = (("u8", "u8s8"), ("s8", "s8s8"), ("u8", "u8u8"))
_FAR = 1.25
"""Forms whose operators take more than this beside the best form's are not run whole."""


def full_forms(table: PrecisionTable) -> dict[str, dict[str, str]]:
    """Places by the name of a form, the one whose operators take least first; of forms with fewer
    operators on integers only what is left without them.

    Args:
        table: What operators cost; a place that it does not have is replaced by the fastest of the
            same activations.
    """
    totals: dict[str, tuple[int, float]] = {}
    forms: dict[str, dict[str, str]] = {}
    for name, places in _forms(table):
        if places not in forms.values():
            total = float_sum(table.singles[node][place] for node, place in places.items())
            totals[name], forms[name] = (-len(places), total), places
    if not forms:
        return {}
    order = sorted(forms, key=lambda name: totals[name])
    most, least = totals[order[0]]
    kept = [n for n in order if totals[n][0] == most and totals[n][1] <= _FAR * least]
    return {name: forms[name] for name in kept}


def _forms(table: PrecisionTable) -> Iterator[tuple[str, dict[str, str]]]:
    for (activations, weights), grain, suffix in product(_TYPES, "ct", ("j", "")):
        places = {}
        for node in table.graph.nodes:
            place = _place(table, node, activations, weights + grain, suffix)
            if place is not None:
                places[node.name] = place
        yield f"{weights}{grain}" + ("" if suffix else ", scales apart"), places


def _place(
    table: PrecisionTable, node: Node, activations: str, weighted: str, suffix: str
) -> str | None:
    """Of a node in a form; ``None`` where it stays float."""
    times: Mapping[str, float] = table.singles[node.name]
    wanted = weighted if has_weights(table.graph, node) else activations
    for name in (f"{wanted}{suffix}", wanted):
        if f"{CPU}:{name}" in times:
            return f"{CPU}:{name}"
    kind = precision_of(f"{CPU}:{wanted}")
    assert isinstance(kind, Static)
    alike = [
        place
        for place in times
        if isinstance(own := precision_of(place), Static) and own.activations == kind.activations
    ]
    return min(alike, key=lambda place: times[place], default=None)
