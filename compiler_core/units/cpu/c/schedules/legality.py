"""Which schedules of a workload are legal, of many at once.

| rule | holds where |
|---|---|
| unit | the core has it; CMSIS-NN: it is given, and computes the same bits |
| outputs | blocks divide the output channels; columns of products may be left over |
| accumulators | outputs times pixels are at most eight sums: registers hold no more |
| pixels | a block of more than four is not larger than the result |
| unpacked | weights of 4 bits are unpacked for what multiplies bytes, and nothing else is |

Depthwise kernels and plain loops have no blocks: what a schedule says of them is not read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.network import Network, Operator
from compiler_core.units.cpu.c.schedules.library import LIBRARY_UNITS, library_kernels
from compiler_core.units.cpu.c.schedules.schedule import (
    UNITS,
    KernelSchedule,
    KernelUnit,
    choices_in,
    refusal,
)
from compiler_core.units.cpu.c.schedules.workload import (
    KernelWorkload,
    ProductKernel,
    network_of,
    workload_of,
)
from compiler_core.units.violation import Violation

Rows = npt.NDArray[np.int64]
"""``int64[n, 5]``: unit by its place in the enumeration, outputs, pixels, unroll, unpacked."""

RULES = ("unit", "outputs", "accumulators", "pixels", "unpacked")
MOST_ACCUMULATORS = 8
_SMALL = 4
MEMBERS = tuple(KernelUnit)
_BLOCKED = tuple(place for place, unit in enumerate(MEMBERS) if unit.has_blocks)
_CALLS = tuple(place for place, unit in enumerate(MEMBERS) if unit.is_library)


def units_of(core: str, *, library: bool = False) -> tuple[KernelUnit, ...]:
    """What can compute on a core, in the order of the enumeration.

    Args:
        core: Name of the core.
        library: Whether CMSIS-NN is given.
    """
    more = (*UNITS.get(core, ()), *((LIBRARY_UNITS[core],) if library else ()))
    return tuple(unit for unit in MEMBERS if unit is KernelUnit.PORTABLE or unit in more)


def demands(
    workload: KernelWorkload, rows: Rows, core: str, *, library: bool = False
) -> list[tuple[Rows, Any, str, str]]:
    """Per rule what schedules ask for, what there is at most, its unit, and a remedy."""
    unit, outputs, pixels, _, unpacked = rows.T
    blocked = np.isin(unit, _BLOCKED)
    if workload.depthwise:
        blocked = np.zeros_like(blocked)
    known = [
        MEMBERS.index(item)
        for item in units_of(core, library=library and _has_call(workload, core))
    ]
    missing = (~np.isin(unit, known)).astype(np.int64)
    rest = np.where(blocked, workload.outputs % np.maximum(outputs, 1), 0)
    if isinstance(workload, ProductKernel):
        rest = np.zeros_like(rest)
    sums = np.where(blocked, outputs * pixels, 1)
    over = np.where(blocked, pixels, 1)
    if workload.numbers.weight_bits == 8:
        wrong = unpacked
    else:
        packed = np.where(np.isin(unit, _BLOCKED), unpacked == 0, False)
        wrong = np.where(np.isin(unit, _CALLS), unpacked == 1, packed).astype(np.int64)
    return [
        (missing, 0, "units", "take another unit"),
        (rest, 0, "channels", "take a divisor of the output channels"),
        (sums, MOST_ACCUMULATORS, "sums", "lower outputs or pixels"),
        (over, max(_SMALL, workload.positions), "pixels", "lower pixels"),
        (wrong, 0, "layers", "unpack weights of 4 bits, and those alone"),
    ]


@lru_cache(maxsize=256)
def _has_call(workload: KernelWorkload, core: str) -> bool:
    """Whether CMSIS-NN computes a workload with the same bits."""
    network = network_of(workload)
    return bool(library_kernels(network, network.operators[0], core))


def violations(
    workload: KernelWorkload, schedule: KernelSchedule, core: str, *, library: bool = False
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
        RULES, demands(workload, row, core, library=library), strict=True
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
    blocked = np.isin(rows[:, 0], _BLOCKED)
    found[~blocked, 1:4] = 1
    if workload.depthwise:
        found[blocked, 1:4] = (4, 1, 1)
    return found


def legal_kernels(
    network: Network, operator: Operator, core: str, *, library: bool = False
) -> tuple[KernelSchedule, ...]:
    """Kernels of an operator that come first into question; the first is the default, the last
    portable.

    Args:
        network, operator: The operator and its network.
        core: Name of the core.
        library: Whether CMSIS-NN is given.
    """
    *own, portable = choices_in(network, operator, core)
    more = library_kernels(network, operator, core) if library else ()
    if not own:
        return (portable, *more)
    return (*own, *more, portable)


def illegal(
    network: Network,
    operator: Operator,
    schedule: KernelSchedule,
    core: str,
    *,
    library: bool = False,
) -> str | None:
    """Why a schedule cannot run an operator on a core; ``None`` where it can."""
    workload = workload_of(network, operator)
    if workload is not None:
        broken = violations(workload, schedule, core, library=library)
        return next((str(found) for found in broken), None)
    if schedule in legal_kernels(network, operator, core, library=library):
        return None
    if schedule.unit.is_library:
        return "it is a kernel of CMSIS-NN, which is not given or does not compute these bits"
    return refusal(operator) or "it has no such kernel"
