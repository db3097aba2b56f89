"""Which schedules of a workload are legal, of many at once.

| rule | holds where |
|---|---|
| unit | the core has it |
| outputs | blocks divide the output channels |
| accumulators | outputs times pixels are at most eight sums: registers hold no more |
| pixels | a block of more than four is not larger than the result |
| unpacked | weights of 4 bits are unpacked for what multiplies bytes, and nothing else is |

Depthwise kernels and plain loops have no blocks: what a schedule says of them is not read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.network import Network, Operator
from compiler_core.units.cpu.c.schedules.schedule import (
    UNITS,
    KernelSchedule,
    KernelUnit,
    choices,
    refusal,
)
from compiler_core.units.cpu.c.schedules.workload import KernelWorkload, workload_of
from compiler_core.units.violation import Violation

Rows = npt.NDArray[np.int64]
"""``int64[n, 5]``: unit by its place in the enumeration, outputs, pixels, unroll, unpacked."""

RULES = ("unit", "outputs", "accumulators", "pixels", "unpacked")
MOST_ACCUMULATORS = 8
_SMALL = 4
MEMBERS = tuple(KernelUnit)
_PORTABLE = MEMBERS.index(KernelUnit.PORTABLE)


def units_of(core: str) -> tuple[KernelUnit, ...]:
    """What can compute on a core, in the order of the enumeration."""
    more = UNITS.get(core, ())
    return tuple(unit for unit in MEMBERS if unit is KernelUnit.PORTABLE or unit in more)


def demands(workload: KernelWorkload, rows: Rows, core: str) -> list[tuple[Rows, Any, str, str]]:
    """Per rule what schedules ask for, what there is at most, its unit, and a remedy."""
    unit, outputs, pixels, _, unpacked = rows.T
    blocked = unit != _PORTABLE
    if workload.depthwise:
        blocked = np.zeros_like(blocked)
    known = [MEMBERS.index(item) for item in units_of(core)]
    missing = (~np.isin(unit, known)).astype(np.int64)
    rest = np.where(blocked, workload.outputs % np.maximum(outputs, 1), 0)
    sums = np.where(blocked, outputs * pixels, 1)
    over = np.where(blocked, pixels, 1)
    if workload.numbers.weight_bits == 8:
        wrong = unpacked
    else:
        wrong = ((unit != _PORTABLE) & (unpacked == 0)).astype(np.int64)
    return [
        (missing, 0, "units", "take another unit"),
        (rest, 0, "channels", "take a divisor of the output channels"),
        (sums, MOST_ACCUMULATORS, "sums", "lower outputs or pixels"),
        (over, max(_SMALL, workload.positions), "pixels", "lower pixels"),
        (wrong, 0, "layers", "unpack weights of 4 bits, and those alone"),
    ]


def violations(
    workload: KernelWorkload, schedule: KernelSchedule, core: str
) -> tuple[Violation, ...]:
    """Every rule that a schedule breaks.

    Raises:
        TypeError: It schedules something else.
    """
    if not isinstance(schedule, KernelSchedule):
        raise TypeError(f"{type(schedule).__name__} does not schedule a {type(workload).__name__}")
    found = []
    least = (
        ("outputs", schedule.outputs),
        ("pixels", schedule.pixels),
        ("unroll", schedule.unroll),
    )
    for name, value in least:
        if value < 1:
            found.append(Violation(name, value, 1, name, f"raise {name}", is_least=True))
    if found:
        return tuple(found)
    row = np.array([row_of(schedule)], np.int64)
    for rule, (demand, bound, what, remedy) in zip(
        RULES, demands(workload, row, core), strict=True
    ):
        if demand[0] > bound:
            found.append(Violation(rule, int(demand[0]), int(bound), what, remedy))
    return tuple(found)


def row_of(schedule: KernelSchedule) -> tuple[int, ...]:
    """A schedule as integers."""
    return (
        MEMBERS.index(KernelUnit(schedule.unit)),
        schedule.outputs,
        schedule.pixels,
        schedule.unroll,
        int(schedule.unpacked),
    )


def canonical_rows(workload: KernelWorkload, rows: Rows) -> Rows:
    """Of all schedules with the same program the one that stands for them."""
    found = rows.copy()
    portable = rows[:, 0] == _PORTABLE
    found[portable, 1:4] = 1
    if workload.depthwise:
        found[~portable, 1:4] = (4, 1, 1)
    return found


def illegal(
    network: Network, operator: Operator, schedule: KernelSchedule, core: str
) -> str | None:
    """Why a schedule cannot run an operator on a core; ``None`` where it can."""
    workload = workload_of(network, operator)
    if workload is not None:
        return next((str(found) for found in violations(workload, schedule, core)), None)
    if schedule in choices(operator, core):
        return None
    return refusal(operator) or "it has no such kernel"
