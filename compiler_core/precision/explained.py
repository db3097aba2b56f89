"""Why each operator got its number format, as a table: the costs of the plan and of its neighbours.

| what is said | where |
|---|---|
| what float32 and the fastest int8 take alone | every operator that has them |
| what another format in its place would change | by the measured costs, conversions included |
| that another one would lose too much | where plans had to keep to some noise |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler_core.precision.table import PrecisionTable
from compiler_core.quantize.precisions import Static, precision_of, timed_as
from compiler_core.units.names import CPU

_SAME_US = 0.05
FLOAT32 = "float32"


@dataclass(frozen=True)
class ChosenFormat:
    """One operator of a plan.

    Attributes:
        name, operator: Of the node.
        float_ms: In float32, alone.
        int8_ms: In the fastest int8 format, alone; ``None`` where it has none.
        chosen: Its format: ``float32``, or what stands behind the colon of its place.
        chosen_ms: In that format, alone; ``None`` where it was not measured.
        why: In a few words.
    """

    name: str
    operator: str
    float_ms: float
    int8_ms: float | None
    chosen: str
    chosen_ms: float | None
    why: str


def explained(
    table: PrecisionTable, places: Mapping[str, str], *, is_limited: bool = False
) -> tuple[ChosenFormat, ...]:
    """A row per operator, in order.

    Args:
        table: Measured costs.
        places: Of the plan; operators that it leaves out are float.
        is_limited: Whether plans had to keep to some noise.
    """
    rows = []
    for node in table.graph.nodes:
        times = table.singles[node.name]
        integers = {place: time for place, time in times.items() if _is_int8(place)}
        place = places.get(node.name, CPU)
        rows.append(
            ChosenFormat(
                node.name,
                node.op,
                times[CPU] / 1e3,
                min(integers.values()) / 1e3 if integers else None,
                format_name(place),
                _ms(times.get(timed_as(place))),
                _why(table, places, node.name, integers, is_limited),
            )
        )
    return tuple(rows)


def _ms(us: float | None) -> float | None:
    return None if us is None else us / 1e3


def format_name(place: str) -> str:
    """A place of the CPU for people."""
    return FLOAT32 if place == CPU else place.removeprefix(f"{CPU}:")


def _is_int8(place: str) -> bool:
    precision = precision_of(place)
    return isinstance(precision, Static) and precision.activations != "uint16"


def _why(
    table: PrecisionTable,
    places: Mapping[str, str],
    name: str,
    integers: Mapping[str, float],
    is_limited: bool,
) -> str:
    here = places.get(name, CPU)
    if here != CPU:
        change = _change_us(table, places, name, CPU)
        return "" if change is None else f"float32 here: {_microseconds(change)}"
    if len(table.singles[name]) == 1:
        return "it has no other format"
    others = [place for place in table.kept[name] if place != CPU]
    if not others:
        return "every other format takes longer"
    other = min(others, key=lambda place: table.singles[name][place])
    change = _change_us(table, places, name, other)
    if change is None:
        return ""
    said = f"{format_name(other)} here: {_microseconds(change)}"
    if change < -_SAME_US and is_limited:
        return f"{said}, and loses too much"
    if integers and change > _SAME_US and min(integers.values()) < table.singles[name][CPU]:
        return f"{said}, conversions included"
    return said


def _change_us(
    table: PrecisionTable, places: Mapping[str, str], name: str, place: str
) -> float | None:
    """What another place of one operator changes, by the measured costs."""
    before = table.total_us(places)
    after = table.total_us({**places, name: place})
    return None if before is None or after is None else after - before


def _microseconds(change: float) -> str:
    return "as fast" if abs(change) <= _SAME_US else f"{change:+.1f} us"
