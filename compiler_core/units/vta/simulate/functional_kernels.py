"""Compiled loops of the functional simulator: one call executes a whole program.

On-chip memories are flat arrays, lanes innermost:

=======  ========================  ==========================================================
memory   array                     element ``e``
=======  ========================  ==========================================================
uop      ``uint32[depth]``         the micro-op word
inp      ``float32[depth * 16]``   input channel ``c`` at ``16 e + c``
wgt      ``float32[depth * 256]``  output lane ``r``, input channel ``c`` at ``256 e + 16 c + r``
acc      ``int32[depth * 16]``     lane ``r`` at ``16 e + r``
=======  ========================  ==========================================================

A core with more output lanes has elements of several such groups of 16, one after another: group
``g`` of weight element ``e`` is at ``256 (groups e + g)``, that of accumulator ``e`` at
``16 (groups e + g)``.

Inputs and weights are held as float32 because 16 products of int8 sum to at most 2**18 in
magnitude, which float32 represents exactly in any order of summation, and because LLVM turns the
unrolled sum into fused multiply-adds over the 16 output lanes (15 GMAC/s where int8 and int16
reductions reached 2). Accumulation into int32 wraps around, so it commutes: GEMM may run its
micro-ops outermost, with the weights of one micro-op staying in the cache.

The caller has checked everything that does not depend on memory contents; indices that come out of
micro-ops are checked here, once per micro-op and instruction at the loops' last iteration (loop
factors are never negative).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.kernels import njit
from compiler_core.units.vta.machine.isa import COLUMN, AluOpcode, MemoryType, Opcode

LANES = 16
WEIGHT_LANES = 256

STATUS_DONE = 0
STATUS_DST_RANGE = 1
STATUS_SRC_RANGE = 2
STATUS_WGT_RANGE = 3

# Numba takes module-level integers as compile-time constants, but not enum members or dict lookups.
_OPCODE, _MEMORY_TYPE = COLUMN["opcode"], COLUMN["memory_type"]
_SRAM_BASE, _DRAM_BASE = COLUMN["sram_base"], COLUMN["dram_base"]
_Y_SIZE, _X_SIZE, _X_STRIDE = COLUMN["y_size"], COLUMN["x_size"], COLUMN["x_stride"]
_Y_PAD_0, _Y_PAD_1 = COLUMN["y_pad_0"], COLUMN["y_pad_1"]
_X_PAD_0, _X_PAD_1 = COLUMN["x_pad_0"], COLUMN["x_pad_1"]
_RESET, _UOP_BEGIN, _UOP_END = COLUMN["reset"], COLUMN["uop_begin"], COLUMN["uop_end"]
_ITER_OUT, _ITER_IN = COLUMN["iter_out"], COLUMN["iter_in"]
_DST_OUT, _DST_IN = COLUMN["dst_out"], COLUMN["dst_in"]
_SRC_OUT, _SRC_IN = COLUMN["src_out"], COLUMN["src_in"]
_WGT_OUT, _WGT_IN = COLUMN["wgt_out"], COLUMN["wgt_in"]
_ALU_OPCODE, _USE_IMM, _IMM = COLUMN["alu_opcode"], COLUMN["use_imm"], COLUMN["imm"]
_LOAD, _STORE, _GEMM = int(Opcode.LOAD), int(Opcode.STORE), int(Opcode.GEMM)
_FINISH, _ALU = int(Opcode.FINISH), int(Opcode.ALU)
_UOP, _WGT = int(MemoryType.UOP), int(MemoryType.WGT)
_INP, _ACC = int(MemoryType.INP), int(MemoryType.ACC)
_MIN, _MAX, _ADD = int(AluOpcode.MIN), int(AluOpcode.MAX), int(AluOpcode.ADD)

Array = npt.NDArray[Any]


# Slices and unsigned indices below: a signed index costs a test for negative values at every access
# and keeps LLVM from vectorizing.


@njit(cache=True, nogil=True)
def _copy_words(target: Array, source: Array) -> None:
    """Copies little-endian 32-bit words out of bytes of any alignment."""
    for k in range(target.size):
        byte = np.uint64(k) * np.uint64(4)
        target[k] = (
            np.uint32(source[byte])
            | np.uint32(source[byte + np.uint64(1)]) << np.uint32(8)
            | np.uint32(source[byte + np.uint64(2)]) << np.uint32(16)
            | np.uint32(source[byte + np.uint64(3)]) << np.uint32(24)
        )


@njit(cache=True, nogil=True)
def _copy_lanes(target: Array, source: Array) -> None:
    for k in range(target.size):
        target[k] = np.float32(np.int8(source[k]))


@njit(cache=True, nogil=True)
def _copy_transposed(target: Array, source: Array) -> None:
    """Turns one group of a weight element, output lanes outermost, into input channels
    outermost."""
    lanes = np.uint64(LANES)
    for r in range(lanes):
        for c in range(lanes):
            target[c * lanes + r] = np.float32(np.int8(source[r * lanes + c]))


@njit(cache=True, nogil=True)
def _copy_nibbles(target: Array, source: Array) -> None:
    """The same of weights of 4 bits, two a byte, the one of the even column low."""
    lanes, half = np.uint64(LANES), np.uint64(LANES // 2)
    for r in range(lanes):
        for c in range(half):
            byte = source[r * half + c]
            even = np.uint64(2) * c
            target[even * lanes + r] = np.float32(np.int8(byte << 4) >> 4)
            target[(even + np.uint64(1)) * lanes + r] = np.float32(np.int8(byte) >> 4)


@njit(cache=True, nogil=True)
def _cut_lanes(target: Array, source: Array) -> None:
    for k in range(target.size):
        target[k] = np.uint8(source[k])


@njit(cache=True, nogil=True)
def _load_weights(
    target: int, source: int, count: int, dram: Array, wgt: Array, groups: int, bits: int
) -> None:
    packed = WEIGHT_LANES * bits // 8
    for g in range(count * groups):
        element = (target * groups + g) * WEIGHT_LANES
        byte = (source * groups + g) * packed
        into, values = wgt[element : element + WEIGHT_LANES], dram[byte : byte + packed]
        if bits == 4:
            _copy_nibbles(into, values)
        else:
            _copy_transposed(into, values)


@njit(cache=True, nogil=True)
def _load(
    row: Array,
    dram: Array,
    uop: Array,
    inp: Array,
    wgt: Array,
    acc: Array,
    groups: int,
    weight_bits: int,
) -> None:
    x_size = row[_X_SIZE]
    memory_type = row[_MEMORY_TYPE]
    columns = row[_X_PAD_0] + x_size + row[_X_PAD_1]
    first = row[_SRAM_BASE]
    end = first + (row[_Y_PAD_0] + row[_Y_SIZE] + row[_Y_PAD_1]) * columns
    lanes = LANES * groups
    if end - first != x_size * row[_Y_SIZE]:
        if memory_type == _UOP:
            uop[first:end] = 0
        elif memory_type == _INP:
            inp[first * LANES : end * LANES] = 0
        elif memory_type == _WGT:
            wgt[first * WEIGHT_LANES * groups : end * WEIGHT_LANES * groups] = 0
        else:
            acc[first * lanes : end * lanes] = 0
    for y in range(row[_Y_SIZE]):
        target = first + (row[_Y_PAD_0] + y) * columns + row[_X_PAD_0]
        source = row[_DRAM_BASE] + y * row[_X_STRIDE]
        if memory_type == _UOP:
            _copy_words(uop[target : target + x_size], dram[source * 4 : (source + x_size) * 4])
        elif memory_type == _INP:
            _copy_lanes(
                inp[target * LANES : (target + x_size) * LANES],
                dram[source * LANES : (source + x_size) * LANES],
            )
        elif memory_type == _WGT:
            _load_weights(target, source, x_size, dram, wgt, groups, weight_bits)
        else:
            _copy_words(
                acc[target * lanes : (target + x_size) * lanes],
                dram[source * lanes * 4 : (source + x_size) * lanes * 4],
            )


@njit(cache=True, nogil=True)
def _store(row: Array, dram: Array, acc: Array, groups: int) -> None:
    x_size = row[_X_SIZE]
    lanes = LANES * groups
    for y in range(row[_Y_SIZE]):
        source = (row[_SRAM_BASE] + y * x_size) * lanes
        target = (row[_DRAM_BASE] + y * row[_X_STRIDE]) * lanes
        _cut_lanes(dram[target : target + x_size * lanes], acc[source : source + x_size * lanes])


@njit(cache=True, nogil=True)
def _out_of_range(row: Array, uop: Array, depths: Array) -> tuple[int, int]:
    """Status and greatest offending index of a GEMM or ALU instruction with non-empty loops."""
    outer, inner = row[_ITER_OUT] - 1, row[_ITER_IN] - 1
    is_gemm = row[_OPCODE] == _GEMM
    reads_src = row[_RESET] == 0 if is_gemm else row[_USE_IMM] == 0
    src_depth = depths[_INP] if is_gemm else depths[_ACC]
    for u in range(row[_UOP_BEGIN], row[_UOP_END]):
        word = np.int64(uop[u])
        dst = (word & 0x7FF) + outer * row[_DST_OUT] + inner * row[_DST_IN]
        if dst >= depths[_ACC]:
            return STATUS_DST_RANGE, dst
        if reads_src:
            src = ((word >> 11) & 0x7FF) + outer * row[_SRC_OUT] + inner * row[_SRC_IN]
            if src >= src_depth:
                return STATUS_SRC_RANGE, src
            if is_gemm:
                weight = (word >> 22) + outer * row[_WGT_OUT] + inner * row[_WGT_IN]
                if weight >= depths[_WGT]:
                    return STATUS_WGT_RANGE, weight
    return STATUS_DONE, 0


@njit(cache=True, nogil=True)
def _reset(row: Array, uop: Array, acc: Array, groups: int) -> None:
    lanes = LANES * groups
    for u in range(row[_UOP_BEGIN], row[_UOP_END]):
        base = np.int64(uop[u]) & 0x7FF
        for o in range(row[_ITER_OUT]):
            for i in range(row[_ITER_IN]):
                d = (base + o * row[_DST_OUT] + i * row[_DST_IN]) * lanes
                acc[d : d + lanes] = 0


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _gemm(row: Array, uop: Array, inp: Array, wgt: Array, acc: Array, groups: int) -> None:
    dst_out, dst_in = row[_DST_OUT] * groups, row[_DST_IN] * groups
    src_out, src_in = row[_SRC_OUT], row[_SRC_IN]
    wgt_out, wgt_in = row[_WGT_OUT] * groups, row[_WGT_IN] * groups
    iter_out, iter_in = row[_ITER_OUT], row[_ITER_IN]
    lanes, weights = np.uint64(LANES), np.uint64(WEIGHT_LANES)
    for u in range(row[_UOP_BEGIN], row[_UOP_END]):
        word = np.int64(uop[u])
        src = (word >> 11) & 0x7FF
        for g in range(groups):
            dst, weight = (word & 0x7FF) * groups + g, (word >> 22) * groups + g
            for o in range(iter_out):
                for i in range(iter_in):
                    s = np.uint64(src + o * src_out + i * src_in) * lanes
                    k = np.uint64(weight + o * wgt_out + i * wgt_in) * weights
                    d = np.uint64(dst + o * dst_out + i * dst_in) * lanes
                    x, w, a = inp[s : s + lanes], wgt[k : k + weights], acc[d : d + lanes]
                    x0, x1, x2, x3, x4, x5, x6, x7 = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
                    x8, x9, x10, x11 = x[8], x[9], x[10], x[11]
                    x12, x13, x14, x15 = x[12], x[13], x[14], x[15]
                    # Four independent chains of multiply-adds hide their latency.
                    for r in range(LANES):
                        a[r] += np.int32(
                            (x0 * w[r] + x1 * w[r + 16] + x2 * w[r + 32] + x3 * w[r + 48])
                            + (x4 * w[r + 64] + x5 * w[r + 80] + x6 * w[r + 96] + x7 * w[r + 112])
                            + (
                                x8 * w[r + 128]
                                + x9 * w[r + 144]
                                + x10 * w[r + 160]
                                + x11 * w[r + 176]
                            )
                            + (
                                x12 * w[r + 192]
                                + x13 * w[r + 208]
                                + x14 * w[r + 224]
                                + x15 * w[r + 240]
                            )
                        )


@njit(cache=True, nogil=True)
def _alu_immediate(acc: Array, d: Any, operation: int, imm: Any) -> None:
    if operation == _MIN:
        for r in range(np.uint64(LANES)):
            acc[d + r] = min(acc[d + r], imm)
    elif operation == _MAX:
        for r in range(np.uint64(LANES)):
            acc[d + r] = max(acc[d + r], imm)
    elif operation == _ADD:
        for r in range(np.uint64(LANES)):
            acc[d + r] += imm
    elif imm >= 0:
        right = np.int32(min(imm, 31))
        for r in range(np.uint64(LANES)):
            acc[d + r] = np.int32(acc[d + r] >> right)
    elif imm > -32:
        factor = np.int32(1 << -imm)
        for r in range(np.uint64(LANES)):
            acc[d + r] *= factor
    else:
        for r in range(np.uint64(LANES)):
            acc[d + r] = 0


@njit(cache=True, nogil=True)
def _alu_tensor(acc: Array, d: Any, s: Any, operation: int) -> None:
    if operation == _MIN:
        for r in range(np.uint64(LANES)):
            acc[d + r] = min(acc[d + r], acc[s + r])
    elif operation == _MAX:
        for r in range(np.uint64(LANES)):
            acc[d + r] = max(acc[d + r], acc[s + r])
    elif operation == _ADD:
        for r in range(np.uint64(LANES)):
            acc[d + r] += acc[s + r]
    else:
        for r in range(np.uint64(LANES)):
            acc[d + r] >>= acc[s + r] & 31


@njit(cache=True, nogil=True)
def _alu(row: Array, uop: Array, acc: Array, groups: int) -> None:
    operation, use_imm, imm = row[_ALU_OPCODE], row[_USE_IMM] != 0, np.int32(row[_IMM])
    dst_out, dst_in = row[_DST_OUT], row[_DST_IN]
    src_out, src_in = row[_SRC_OUT], row[_SRC_IN]
    begin, end = row[_UOP_BEGIN], row[_UOP_END]
    iter_out, iter_in = row[_ITER_OUT], row[_ITER_IN]
    group = np.uint64(LANES)
    lanes = np.uint64(groups) * group
    for o in range(iter_out):
        for i in range(iter_in):
            for u in range(begin, end):
                word = np.int64(uop[u])
                d = np.uint64((word & 0x7FF) + o * dst_out + i * dst_in) * lanes
                if use_imm:
                    for g in range(np.uint64(groups)):
                        _alu_immediate(acc, d + g * group, operation, imm)
                else:
                    s = np.uint64(((word >> 11) & 0x7FF) + o * src_out + i * src_in) * lanes
                    for g in range(np.uint64(groups)):
                        _alu_tensor(acc, d + g * group, s + g * group, operation)


@njit(cache=True, nogil=True)
def run(
    program: Array,
    depths: Array,
    dram: Array,
    uop: Array,
    inp: Array,
    wgt: Array,
    acc: Array,
    groups: int,
    weight_bits: int,
) -> tuple[int, int, int]:
    """Executes a program up to its first FINISH.

    Args:
        program: ``int64[n, fields]``, decoded instructions, statically checked.
        depths: ``int64[4]``, elements of each on-chip memory, indexed by memory type.
        dram: ``uint8[dram_bytes]``, changed in place.
        uop: ``uint32[depth]``.
        inp: ``float32[depth * 16]``.
        wgt: ``float32[depth * groups * 256]``.
        acc: ``int32[depth * groups * 16]``.
        groups: Groups of 16 output lanes.
        weight_bits: 8 or 4.

    Returns:
        Status, index of the instruction that stopped execution, and the offending on-chip index.
    """
    for n in range(program.shape[0]):
        row = program[n]
        opcode = row[_OPCODE]
        if opcode == _FINISH:
            return STATUS_DONE, n, 0
        if opcode == _LOAD:
            if row[_X_SIZE] > 0:
                _load(row, dram, uop, inp, wgt, acc, groups, weight_bits)
            continue
        if opcode == _STORE:
            _store(row, dram, acc, groups)
            continue
        if row[_ITER_OUT] == 0 or row[_ITER_IN] == 0:
            continue
        status, index = _out_of_range(row, uop, depths)
        if status != STATUS_DONE:
            return status, n, index
        if opcode == _ALU:
            _alu(row, uop, acc, groups)
        elif row[_RESET] != 0:
            _reset(row, uop, acc, groups)
        else:
            _gemm(row, uop, inp, wgt, acc, groups)
    return STATUS_DONE, program.shape[0], 0
