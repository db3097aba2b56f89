"""Which schedules there are for an AiM unit: the facet
:class:`~search_spaces.task_space.TaskSpaces`. Rules are those of the lowering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from compiler_core.units.aim.machine.machine import COLUMNS, GROUPS, AimMachine
from compiler_core.units.aim.schedule.legality import (
    ELEMENT_RULES,
    PRODUCT_RULES,
    broken,
    element_demands,
    product_demands,
)
from compiler_core.units.aim.schedule.mapping import ORDERS, ROW, mapping_of
from compiler_core.units.aim.schedule.schedule import (
    ElementSchedule,
    Order,
    ProductSchedule,
    Schedule,
    Side,
    Start,
)
from compiler_core.units.aim.schedule.workload import ElementProduct, MatrixVector, Workload
from search_spaces.parameter import Parameter
from search_spaces.task_space import Cap, Coarse, Mask, Rows, SpaceTables

PRODUCT_FIELDS: Final = (
    "groups", "channels", "heads", "order", "packed", "activation", "buffer_cut", "product_cut",
    "start", "reduction",
)  # fmt: skip
_FREE = ("buffer_cut", "product_cut", "start", "reduction")
_COUNTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32)
_PACKED = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 21, 32, 64)
_BUFFER_CUTS = (8, 16, 24, 32, 48, 64)
_PRODUCT_CUTS = (16, 32, 64)
_REWRITING = (ORDERS.index(Order.OUTPUT), ORDERS.index(Order.SERPENTINE))


def counts(most: int) -> tuple[int, ...]:
    """Choices of a number up to a bound, which is one of them."""
    return tuple(sorted({n for n in _COUNTS if n < most} | {max(1, most)}))


class AimSpaces:
    """See :class:`~search_spaces.task_space.TaskSpaces`."""

    def tables(self, workload: Workload, machine: AimMachine) -> SpaceTables:
        if isinstance(workload, ElementProduct):
            return _element_tables(workload, machine)
        return _product_tables(workload, machine)

    def broken(self, workload: Workload, rows: Rows, limits: AimMachine) -> Mask:
        if isinstance(workload, ElementProduct):
            channels, groups, *rest = element_demands(workload, limits, rows[:, 0], rows[:, 1])
            cuts = np.zeros(len(rows), np.int64), COLUMNS
            return broken([channels, groups, cuts, *rest])
        groups, channels, heads, order, packed, activation = rows[:, :6].T
        return broken(
            product_demands(workload, limits, groups, channels, heads, order, packed, activation)
        )

    def canonical(self, workload: Workload, rows: Rows, cap: Cap) -> Rows:
        if isinstance(workload, ElementProduct):
            found = rows.copy()
            widest = np.minimum(COLUMNS, -(-workload.blocks // (rows[:, 0] * rows[:, 1])))
            found[:, 2] = np.minimum(rows[:, 2], cap("cut", widest))
            return found
        return _canonical_products(workload, rows, cap)

    def schedule(self, workload: Workload, values: Mapping[str, Any]) -> Schedule:
        if isinstance(workload, ElementProduct):
            return ElementSchedule(**values)
        return ProductSchedule(**values)


SPACES = AimSpaces()


def _product_tables(w: MatrixVector, machine: AimMachine) -> SpaceTables:
    sixteens = -(-w.outputs // 16)
    sides = tuple(Side) if w.activations else (Side.CPU,)
    orders = tuple(order for order in Order if w.vectors > 1 or order is not Order.ROW)
    parameters = (
        Parameter("groups", counts(min(machine.channels, w.columns))),
        Parameter("channels", _shares(min(machine.channels, sixteens))),
        Parameter("heads", counts(min(machine.channels, w.heads))),
        Parameter("order", orders, ordered=False),
        Parameter("packed", _PACKED),
        Parameter("activation", sides, ordered=False),
        Parameter("buffer_cut", _BUFFER_CUTS),
        Parameter("product_cut", _PRODUCT_CUTS),
        Parameter("start", tuple(Start), ordered=False),
        Parameter("reduction", tuple(Side), ordered=False),
    )
    names = [parameter.name for parameter in parameters]
    assert tuple(names) == PRODUCT_FIELDS
    best_cut = _BUFFER_CUTS.index(32)
    variant = {names.index("buffer_cut"): best_cut, names.index("product_cut"): 2}
    return SpaceTables(
        parameters,
        PRODUCT_RULES[:-1],
        machine,
        free=_FREE,
        exchanges=(("groups", "channels"), ("heads", "channels"), ("groups", "heads")),
        leading=5,
        coarse=Coarse(axes=(0, 1, 2, 3, 4, 5), variants=(variant, variant | {9: 1})),
    )


def _shares(most: int) -> tuple[int, ...]:
    """Channels per group: those that fill a device with a number of groups, and small ones."""
    filled = {most // n for n in range(1, most + 1)}
    return tuple(sorted({n for n in {*_COUNTS, *filled, most} if 1 <= n <= most}))


def _element_tables(w: ElementProduct, machine: AimMachine) -> SpaceTables:
    parameters = (
        Parameter("channels", counts(min(machine.channels, w.blocks))),
        Parameter("bank_groups", (1, GROUPS)),
        Parameter("cut", _BUFFER_CUTS),
    )
    return SpaceTables(parameters, ELEMENT_RULES, machine, free=("cut",), leading=2)


def _canonical_products(w: MatrixVector, rows: Rows, cap: Cap) -> Rows:
    found = rows.copy()
    groups, channels, heads, order, packed, activation = rows[:, :6].T
    m = mapping_of(w, groups, channels, heads, order, packed, activation)
    whole = (m.chunks == 1) & (order != ROW)
    found[:, 3] = np.where(whole, ORDERS.index(Order.OUTPUT), order)
    rewriting = (m.chunks > 1) & np.isin(order, _REWRITING)
    found[:, 4] = np.where(rewriting, 1, np.minimum(packed, cap("packed", m.passes)))
    widest = np.where(m.chunks > 1, COLUMNS, m.last)
    found[:, 6] = np.minimum(rows[:, 6], cap("buffer_cut", widest))
    found[:, 7] = np.minimum(rows[:, 7], cap("product_cut", widest))
    found[:, 9] = np.where(groups == 1, 0, rows[:, 9])
    return found
