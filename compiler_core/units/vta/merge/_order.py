"""Dependences between the layers of one program (Numba).

Within a layer the lowering knows which LOADs, STOREs and computations follow which others. What a
computation reads, and everything between layers, follows from what instructions touch: the
instruction that wrote a place last, or of an earlier layer read it last.
Modules that are no neighbours exchange no tokens: a LOAD that has to follow a STORE, or a STORE a
LOAD, follows a compute instruction that surely runs after it: the first one that does anyhow, else
a no-operation put before it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.kernels import njit
from compiler_core.units.vta.merge.accesses import (
    DRAM_FIRST,
    DRAM_PITCH,
    DRAM_ROW_BYTES,
    DRAM_ROWS,
    READ_ACC,
    READ_ACC_END,
    READ_INP,
    READ_INP_END,
    READ_WGT,
    READ_WGT_END,
    WRITE_ACC,
    WRITE_ACC_END,
    WRITE_INP,
    WRITE_INP_END,
    WRITE_WGT,
    WRITE_WGT_END,
)

LOAD, COMPUTE, STORE = 0, 1, 2
NONE = -1

Array = npt.NDArray[Any]


@njit(cache=True)
def _latest(last: Array, first: int, end: int) -> int:
    found = NONE
    for place in range(first, end):
        found = max(found, last[place])
    return found


@njit(cache=True)
def _mark(last: Array, first: int, end: int, number: int) -> None:
    for place in range(first, end):
        last[place] = number


@njit(cache=True)
def _commit(before: Array, now: Array) -> None:
    """What the layer that ends did last is what later layers have to follow."""
    for place in range(len(before)):
        if now[place] >= 0:
            before[place] = now[place]
            now[place] = NONE


@njit(cache=True)
def _commit_rows(before: Array, now: Array, marked: Array) -> None:
    """The same for each module, of what was marked alone."""
    for module in range(len(marked)):
        first, end = marked[module]
        _commit(before[module, first:end], now[module, first:end])
        marked[module, 0], marked[module, 1] = before.shape[1], 0


@njit(cache=True)
def _granules(access: Array, y: int, base: int, granule: int, count: int) -> tuple[int, int]:
    start = access[DRAM_FIRST] + y * access[DRAM_PITCH] - base
    first = max(start // granule, 0)
    end = min(-(-(start + access[DRAM_ROW_BYTES]) // granule), count)
    return first, end


@njit(cache=True)
def _first_after(clocks: Array, computes: Array, count: int, module: int, number: int) -> int:
    """The first compute instruction that starts after ``number`` of ``module`` is complete."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if clocks[computes[middle], module] >= number:
            high = middle
        else:
            low = middle + 1
    return computes[low] if low < count else NONE


@njit(cache=True)
def _follow(clocks: Array, number: int, module: int, other: int) -> None:
    """``number`` starts after ``other`` of ``module``, and so after whatever that starts after."""
    if other >= 0:
        for k in range(3):
            clocks[number, k] = max(clocks[number, k], clocks[other, k])
        clocks[number, module] = max(clocks[number, module], other)


@njit(cache=True)
def order_layers(
    module: Array,
    needs: Array,
    layer: Array,
    touched: Array,
    carry: Array,
    depths: tuple[int, int, int],
    region: tuple[int, int, int],
) -> tuple[Array, Array, Array]:
    """Adds the dependences between layers, and no-operations that carry them.

    Args:
        module: ``int64[n]``, in an order in which the instructions could run one by one.
        needs: ``int64[n, 2]``, the last instruction of the module before and after its own that
            each follows within its layer, or -1; which LOAD a computation follows is found anew.
        layer: ``int64[n]``, never decreasing.
        touched: ``int64[n, COLUMNS]``, see :mod:`~compiler_core.units.vta.merge.accesses`.
        carry: ``int64[n]``, a STORE that a computation is to follow though it need not, so that
            LOADs behind it need no no-operation; or -1.
        depths: Elements of the inp, wgt and acc buffers.
        region: First byte of the DRAM that STOREs write, bytes, and a granule that divides every
            transfer in it.

    Returns:
        source: ``int64[m]``, the instruction at each place, or -1 for a no-operation.
        needs: ``int64[m, 2]``, by their places.
        asked: ``bool[n]``, STOREs that a LOAD of another layer waits for.
    """
    n = len(module)
    base, size, granule = region
    count = -(-size // granule)
    inp_before, inp_now = np.full(depths[0], NONE), np.full(depths[0], NONE)
    wgt_before, wgt_now = np.full(depths[1], NONE), np.full(depths[1], NONE)
    inp_writer, wgt_writer = np.full(depths[0], NONE), np.full(depths[1], NONE)
    acc_before, acc_now = np.full(depths[2], NONE), np.full(depths[2], NONE)
    # Almost all of the memory that this takes: numbers of instructions fit.
    dram_before = np.full((3, count), NONE, np.int32)
    dram_now = np.full((3, count), NONE, np.int32)
    marked = np.zeros((3, 2), np.int64)  # range of granules of each module
    marked[:, 0] = count
    source = np.full(3 * n, NONE)
    out_needs = np.full((3 * n, 2), NONE)
    out_module = np.zeros(3 * n, np.int64)
    clocks = np.full((3 * n, 3), NONE)
    place = np.full(n, NONE)
    asked = np.zeros(n, np.bool_)
    last = np.full(3, NONE)
    computes, length = np.zeros(3 * n, np.int64), 0
    m = 0
    for i in range(n):
        if i > 0 and layer[i] != layer[i - 1]:
            _commit(inp_before, inp_now)
            _commit(wgt_before, wgt_now)
            _commit(acc_before, acc_now)
            _commit_rows(dram_before, dram_now, marked)
        mine, access = module[i], touched[i]
        # The last instruction of each module that has to be complete before this one.
        after = np.full(3, NONE)
        if needs[i, 0] >= 0 and mine != COMPUTE:
            after[mine - 1] = place[needs[i, 0]]
        if needs[i, 1] >= 0:
            after[mine + 1] = place[needs[i, 1]]
        if mine == LOAD:
            reader = _latest(inp_before, access[WRITE_INP], access[WRITE_INP_END])
            reader = max(reader, _latest(wgt_before, access[WRITE_WGT], access[WRITE_WGT_END]))
            after[COMPUTE] = max(after[COMPUTE], reader)
        elif mine == COMPUTE:
            loaded = _latest(inp_writer, access[READ_INP], access[READ_INP_END])
            loaded = max(loaded, _latest(wgt_writer, access[READ_WGT], access[READ_WGT_END]))
            after[LOAD] = loaded
            stored = _latest(acc_before, access[WRITE_ACC], access[WRITE_ACC_END])
            after[STORE] = max(after[STORE], stored)
            if carry[i] >= 0:
                after[STORE] = max(after[STORE], place[carry[i]])
        for y in range(access[DRAM_ROWS]):
            first, end = _granules(access, y, base, granule, count)
            if mine == STORE:
                after[LOAD] = max(after[LOAD], _latest(dram_before[LOAD], first, end))
                after[COMPUTE] = max(after[COMPUTE], _latest(dram_before[COMPUTE], first, end))
            else:
                after[STORE] = max(after[STORE], _latest(dram_before[STORE], first, end))
        if mine == LOAD and after[STORE] >= 0:
            asked[source[after[STORE]]] = True
        if mine != COMPUTE:
            far = STORE if mine == LOAD else LOAD
            known = last[mine]
            sure = clocks[known, far] if known >= 0 else NONE
            if after[COMPUTE] >= 0:
                sure = max(sure, clocks[after[COMPUTE], far])
            if after[far] > sure:
                carrier = _first_after(clocks, computes, length, far, after[far])
                if carrier == NONE:
                    carrier = m
                    out_module[m] = COMPUTE
                    out_needs[m, 0 if far == LOAD else 1] = after[far]
                    _follow(clocks, m, COMPUTE, last[COMPUTE])
                    _follow(clocks, m, far, after[far])
                    last[COMPUTE] = computes[length] = m
                    length += 1
                    m += 1
                after[COMPUTE] = max(after[COMPUTE], carrier)
            after[far] = NONE
        source[m], out_module[m], place[i] = i, mine, m
        _follow(clocks, m, mine, last[mine])
        for k in range(3):
            if k != mine and after[k] >= 0:
                out_needs[m, 0 if k < mine else 1] = after[k]
                _follow(clocks, m, k, after[k])
        last[mine] = m
        if mine == COMPUTE:
            computes[length] = m
            length += 1
        _mark(inp_now, access[READ_INP], access[READ_INP_END], m)
        _mark(wgt_now, access[READ_WGT], access[READ_WGT_END], m)
        _mark(inp_writer, access[WRITE_INP], access[WRITE_INP_END], m)
        _mark(wgt_writer, access[WRITE_WGT], access[WRITE_WGT_END], m)
        if mine == STORE:
            _mark(acc_now, access[READ_ACC], access[READ_ACC_END], m)
        for y in range(access[DRAM_ROWS]):
            first, end = _granules(access, y, base, granule, count)
            if first < end:
                _mark(dram_now[mine], first, end, m)
                marked[mine, 0] = min(marked[mine, 0], first)
                marked[mine, 1] = max(marked[mine, 1], end)
        m += 1
    return source[:m], out_needs[:m], asked
