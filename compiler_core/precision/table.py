"""What operators and pairs of neighbours cost in each number format, measured or known before.

| symbol | meaning |
|---|---|
| ``t[i, p]`` | time of operator ``i`` at place ``p``, what crosses its borders in that format |
| ``t[i, j, p, q]`` | time of two neighbours together, with what lies between them |
| ``b[i, j, p, q]`` | ``t[i, j, p, q] - t[i, p] - t[j, q]``: below 0 where they are fused |

The sum of all ``t[i, p]`` and ``b`` is what a model should take. An operator can be saved once,
however many neighbours it is fused with: ``b`` is at least what both ends can give, each an equal
part of :data:`_SAVED` of its time to every pair that saves something. So no plan takes less than a
share of its operators alone, whatever the clock said of pairs. Of an operator only the places
that could be in the best plan are kept: each format of what it reads and writes at its fastest, and
what is nearly as fast.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, Node
from compiler_core.precision.parts import ModelPart, PartKey, is_measurable, parts_of
from compiler_core.quantize.precisions import (
    Static,
    WeightOnly,
    candidates,
    has_weights,
    precision_of,
    timed_as,
    with_narrow_weights,
)
from compiler_core.quantize.statistics import TensorRange
from compiler_core.sums import float_sum
from compiler_core.units.names import CPU

_LARGEST_VALUES = 1 << 26
_NEAR = 1.04
"""A place that takes this much longer than the fastest of its format is kept for its accuracy."""
_USUAL_BLOCK, _MUCH_SLOWER = 32, 1.3
_MOST_PLACES = 4
"""Of an operator beside float32."""
_BORDER_US, _BORDER_US_PER_VALUE = 4.0, 1e-3
"""What two conversions cost at most, about: a place that is slower by more is in no best plan."""

_SAVED = 0.95
"""Share of an operator's own time that its pairs can save at most, together."""

Progress = Callable[[str], None]


class PartTimer(Protocol):
    """Measures parts, or knows what was measured before."""

    def times_us(self, parts: Mapping[PartKey, Callable[[], Graph]]) -> Mapping[PartKey, float]:
        """Microseconds of one run of each; those that the runtime refuses are left out.

        Args:
            parts: What makes each model; asked where nothing is known of it.
        """
        ...


@dataclass(frozen=True, eq=False)
class PrecisionTable:
    """Costs of a model's operators by place.

    Attributes:
        graph: The model.
        singles: ``t[i, p]`` of every place that was measured, by operator.
        kept: Places that plans are made of, float32 first, by operator.
        borders: ``b[i, j, p, q]`` of the kept places, by pair.
    """

    graph: Graph
    singles: Mapping[str, Mapping[str, float]]
    kept: Mapping[str, tuple[str, ...]]
    borders: Mapping[tuple[str, str], Mapping[tuple[str, str], float]]

    def total_us(self, assignment: Mapping[str, str]) -> float | None:
        """What a plan should take; ``None`` where it has places of which nothing is known.

        Borders of a place that was not kept are those of a kept one that reads and writes alike.

        Args:
            assignment: Place by operator; those that it leaves out are float.
        """
        places = {name: timed_as(assignment.get(name, CPU)) for name in self.kept}
        alike = {name: self._alike(name, place) for name, place in places.items()}
        total = float_sum(self.singles[name].get(place, 0.0) for name, place in places.items())
        for (before, after), found in self.borders.items():
            one, other = alike[before], alike[after]
            total += 0.0 if one is None or other is None else found[one, other]
        return None if None in alike.values() else total

    def _alike(self, name: str, place: str) -> str | None:
        kept = self.kept[name]
        if place in kept:
            return place
        if place not in self.singles[name]:
            return None
        return next((own for own in kept[1:] if _form(own) == _form(place)), None)


@dataclass(frozen=True)
class BorderCosts:
    """Borders of two neighbours.

    Attributes:
        first, second: Operators.
        us: ``b`` by their kept places, one row per place of the first.
    """

    first: str
    second: str
    us: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class FormatCosts:
    """A table as plain values, of the kept places alone.

    Attributes:
        places: Kept places by operator, float32 first.
        us: Their times.
        borders: Of pairs.
    """

    places: Mapping[str, tuple[str, ...]]
    us: Mapping[str, tuple[float, ...]]
    borders: tuple[BorderCosts, ...]


def costs_of(table: PrecisionTable) -> FormatCosts:
    """What plans are made of, as plain values."""
    kept = table.kept
    return FormatCosts(
        dict(kept),
        {name: tuple(table.singles[name][p] for p in places) for name, places in kept.items()},
        tuple(
            BorderCosts(a, b, tuple(tuple(costs[p, q] for q in kept[b]) for p in kept[a]))
            for (a, b), costs in table.borders.items()
        ),
    )


def with_narrow_twins(costs: FormatCosts) -> FormatCosts:
    """Costs with the places whose weights have 7 bits as well, where those of 8 are kept: they take
    as long, and lose less where kernels saturate sums of products."""
    at = {
        name: [*range(len(own)), *(i for i, p in enumerate(own) if with_narrow_weights(p) != p)]
        for name, own in costs.places.items()
    }
    places = {}
    for name, own in costs.places.items():
        twins = (with_narrow_weights(own[i]) for i in at[name][len(own) :])
        places[name] = (*own, *twins)
    return FormatCosts(
        places,
        {name: tuple(us[i] for i in at[name]) for name, us in costs.us.items()},
        tuple(
            replace(
                item,
                us=tuple(tuple(item.us[i][j] for j in at[item.second]) for i in at[item.first]),
            )
            for item in costs.borders
        ),
    )


def table_of(graph: Graph, costs: FormatCosts) -> PrecisionTable:
    """The inverse of :func:`costs_of`.

    Raises:
        InputError: The costs are not of this graph, or do not fit together.
    """
    places = costs.places
    names = {node.name for node in graph.nodes}
    fits = names == places.keys() == costs.us.keys() and all(
        own and own[0] == CPU and len(own) == len(costs.us[name]) for name, own in places.items()
    )
    fits = fits and all(
        {item.first, item.second} <= names
        and len(item.us) == len(places[item.first])
        and all(len(row) == len(places[item.second]) for row in item.us)
        for item in costs.borders
    )
    if not fits:
        raise InputError(
            "stored costs of number formats do not fit the model",
            hint="start the study anew: --if-exists replace",
        )
    singles = {n: dict(zip(own, costs.us[n], strict=True)) for n, own in places.items()}
    borders = {
        (item.first, item.second): {
            (p, q): cost
            for p, row in zip(places[item.first], item.us, strict=True)
            for q, cost in zip(places[item.second], row, strict=True)
        }
        for item in costs.borders
    }
    return PrecisionTable(graph, singles, places, borders)


def measure_table(
    graph: Graph,
    ranges: Mapping[str, TensorRange],
    timer: PartTimer,
    progress: Progress = lambda _: None,
) -> PrecisionTable:
    """Measures what plans of a model cost.

    Args:
        graph: Simplified.
        ranges: Statistics of its float tensors.
        timer: By the clock, or by a rule.
        progress: Told what is being done.
    """
    alone, together = parts_of(graph)
    singles = _measured_singles(graph, alone, ranges, timer, progress)
    kept = {node.name: _kept(graph, node, singles[node.name]) for node in graph.nodes}
    borders = _measured_pairs(alone, together, kept, singles, ranges, timer, progress)
    return PrecisionTable(graph, singles, kept, borders)


def _measured_singles(
    graph: Graph,
    alone: Mapping[str, ModelPart],
    ranges: Mapping[str, TensorRange],
    timer: PartTimer,
    progress: Progress,
) -> dict[str, dict[str, float]]:
    places = {
        node.name: [CPU, *(place for place, _ in candidates(graph, node, ranges))]
        for node in graph.nodes
        if is_measurable(alone[node.name], _LARGEST_VALUES)
    }
    known: dict[PartKey, float] = {}
    for is_first in (True, False):
        asked: dict[PartKey, Callable[[], Graph]] = {}
        for name, options in places.items():
            for place in options:
                key = alone[name].key([place])
                like = _first_of_its_kind(place, options)
                if (like == place) == is_first and (is_first or _hopes(alone[name], like, known)):
                    asked.setdefault(key, _maker(alone[name], (place,), ranges))
        if asked:
            progress(f"looking up or timing {len(asked)} operators in number formats")
            known |= timer.times_us(asked)
    found = {}
    for node in graph.nodes:
        times = {
            place: known[key]
            for place in places.get(node.name, ())
            if (key := alone[node.name].key([place])) in known
        }
        # What cannot run alone, on values that are made up, stays as it is.
        found[node.name] = times if CPU in times else {CPU: 0.0}
    return found


def _first_of_its_kind(place: str, options: Sequence[str]) -> str:
    """The place that tells whether blocks of another size are worth a measurement."""
    precision = precision_of(place)
    if not isinstance(precision, WeightOnly):
        return place
    sizes = {
        found.block: other
        for other in options
        if isinstance(found := precision_of(other), WeightOnly)
        and replace(found, block=precision.block) == precision
    }
    return sizes[min(sizes, key=lambda block: abs(block - _USUAL_BLOCK))]


def _hopes(part: ModelPart, like: str, known: Mapping[PartKey, float]) -> bool:
    """Whether a place is not much slower than float32."""
    time, floats = known.get(part.key([like])), known.get(part.key([CPU]))
    return time is not None and floats is not None and time < _MUCH_SLOWER * floats


def _maker(
    part: ModelPart, places: tuple[str, ...], ranges: Mapping[str, TensorRange]
) -> Callable[[], Graph]:
    return lambda: part.lowered(places, ranges)


def _form(place: str) -> str:
    """What an operator reads and writes at a place."""
    precision = precision_of(place)
    return precision.activations if isinstance(precision, Static) else "float32"


def _kept(graph: Graph, node: Node, times: Mapping[str, float]) -> tuple[str, ...]:
    """Places that plans are made of; of formats that cross borders as floats, only what is faster
    than float32."""
    by_form: dict[str, list[str]] = {}
    for place, time in sorted(times.items(), key=lambda item: item[1]):
        if place != CPU and (_form(place) != "float32" or time < times[CPU] / _NEAR):
            by_form.setdefault(_form(place), []).append(place)
    found: list[str] = []
    for form, options in by_form.items():
        fastest = times[options[0]]
        near = [place for place in options if times[place] <= fastest * _NEAR]
        finer = [place for place in near if place.endswith("c")]
        most = 2 if has_weights(graph, node) and form == "float32" else 1
        # Concatenations that rescale lose less than those that copy.
        own = options if node.op == "Concat" else near[:most]
        found += dict.fromkeys([*finer[:1], *own])
    sizes = [graph.types[n].shape or () for n in (*node.inputs, *node.outputs) if n in graph.types]
    values = max(prod(size or 1 for size in shape) for shape in sizes)
    limit = min(times.values()) + _BORDER_US + _BORDER_US_PER_VALUE * values
    # 16-bit activations have no kernels: what they cost is shown, and no plan needs them.
    found = [p for p in found if _form(p) != "uint16" and times[p] <= limit]
    found.sort(key=lambda place: times[place])
    return (CPU, *found[:_MOST_PLACES])


def _measured_pairs(
    alone: Mapping[str, ModelPart],
    together: Mapping[tuple[str, str], ModelPart],
    kept: Mapping[str, Sequence[str]],
    singles: Mapping[str, Mapping[str, float]],
    ranges: Mapping[str, TensorRange],
    timer: PartTimer,
    progress: Progress,
) -> dict[tuple[str, str], dict[tuple[str, str], float]]:
    usable = {
        pair: part
        for pair, part in together.items()
        if any(len(kept[name]) > 1 for name in pair)
        and all(is_measurable(alone[name], _LARGEST_VALUES) for name in pair)
        and is_measurable(part, _LARGEST_VALUES)
    }
    asked: dict[PartKey, Callable[[], Graph]] = {}
    for pair, part in usable.items():
        for places in _combinations(kept, pair):
            asked.setdefault(part.key(places), _maker(part, places, ranges))
    progress(f"looking up or timing {len(asked)} pairs of neighbours")
    known = timer.times_us(asked)
    found = {}
    for pair, part in usable.items():
        costs = {}
        for places in _combinations(kept, pair):
            apart = singles[pair[0]][places[0]] + singles[pair[1]][places[1]]
            whole = known.get(part.key(places))
            costs[places] = 0.0 if whole is None else whole - apart
        found[pair] = costs
    return bounded(found, singles)


def bounded(
    borders: Mapping[tuple[str, str], Mapping[tuple[str, str], float]],
    singles: Mapping[str, Mapping[str, float]],
) -> dict[tuple[str, str], dict[tuple[str, str], float]]:
    """Borders that save no more than there is: the sum of a plan is above 0 wherever its operators'
    is.

    Args:
        borders: ``b`` by pair and places, as they were measured.
        singles: ``t`` by operator and place.
    """
    saving = [pair for pair, costs in borders.items() if min(costs.values(), default=0.0) < 0.0]
    pairs = Counter(name for pair in saving for name in pair)

    def least(name: str, place: str) -> float:
        return -_SAVED * singles[name][place] / max(1, pairs[name])

    return {
        (one, other): {
            (p, q): max(cost, least(one, p) + least(other, q)) for (p, q), cost in costs.items()
        }
        for (one, other), costs in borders.items()
    }


def _combinations(
    kept: Mapping[str, Sequence[str]], pair: tuple[str, str]
) -> Iterator[tuple[str, str]]:
    for first in kept[pair[0]]:
        for second in kept[pair[1]]:
            yield first, second
