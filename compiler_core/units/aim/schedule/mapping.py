"""What follows from a workload and a schedule: passes, chunks, rows, and the counts that cycles
depend on. All of it works on arrays of schedules as on one.

Notation: G groups of Cg channels, P passes of 16 Cg outputs, w columns of 16 inputs per group, cut
in J chunks of 64 columns, the last one with r.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler_core.units.aim.machine.machine import COLUMNS, LANES
from compiler_core.units.aim.schedule.schedule import Order, Side
from compiler_core.units.aim.schedule.workload import MatrixVector

Numbers = Any
"""An integer, or ``int64[n]``."""

ORDERS = tuple(Order)
SIDES = tuple(Side)
_REWRITING = (ORDERS.index(Order.OUTPUT), ORDERS.index(Order.SERPENTINE))
ROW = ORDERS.index(Order.ROW)


def ceil_div(a: Numbers, b: Numbers) -> Numbers:
    """Quotients rounded up."""
    return -(-a // b)


@dataclass(frozen=True)
class Mapping:
    """What follows; each field is one number per schedule.

    Attributes:
        used: Channels.
        sixteens: Groups of 16 outputs of each part.
        part_passes, passes: P of each part and of all parts.
        width: w.
        chunks: J.
        last: r.
        copies: Times that the last chunk lies in the buffer, side by side.
        rounds: Of heads.
        rows: That hold weights.
        opened: Rows that are opened.
        products: Columns that are multiplied.
        sums: Times that accumulators are written and taken.
        buffered: Columns that are written to each buffer.
        rewrites: Times that the buffer alone is written between products.
        activated: Times that the unit applies an activation.
    """

    used: Numbers
    sixteens: Numbers
    part_passes: Numbers
    passes: Numbers
    width: Numbers
    chunks: Numbers
    last: Numbers
    copies: Numbers
    rounds: Numbers
    rows: Numbers
    opened: Numbers
    products: Numbers
    sums: Numbers
    buffered: Numbers
    rewrites: Numbers
    activated: Numbers


def mapping_of(
    w: MatrixVector,
    groups: Numbers,
    channels: Numbers,
    heads: Numbers,
    order: Numbers,
    packed: Numbers,
    activation: Numbers,
) -> Mapping:
    """The mapping of schedules.

    Args:
        w: What is computed.
        groups, channels, heads, packed: As in the schedule.
        order, activation: Positions in their enumerations.
    """  # fmt: skip
    in_unit = (activation == SIDES.index(Side.UNIT)) & (len(w.activations) > 0)
    parts = np.where(in_unit, w.parts, 1)
    sixteens = ceil_div(ceil_div(w.outputs, parts), LANES)
    part_passes = ceil_div(sixteens, channels)
    passes = parts * part_passes
    width = ceil_div(w.columns, groups)
    chunks = ceil_div(width, COLUMNS)
    last = width - COLUMNS * (chunks - 1)
    rounds = ceil_div(w.heads, heads)
    several = chunks > 1
    rewriting = several & np.isin(order, _REWRITING)
    by_row = order == ROW
    copies = np.where(rewriting, 1, np.minimum(packed, passes))
    last_rows = ceil_div(passes, copies)
    rows = rounds * ((chunks - 1) * passes + last_rows)
    sweeps = np.where(by_row, 1, w.vectors)
    repeated = w.vectors * rounds
    # A row that serves several passes is closed by an activation in the unit.
    swept = np.where(in_unit, (chunks - 1) * passes + passes, rows // rounds)
    opened = np.where(rewriting, repeated * passes * chunks, sweeps * rounds * swept)
    opened = np.where(in_unit & by_row, repeated * passes * chunks, opened)
    opened = np.where((rows == 1) & ~in_unit, 1, opened)
    once = COLUMNS * (chunks - 1) + last * copies
    turned = (passes - 1) // 2
    saved = (passes - 1 - turned) * last + turned * COLUMNS
    serpentine = order == ORDERS.index(Order.SERPENTINE)
    rewritten = passes * width - np.where(serpentine, saved, 0)
    buffered = np.where(rewriting, rewritten, np.where(by_row, passes * width, once))
    return Mapping(
        used=groups * channels * heads,
        sixteens=sixteens,
        part_passes=part_passes,
        passes=passes,
        width=width,
        chunks=chunks,
        last=last,
        copies=copies,
        rounds=rounds,
        rows=rows,
        opened=opened,
        products=repeated * passes * width,
        sums=repeated * passes * np.where(rewriting, 1, chunks),
        buffered=repeated * buffered,
        rewrites=np.where(rewriting, repeated * passes * (chunks - 1), 0),
        activated=np.where(in_unit, repeated * passes, 0),
    )
