"""Which schedules are legal: one set of rules for the lowering and for the space."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler_core.units.aim.machine.machine import COLUMNS, GROUPS, AimMachine
from compiler_core.units.aim.schedule.mapping import SIDES, Numbers, ceil_div, mapping_of
from compiler_core.units.aim.schedule.schedule import (
    ElementSchedule,
    ProductSchedule,
    Schedule,
    Side,
)
from compiler_core.units.aim.schedule.workload import ElementProduct, MatrixVector, Workload
from compiler_core.units.violation import Violation

PRODUCT_RULES: Final = (
    "channels", "outputs", "heads", "inputs", "packed", "activation", "rows", "registers", "cuts",
)  # fmt: skip
_PRODUCT_UNITS = {
    "channels": ("channels", "lower groups, channels or heads"),
    "outputs": ("channels", "lower channels: each has 16 outputs to compute"),
    "heads": ("heads", "lower heads"),
    "inputs": ("columns", "lower groups: each needs inputs of its own"),
    "packed": ("columns", "lower packed"),
    "activation": ("groups", "let the CPU apply activations, or lower groups"),
    "rows": ("rows", "use more channels, or a machine with more rows"),
    "registers": ("registers", "use fewer channels, or a machine with more registers"),
    "cuts": ("columns", "cut at 1 to 64 columns"),
}
ELEMENT_RULES: Final = ("channels", "bank_groups", "cuts", "rows", "registers")
_ELEMENT_UNITS = {
    "channels": ("channels", "lower channels"),
    "bank_groups": ("bank groups", "use 1 or 4"),
    "cuts": ("columns", "cut at 1 to 64 columns"),
    "rows": ("rows", "use more channels"),
    "registers": ("registers", "cut the vectors, or use a machine with more registers"),
}


def product_demands(
    w: MatrixVector,
    machine: AimMachine,
    groups: Numbers,
    channels: Numbers,
    heads: Numbers,
    order: Numbers,
    packed: Numbers,
    activation: Numbers,
) -> list[tuple[Numbers, Numbers]]:
    """Demand and bound of each of :data:`PRODUCT_RULES` but the last; broken where the demand is
    larger. Arguments as :func:`~compiler_core.units.aim.schedule.mapping.mapping_of` takes them.
    """  # fmt: skip
    m = mapping_of(w, groups, channels, heads, order, packed, activation)
    in_unit = (activation == SIDES.index(Side.UNIT)) & (len(w.activations) > 0)
    share = np.where(m.chunks > 1, np.where(order <= 1, 1, packed), packed)
    return [
        (m.used, machine.channels),
        (channels, m.sixteens),
        (heads, w.heads),
        ((groups - 1) * m.width + 1, w.columns),
        (share * m.last, COLUMNS),
        (np.where(in_unit, groups, 1), 1),
        (m.rows, machine.rows),
        (registers_needed(w, m.width, groups, heads, m.used), machine.registers),
    ]


def registers_needed(
    w: MatrixVector, width: Numbers, groups: Numbers, heads: Numbers, used: Numbers
) -> Numbers:
    """General registers that one vector, one pass and one round of heads take at least."""
    return width * groups * heads + used * (1 if w.bias else 2)


def element_demands(
    w: ElementProduct, machine: AimMachine, channels: Numbers, bank_groups: Numbers
) -> list[tuple[Numbers, Numbers]]:
    """Demand and bound of the rules of element products but that of cuts."""
    rows = ceil_div(w.blocks, channels * bank_groups * COLUMNS)
    odd = np.where((bank_groups == 1) | (bank_groups == GROUPS), 0, bank_groups)
    most = np.minimum(machine.channels, w.blocks)
    crossing = 3 * w.blocks if w.crosses else 0
    return [(channels, most), (odd, 0), (rows, machine.rows), (crossing, machine.registers)]


def broken(demands: list[tuple[Numbers, Numbers]]) -> npt.NDArray[np.bool_]:
    """Which rules are broken, ``bool[n, rules]``."""
    columns = [np.asarray(demand > bound) for demand, bound in demands]
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def violations(
    workload: Workload, schedule: Schedule, machine: AimMachine
) -> tuple[Violation, ...]:
    """Every rule that a schedule breaks.

    Raises:
        TypeError: The schedule is for another kind of workload.
    """
    if isinstance(workload, MatrixVector) and isinstance(schedule, ProductSchedule):
        return _of_product(workload, schedule, machine)
    if isinstance(workload, ElementProduct) and isinstance(schedule, ElementSchedule):
        return _of_elements(workload, schedule, machine)
    raise TypeError(f"{type(schedule).__name__} does not schedule a {type(workload).__name__}")


def _of_product(w: MatrixVector, s: ProductSchedule, machine: AimMachine) -> tuple[Violation, ...]:
    cuts = _cut(s.buffer_cut) or _cut(s.product_cut)
    least = min(s.groups, s.channels, s.heads, s.packed)
    if least < 1:
        return (Violation("channels", 1, least, "of each", "every number is at least 1"),)
    orders, sides = list(type(s.order)), list(SIDES)
    found = product_demands(
        w, machine, s.groups, s.channels, s.heads, orders.index(s.order), s.packed,
        sides.index(s.activation),
    )  # fmt: skip
    return _named(PRODUCT_RULES, [*found, (cuts, COLUMNS)], _PRODUCT_UNITS)


def _of_elements(
    w: ElementProduct, s: ElementSchedule, machine: AimMachine
) -> tuple[Violation, ...]:
    if min(s.channels, s.bank_groups) < 1:
        return (Violation("channels", 1, 0, "of each", "every number is at least 1"),)
    channels, groups, *rest = element_demands(w, machine, s.channels, s.bank_groups)
    found = [channels, groups, (_cut(s.cut), COLUMNS), *rest]
    return _named(ELEMENT_RULES, found, _ELEMENT_UNITS)


def _cut(columns: int) -> int:
    """Demand of a cut: 0 for one that is legal."""
    return 0 if 1 <= columns <= COLUMNS else max(columns, COLUMNS + 1)


def _named(
    rules: tuple[str, ...], demands: list[tuple[Any, Any]], units: dict[str, tuple[str, str]]
) -> tuple[Violation, ...]:
    return tuple(
        Violation(rule, int(demand), int(bound), *units[rule])
        for rule, (demand, bound) in zip(rules, demands, strict=True)
        if demand > bound
    )
