"""What products are in the numbers of the unit, without programs: sums in the order that a schedule
says, rounded where partial sums leave the unit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compiler_core.units.aim.lower.layout import BankLayout
from compiler_core.units.aim.lower.matrix_vector import launches
from compiler_core.units.aim.machine.machine import COLUMNS, LANES, AimMachine
from compiler_core.units.aim.schedule.schedule import Order, Side
from compiler_core.units.aim.simulate.activation import activated
from compiler_core.units.aim.simulate.numbers import (
    Bits,
    accumulated,
    added,
    dots,
    to_bits,
    to_float,
)

Floats = npt.NDArray[np.float32]


def reference_product(
    layout: BankLayout, machine: AimMachine, matrix: Bits, bias: Bits, vectors: Floats
) -> Floats:
    """One run of a product.

    Args:
        layout: Workload and schedule.
        machine: The unit, whose registers say how the work is cut.
        matrix: ``uint16[heads, outputs, inputs]``.
        bias: ``uint16[heads, outputs]``.
        vectors: ``float32[vectors, heads, inputs]``.

    Returns:
        ``float32[vectors, heads, outputs]``.
    """
    w, s, m = layout.workload, layout.schedule, layout.mapping
    shape = (s.groups, m.width, LANES)
    rows = to_float(layout.matrix_blocks(matrix)).reshape(w.heads, w.outputs, *shape)
    columns = to_float(layout.inputs(vectors)).reshape(-1, w.heads, *shape)
    backwards = _backwards(layout, machine)
    found = np.zeros((len(vectors), w.heads, w.outputs), np.float32)
    for number, head in np.ndindex(len(vectors), w.heads):
        sums = dots(rows[head], columns[number, head][None])
        begun = [bias[head], *[np.zeros_like(bias[head])] * (s.groups - 1)]
        parts = [
            _group(layout, sums[:, group], first, backwards) for group, first in enumerate(begun)
        ]
        found[number, head] = _joined(layout, parts)
    return found


def _backwards(layout: BankLayout, machine: AimMachine) -> npt.NDArray[np.bool_]:
    """Outputs whose pass goes through its chunks from the last to the first."""
    found = np.zeros(layout.mapping.passes, np.bool_)
    if layout.schedule.order is Order.SERPENTINE:
        for launch in launches(layout, machine):
            passes = launch.extent.passes
            found[passes.start + 1 : passes.stop : 2] = True
    backwards: npt.NDArray[np.bool_] = found[layout.outputs[:, 0]]
    return backwards


def _group(
    layout: BankLayout, sums: Floats, bias: Bits, backwards: npt.NDArray[np.bool_]
) -> tuple[Floats, Bits]:
    """What accumulators end as, and what is read of them, for one group of channels.

    Args:
        layout: Of the product.
        sums: ``float32[outputs, columns]``, products of blocks.
        bias: ``uint16[outputs]``.
        backwards: ``bool[outputs]``.
    """
    m, order = layout.mapping, layout.schedule.order
    chunks = [sums[:, at : at + COLUMNS] for at in range(0, m.width, COLUMNS)]
    kept = order in (Order.OUTPUT, Order.SERPENTINE)
    total = to_float(bias)
    if kept:
        forth = accumulated(total, np.concatenate(chunks, axis=1))
        back = accumulated(total, np.concatenate(chunks[::-1], axis=1))
        total = np.where(backwards, back, forth).astype(np.float32)
        return total, to_bits(total)
    for number, chunk in enumerate(chunks):
        total = accumulated(to_float(to_bits(total)) if number else total, chunk)
    return total, to_bits(total)


def _joined(layout: BankLayout, parts: list[tuple[Floats, Bits]]) -> Floats:
    """Sums of the groups, with activations."""
    w, s = layout.workload, layout.schedule
    if w.activations and s.activation is Side.UNIT:
        (total, _), *others = parts
        if others and s.reduction is Side.UNIT:
            raise AssertionError("the unit adds no groups before an activation")
        return _applied(layout, [to_float(to_bits(_functions(layout, total)))])
    values = [read for _, read in parts]
    if s.reduction is Side.UNIT:
        total_bits = values[0]
        for other in values[1:]:
            total_bits = added(total_bits, other)
        return _applied(layout, [to_float(total_bits)])
    return _applied(layout, [to_float(value) for value in values])


def _applied(layout: BankLayout, values: list[Floats]) -> Floats:
    """What the CPU does: it adds what is left of the groups, and applies activations."""
    total = values[0]
    for other in values[1:]:
        total = total + other
    if layout.workload.activations and layout.schedule.activation is Side.CPU:
        total = _functions(layout, total)
    return np.asarray(total, np.float32)


def _functions(layout: BankLayout, values: Floats) -> Floats:
    parts = np.split(values, layout.workload.parts, axis=-1)
    pairs = zip(parts, layout.workload.activations, strict=True)
    return np.concatenate([activated(y, f.function) for y, f in pairs], axis=-1)
