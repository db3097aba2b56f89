"""A small complete VTA program: a 3×3 convolution of 16 to 16 channels on 14×14, in two tiles.

``doctor`` runs it, and ``examples/conv.npz`` holds it. It is written by hand against the
instruction set, so it also shows how a layer becomes loads, GEMM, ALU and store instructions that
are ordered by tokens: the second tile is loaded while the first is computed, the first is stored
while the second is computed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.machine.isa import (
    INSTRUCTION_DTYPE,
    MICRO_OP_BYTES,
    MICRO_OP_DTYPE,
    AluOpcode,
    MemoryType,
    Opcode,
    encode,
    encode_micro_ops,
)

SIZE = 14
KERNEL = 3
LANES = 16
TILE_ROWS = 7
SHIFT = 9

INPUT_ADDRESS, WEIGHT_ADDRESS, MICRO_OP_ADDRESS, OUTPUT_ADDRESS = 0x1000, 0x2000, 0x3000, 0x4000
PADDED = SIZE + KERNEL - 1
TILE_INPUTS = (TILE_ROWS + KERNEL - 1) * PADDED
TILE_OUTPUTS = TILE_ROWS * SIZE
TILE_MICRO_OPS = 1 + KERNEL * KERNEL
TILES = SIZE // TILE_ROWS
WEIGHT_BYTES = LANES * LANES

Int8 = npt.NDArray[np.int8]
Bytes = npt.NDArray[np.uint8]
Fields = dict[str, int]


def sample_program(seed: int = 0) -> dict[str, npt.NDArray[np.generic]]:
    """Builds the program with random data and the DRAM contents it must leave.

    Returns:
        The arrays of a program file: ``insn``, ``pre_*``, ``post_*`` and ``regions``.
    """
    random = np.random.default_rng(seed)
    image = random.integers(-128, 128, (SIZE, SIZE, LANES)).astype(np.int8)
    weights = random.integers(-128, 128, (KERNEL, KERNEL, LANES, LANES)).astype(np.int8)
    contents: list[tuple[int, int, Bytes]] = [
        (MemoryType.INP, INPUT_ADDRESS, image.view(np.uint8).ravel()),
        (MemoryType.WGT, WEIGHT_ADDRESS, weights.view(np.uint8).ravel()),
        (MemoryType.UOP, MICRO_OP_ADDRESS, encode_micro_ops(_micro_ops())),
    ]
    expected = convolution(image, weights).view(np.uint8).ravel()
    regions = [(kind, address, data.size, address) for kind, address, data in contents]
    regions.append((MemoryType.OUT, OUTPUT_ADDRESS, expected.size, OUTPUT_ADDRESS))
    return {
        "insn": encode(_instructions()),
        "pre_addr": np.array([address for _, address, _ in contents], np.int64),
        "pre_len": np.array([data.size for _, _, data in contents], np.int64),
        "pre_data": np.concatenate([data for _, _, data in contents]),
        "post_addr": np.array([OUTPUT_ADDRESS], np.int64),
        "post_len": np.array([expected.size], np.int64),
        "post_data": expected,
        "regions": np.array(regions, np.int64),
    }


def convolution(image: Int8, weights: Int8) -> Int8:
    """The layer in plain NumPy.

    Args:
        image: ``int8[height, width, input lane]``.
        weights: ``int8[row, column, output lane, input lane]``.

    Returns:
        ``int8[height, width, output lane]``: ``clip((sum + 2**(SHIFT - 1)) >> SHIFT, -127, 127)``.
    """
    padded = np.pad(image.astype(np.int32), ((1, 1), (1, 1), (0, 0)))
    total = np.zeros((SIZE, SIZE, LANES), np.int32)
    for row in range(KERNEL):
        for column in range(KERNEL):
            window = padded[row : row + SIZE, column : column + SIZE]
            total += window @ weights[row, column].astype(np.int32).T
    rounded = (total + (1 << (SHIFT - 1))) >> SHIFT
    clipped: Int8 = np.clip(rounded, -127, 127).astype(np.int8)
    return clipped


def _micro_ops() -> npt.NDArray[np.void]:
    """Per tile: one for the ALU, on the tile's first output, then one per tap."""
    micro_ops = np.zeros((TILES, TILE_MICRO_OPS), MICRO_OP_DTYPE)
    tile = np.arange(TILES)[:, None]
    taps = np.arange(KERNEL * KERNEL)
    micro_ops["dst"] = tile * TILE_OUTPUTS
    micro_ops["src"][:, :1] = tile * TILE_OUTPUTS
    micro_ops["src"][:, 1:] = tile * TILE_INPUTS + taps // KERNEL * PADDED + taps % KERNEL
    micro_ops["wgt"][:, 1:] = taps
    return micro_ops.ravel()


def _instructions() -> npt.NDArray[np.void]:
    weights = _transfer(Opcode.LOAD, MemoryType.WGT, 0, WEIGHT_ADDRESS // WEIGHT_BYTES)
    micro_ops = _transfer(Opcode.LOAD, MemoryType.UOP, 0, MICRO_OP_ADDRESS // MICRO_OP_BYTES)
    rows = [
        weights | {"x_size": KERNEL * KERNEL},
        micro_ops | {"x_size": TILES * TILE_MICRO_OPS},
        *(_load_tile(tile) for tile in range(TILES)),
    ]
    for tile in range(TILES):
        rows.extend(_compute_tile(tile))
        rows.append(
            _transfer(
                Opcode.STORE,
                MemoryType.OUT,
                tile * TILE_OUTPUTS,
                OUTPUT_ADDRESS // LANES + tile * TILE_OUTPUTS,
            )
            | {"x_size": TILE_OUTPUTS, "pop_prev": 1, "push_prev": int(tile == TILES - 1)}
        )
    rows.append({"opcode": Opcode.FINISH, "pop_next": 1})
    decoded = np.zeros(len(rows), INSTRUCTION_DTYPE)
    for index, fields in enumerate(rows):
        for name, value in fields.items():
            decoded[name][index] = value
    return decoded


def _load_tile(tile: int) -> Fields:
    """Loads a tile's input rows with the neighbouring ones, zeros where the image ends."""
    first, last = tile == 0, tile == TILES - 1
    above, below = int(not first), int(not last)
    start = INPUT_ADDRESS // LANES + (tile * TILE_ROWS - above) * SIZE
    return _transfer(Opcode.LOAD, MemoryType.INP, tile * TILE_INPUTS, start) | {
        "y_size": TILE_ROWS + above + below,
        "x_size": SIZE,
        "x_stride": SIZE,
        "y_pad_0": int(first),
        "y_pad_1": int(last),
        "x_pad_0": 1,
        "x_pad_1": 1,
        "push_next": 1,
    }


def _compute_tile(tile: int) -> Iterator[Fields]:
    base = tile * TILE_MICRO_OPS
    yield _loop(Opcode.GEMM, base) | {"reset": 1}
    for tap in range(KERNEL * KERNEL):
        factors = {"src_out": PADDED, "src_in": 1, "pop_prev": int(tap == 0)}
        yield _loop(Opcode.GEMM, base + 1 + tap) | factors
    for opcode, operand in (
        (AluOpcode.ADD, 1 << (SHIFT - 1)),
        (AluOpcode.SHR, SHIFT),
        (AluOpcode.MAX, -127),
        (AluOpcode.MIN, 127),
    ):
        yield _loop(Opcode.ALU, base) | {
            "src_out": SIZE,
            "src_in": 1,
            "alu_opcode": opcode,
            "use_imm": 1,
            "imm": operand,
            "push_next": int(opcode is AluOpcode.MIN),
        }


def _transfer(opcode: Opcode, memory: MemoryType, sram_base: int, dram_base: int) -> Fields:
    return {
        "opcode": opcode,
        "memory_type": memory,
        "sram_base": sram_base,
        "dram_base": dram_base,
        "y_size": 1,
    }


def _loop(opcode: Opcode, micro_op: int) -> Fields:
    """One micro-op over all rows and columns of a tile's outputs."""
    return {
        "opcode": opcode,
        "uop_begin": micro_op,
        "uop_end": micro_op + 1,
        "iter_out": TILE_ROWS,
        "iter_in": SIZE,
        "dst_out": SIZE,
        "dst_in": 1,
    }
