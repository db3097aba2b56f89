"""Cycles that no program of a schedule can beat, and what no schedule can beat.

A channel that opens R rows, multiplies M columns in A groups of accumulators, writes B columns of
its buffer, S times between products without a change of accumulators, and applies F activations
takes at least

    100 R + 2 (M - R) + 60 (A - 1) + 50 S + 2 B + 129 F + 60

cycles: 56 from opening a row to its first product and 44 from the last one to the next opening; 2
per column; 60 where accumulators change (into register mode and back, sums out, biases in, less
what closing the row waits anyway), 50 where only the buffer does; start and end. The constants are
those of the default timing; another one scales each by its parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from compiler_core.units.aim.machine.machine import COLUMNS, GROUPS, AimMachine
from compiler_core.units.aim.schedule.mapping import Mapping, Numbers, ceil_div
from compiler_core.units.aim.schedule.workload import ElementProduct, MatrixVector, Workload
from compiler_core.units.unit import TaskBound


@dataclass(frozen=True)
class EventCosts:
    """Least cycles of each event on a machine.

    Attributes:
        row: A row and its first product, from the last product of the one before.
        column: A further column of an open row.
        change, rewrite: Into register mode and back, with and without accumulators.
        buffer: A column of the buffer.
        activation: Of the accumulators of all banks.
        ends: Start and end of a program.
    """

    row: int
    column: int
    change: int
    rewrite: int
    buffer: int
    activation: int
    ends: int


@lru_cache(maxsize=16)
def costs_of(machine: AimMachine) -> EventCosts:
    """The costs that a machine's timing gives."""
    t = machine.timing
    row = t.n_rtp + t.n_rp + t.n_rcdrdmac
    change = max(0, 2 * t.n_modch + t.n_bl + t.n_ccds - 8)
    return EventCosts(
        row=row,
        column=t.n_ccds,
        change=change,
        rewrite=max(0, change - 10),
        buffer=t.n_ccds,
        activation=max(0, t.n_rp + t.n_rcdrdaf + t.n_rtp - 1),
        ends=min(60, t.n_modch + 28),
    )


def bound_of(mapping: Mapping, machine: AimMachine) -> Numbers:
    """Least cycles of schedules with a mapping."""
    c = costs_of(machine)
    total = (
        c.row * mapping.opened
        + c.column * (mapping.products - mapping.opened)
        + c.change * (mapping.sums - 1)
        + c.rewrite * mapping.rewrites
        + c.buffer * mapping.buffered
        + c.activation * mapping.activated
        + c.ends
    )
    return np.asarray(total, np.int64)


def element_bound(rows: Numbers, columns: Numbers, machine: AimMachine) -> Numbers:
    """Least cycles of products of elements, of the channel with most rows and columns."""
    t = machine.timing
    change = t.n_cwl + t.n_wr + t.n_rp + t.n_rcdewmul
    return (rows - 1) * change + t.n_ccds * (columns - rows) + t.n_rcdewmul + 3


def workload_bound(workload: Workload, machine: AimMachine) -> TaskBound:
    """What no schedule of a workload can beat."""
    if isinstance(workload, ElementProduct):
        columns = ceil_div(workload.blocks, machine.channels * GROUPS)
        rows = ceil_div(columns, COLUMNS)
        return TaskBound(int(element_bound(rows, columns, machine)), "columns")
    return _product_bound(workload, machine)


def _product_bound(w: MatrixVector, machine: AimMachine) -> TaskBound:
    """Of all splits of channels over inputs: columns cannot be fewer than their even share, and
    rows not fewer than what holds them. Inputs that the buffer cannot hold at once are written
    again for each pass but for the chunk that two passes share, or sums leave with each chunk."""
    c = costs_of(machine)
    sixteens = ceil_div(w.outputs, 16)
    groups = np.arange(1, min(machine.channels, w.columns) + 1)
    width = ceil_div(w.columns, groups)
    share = np.maximum(1, machine.channels // groups)
    # As many heads at a time as there is room for; a group of channels never has less to do.
    passes = np.maximum(1, ceil_div(w.heads * sixteens, share))
    columns = passes * width
    rows = ceil_div(columns, COLUMNS)
    chunks = ceil_div(width, COLUMNS)
    again = passes * width - (passes - 1) * COLUMNS
    rewriting = c.change * (w.vectors * passes - 1) + w.vectors * (
        c.rewrite * passes * (chunks - 1) + c.buffer * np.maximum(width, again)
    )
    leaving = c.change * (w.vectors * passes * chunks - 1) + c.buffer * w.vectors * width
    sums = np.minimum(rewriting, leaving)
    total = c.row * rows + c.column * (w.vectors * columns - rows) + sums + c.ends
    best = int(np.argmin(total))
    parts = {
        "rows": int(c.row * rows[best]),
        "columns": int(c.column * w.vectors * columns[best]),
        "sums": int(sums[best]),
    }
    return TaskBound(int(total[best]), max(parts, key=lambda name: parts[name]))
