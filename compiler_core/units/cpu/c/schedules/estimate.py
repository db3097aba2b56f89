"""What kernels take at least, and about, in instructions: of many schedules at once.

A block of ``o`` output channels and ``p`` pixels takes groups of products in turns; ``lanes`` of
them are loaded together. Of one turn of a group:

| unit | products | what else |
|---|---|---|
| dsp (4 lanes) | 2 o p | 2 o to widen weights, o + 2 p loads |
| mve (16 lanes, 8 of 16 bits) | o p | o + p loads |
| portable | one per product | a load or two per product |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.schedules.legality import MEMBERS, Rows
from compiler_core.units.cpu.c.schedules.schedule import KernelUnit
from compiler_core.units.cpu.c.schedules.workload import KernelWorkload, ProductKernel

_DSP, _MVE = MEMBERS.index(KernelUnit.DSP), MEMBERS.index(KernelUnit.MVE)
_CALLS = tuple(place for place, unit in enumerate(MEMBERS) if unit.is_library)
_FREE_REGISTERS = 11

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Blocks:
    """Blocks of schedules, a number per schedule.

    Attributes:
        lanes: Products that are loaded together.
        turns: Groups of all blocks of the result, filled up ones included.
        blocks: Blocks of the result.
        sums: Of a block.
        products, loads, widened: Instructions of one group of one block.
        padding: Share of the products that fills groups up.
        live: Registers that a turn wants.
    """

    lanes: Floats
    turns: Floats
    blocks: Floats
    sums: Floats
    products: Floats
    loads: Floats
    widened: Floats
    padding: Floats
    live: Floats


def blocks_of(workload: KernelWorkload, rows: Rows) -> Blocks:
    """Blocks of legal schedules of a workload that is not depthwise."""
    unit, outputs, pixels, unroll, _ = rows.T.astype(np.float64)
    mve = unit == _MVE
    wide = workload.numbers.activation_bits == 16
    lanes = np.where(mve, 8.0 if wide else 16.0, 4.0)
    group = lanes * unroll
    depth = np.ceil(workload.depth / group) * group
    blocks = np.ceil(workload.positions / pixels) * (workload.outputs / outputs)
    products = np.where(mve, 1.0, 2.0) * outputs * pixels
    loads = outputs + np.where(mve, 1.0, 2.0) * pixels
    widened = np.where(mve, 0.0, 2.0) * outputs
    live = outputs * pixels + pixels + 2 + np.where(mve, 0, 2 * pixels + 3)
    return Blocks(
        lanes, blocks * depth / lanes, blocks, outputs * pixels, products, loads, widened,
        1 - workload.depth / depth, live,
    )  # fmt: skip


def least(workload: KernelWorkload, rows: Rows, vectors: bool) -> npt.NDArray[np.int64]:
    """What legal schedules take at least, ``int64[n]``; ``vectors`` as for
    :func:`workload_least`."""
    unit = rows[:, 0]
    found = np.full(len(rows), float(workload_least(workload, vectors)))
    blocked = (unit == _DSP) | (unit == _MVE)
    plain = workload.depthwise or isinstance(workload, ProductKernel)
    if not plain and blocked.any():
        b = blocks_of(workload, rows)
        # Two loads may be one instruction, and widening one with its product's rotation.
        own = b.turns * (b.products + b.loads / 2 + b.widened / 2) + workload.positions
        found = np.where(blocked, np.maximum(found, own), found)
    return np.asarray(np.floor(found), np.int64)


def workload_least(workload: KernelWorkload, vectors: bool) -> int:
    """What all schedules take at least.

    Args:
        workload: What is computed.
        vectors: Whether the core has vectors, which a compiler may use in plain loops, too.
    """
    lanes = (8 if workload.numbers.activation_bits == 16 else 16) if vectors else 2
    return max(1, workload.inner_macs // lanes)


def about(workload: KernelWorkload, rows: Rows) -> Floats:
    """Instructions of legal schedules, ``float64[n]``: parts of their loops, weighted as fits
    counts of ten layers on Cortex-M4 best (Kendall's tau 0.5 to 0.6 within a layer)."""
    unit = rows[:, 0]
    results = float(workload.positions * workload.outputs)
    nothing = float(workload_least(workload, vectors=True))  # of CMSIS-NN: it is tried early
    plain = 6.0 * workload.macs + 12.0 * results
    vectors, pairs, calls = unit == _MVE, unit == _DSP, np.isin(unit, _CALLS)
    if workload.depthwise:
        fast = np.where(vectors, 0.25, 2.0) * workload.macs + np.where(vectors, 2.0, 6.0) * results
        return np.asarray(np.where(calls, nothing, np.where(vectors | pairs, fast, plain)))
    b = blocks_of(workload, rows)
    spilled = np.maximum(0, b.live - _FREE_REGISTERS)
    turn = np.where(
        vectors,
        1.3 * b.products + 2.0 * b.loads + 0.8 * spilled,
        2.0 * b.products + 0.6 * b.loads + 0.9 * b.widened + 0.3 * spilled,
    )
    around = 1.7 / rows[:, 3]
    gathered = np.where(vectors, 0.3, 1.5) * workload.positions * workload.depth
    stored = np.where(vectors, 6.0, 18.0) * b.blocks * b.sums
    fast = b.turns * (turn + around) + gathered + stored
    unpacking = rows[:, 4] * 2.0 * workload.outputs * workload.depth
    found = np.where(vectors | pairs, fast, plain) + unpacking
    return np.asarray(np.where(calls, nothing, found))
