"""Functional simulator: what a VTA program does to DRAM, bit for bit.

Instructions run in program order; tokens are ignored, because a program that the verifier accepts
gives the same bytes under every schedule of the modules. :func:`prepare` pays for decoding and
checking once, so that :meth:`PreparedProgram.run` can execute the same program on many images.

Semantics where the instruction set leaves a choice: on-chip memory is zero at launch; empty loops
do nothing; an immediate shift by more than 31 to the right leaves the sign, to the left zero;
tensor-tensor shifts use the low five bits of the amount.

Source: VTA hardware 0.0.2, instruction semantics of its functional simulator.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.units.vta.machine import isa
from compiler_core.units.vta.machine.errors import ProgramError
from compiler_core.units.vta.machine.hardware import VtaGeometry, element_bytes_of
from compiler_core.units.vta.machine.isa import (
    AluOpcode,
    MemoryType,
    Opcode,
    element_bytes_per_type,
)

DEFAULT_MICRO_OP_LIMIT = 1 << 30
"""Micro-op executions that one program may ask for, and 64-byte pieces that it may move: 275 GMAC,
about 20 s. The loop fields of one instruction could claim 2**42.
"""

WORK_LIMIT_CLASS = "work_limit"
"""Error class of a program that is refused for the amount of its work; the other classes are the
verifier's.
"""

_INDEX_NAMES = {1: "accumulator", 2: "source", 3: "weight"}

Fields = npt.NDArray[np.void]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PreparedProgram:
    """A decoded, statically checked program; safe to run from several threads at once.

    Attributes:
        geometry: The machine that it was checked for.
        micro_ops: Micro-op executions of GEMM and ALU instructions, resets included.
        dram_bytes: Smallest DRAM image that the program can run on.
    """

    geometry: VtaGeometry
    micro_ops: int
    dram_bytes: int
    _program: npt.NDArray[np.int64] = field(repr=False)
    _dram_end_bytes: npt.NDArray[np.int64] = field(repr=False)

    def run(self, dram: npt.NDArray[np.uint8]) -> None:
        """Executes the program in place.

        Args:
            dram: ``uint8[dram_bytes]``, contiguous and writable; byte i is physical address i.

        Raises:
            ProgramError: DRAM is too small (nothing was written then), or a micro-op names an
                on-chip element that does not exist (stores before that instruction were carried
                out).
        """
        from compiler_core.units.vta.simulate import functional_kernels as kernels

        if dram.dtype != np.uint8 or dram.ndim != 1:
            raise ValueError(f"dram must be uint8[bytes], not {dram.dtype}{list(dram.shape)}")
        if not (dram.flags.c_contiguous and dram.flags.writeable):
            raise ValueError("dram must be contiguous and writable")
        if dram.size < self.dram_bytes:
            instruction = int(np.argmax(self._dram_end_bytes > dram.size))
            raise ProgramError(
                f"instruction {instruction} reaches DRAM byte "
                f"{self._dram_end_bytes[instruction] - 1:#x}; "
                f"DRAM has {dram.size} bytes",
                error_class="dram_out_of_range",
                instruction=instruction,
            )
        depth = self.geometry.depth
        groups = self.geometry.block_out // kernels.LANES
        status, instruction, index = kernels.run(
            self._program,
            np.array([depth.uop, depth.wgt, depth.inp, depth.acc], np.int64),
            dram,
            np.zeros(depth.uop, np.uint32),
            np.zeros(depth.inp * kernels.LANES, np.float32),
            np.zeros(depth.wgt * groups * kernels.WEIGHT_LANES, np.float32),
            np.zeros(depth.acc * groups * kernels.LANES, np.int32),
            groups,
            self.geometry.weight_bits,
        )
        if status != kernels.STATUS_DONE:
            raise ProgramError(
                f"instruction {instruction} uses {_INDEX_NAMES[status]} index {index}, beyond "
                "its on-chip memory",
                error_class="sram_out_of_range",
                instruction=instruction,
            )


def prepare(
    instructions: npt.NDArray[np.uint8],
    geometry: VtaGeometry,
    *,
    micro_op_limit: int = DEFAULT_MICRO_OP_LIMIT,
) -> PreparedProgram:
    """Decodes a program and checks what does not depend on memory contents.

    Args:
        instructions: ``uint8[n, 16]``. What follows the first FINISH is ignored.
        geometry: Batch 1, blocks of 16 input channels and a multiple of 16 output channels, int8
            inputs, weights of 8 or 4 bits; any buffer depths.
        micro_op_limit: Greatest number of micro-op executions, and of 64-byte pieces moved by LOAD
            and STORE, that is accepted.

    Raises:
        ProgramError: An unknown code, a range outside on-chip memory, no FINISH, or too much work.
        InputError: The geometry is not one that this simulator executes.
    """
    _require_geometry(geometry)
    if instructions.dtype != np.uint8 or instructions.ndim != 2 or instructions.shape[1] != 16:
        raise ValueError(
            f"instructions must be uint8[n, 16], not {instructions.dtype}{list(instructions.shape)}"
        )
    decoded = isa.decode(instructions)
    finishes = np.flatnonzero(decoded["opcode"] == Opcode.FINISH)
    if not finishes.size:
        raise ProgramError(
            f"no FINISH among {len(decoded)} instructions",
            error_class="missing_finish",
            instruction=None,
        )
    decoded = decoded[: finishes[0] + 1]
    _require_known_codes(decoded)
    _require_on_chip_ranges(decoded, geometry)
    micro_ops = _micro_ops(decoded)
    bytes_of = element_bytes_per_type(geometry.element_bytes)
    _require_limit(micro_ops, micro_op_limit, "micro-op executions")
    _require_limit(_moved_bytes(decoded, bytes_of) // 64, micro_op_limit, "moves of 64 bytes")
    dram_end_bytes = _dram_end_bytes(decoded, bytes_of)
    return PreparedProgram(
        geometry=geometry,
        micro_ops=int(micro_ops.sum()),
        dram_bytes=int(dram_end_bytes.max()),
        _program=decoded.view(np.int64).reshape(len(decoded), -1),
        _dram_end_bytes=dram_end_bytes,
    )


def execute(
    instructions: npt.NDArray[np.uint8], geometry: VtaGeometry, dram: npt.NDArray[np.uint8]
) -> None:
    """Executes a program once, in place on ``dram``; :func:`prepare` and
    :meth:`PreparedProgram.run` in one.

    Args:
        instructions: ``uint8[n, 16]``.
        geometry: The machine.
        dram: ``uint8[dram_bytes]``.

    Raises:
        ProgramError: The program leaves the machine's or the image's bounds.
    """
    prepare(instructions, geometry).run(dram)


def _require_geometry(geometry: VtaGeometry) -> None:
    batch, block_in, block_out = geometry.batch, geometry.block_in, geometry.block_out
    bits = geometry.weight_bits
    known = (batch, block_in) == (1, 16) and block_out > 0 == block_out % 16 and bits in (4, 8)
    if not known or geometry.element_bytes != element_bytes_of(batch, block_in, block_out, bits):
        raise InputError(
            "the functional simulator executes batch 1, blocks of 16 input channels and a multiple "
            "of 16 output channels, weights of 8 or 4 bits, elements of as many bytes; the target "
            f"has batch {batch}, {block_in}x{block_out}, {bits} bits and {geometry.element_bytes}",
        )


def _raise_first(wrong: Mask, error_class: str, message: str, values: npt.ArrayLike) -> None:
    if wrong.any():
        instruction = int(np.argmax(wrong))
        value = np.broadcast_to(np.asarray(values), wrong.shape)[instruction]
        raise ProgramError(
            f"instruction {instruction}: {message.format(value)}",
            error_class=error_class,
            instruction=instruction,
        )


def _require_known_codes(decoded: Fields) -> None:
    opcode, memory_type = decoded["opcode"], decoded["memory_type"]
    _raise_first(opcode > Opcode.ALU, "unknown_opcode", "opcode {}; known are 0 to 4", opcode)
    _raise_first(
        (opcode == Opcode.LOAD) & (memory_type > MemoryType.ACC),
        "unknown_memory_type",
        "LOAD of memory type {}; allowed are 0 to 3",
        memory_type,
    )
    _raise_first(
        (opcode == Opcode.STORE) & (memory_type != MemoryType.OUT),
        "unknown_memory_type",
        "STORE of memory type {}; allowed is 4",
        memory_type,
    )
    _raise_first(
        (opcode == Opcode.ALU) & (decoded["alu_opcode"] > AluOpcode.SHR),
        "unknown_alu_opcode",
        "ALU operation {}; known are 0 to 3",
        decoded["alu_opcode"],
    )


def _require_on_chip_ranges(decoded: Fields, geometry: VtaGeometry) -> None:
    opcode = decoded["opcode"]
    depth = geometry.depth
    depths = np.array([depth.uop, depth.wgt, depth.inp, depth.acc, depth.acc], np.int64)
    is_load, is_store = opcode == Opcode.LOAD, opcode == Opcode.STORE
    pads = is_load.astype(np.int64)
    rows = decoded["y_size"] + pads * (decoded["y_pad_0"] + decoded["y_pad_1"])
    columns = decoded["x_size"] + pads * (decoded["x_pad_0"] + decoded["x_pad_1"])
    moves = (is_load | is_store) & (decoded["x_size"] > 0)
    end = decoded["sram_base"] + rows * columns
    limit = depths[np.minimum(decoded["memory_type"], 4)]
    _raise_first(
        moves & (end > limit),
        "sram_out_of_range",
        "on-chip elements up to {} do not exist",
        end - 1,
    )
    _raise_first(
        (_micro_ops(decoded) > 0) & (decoded["uop_end"] > depth.uop),
        "sram_out_of_range",
        f"micro-ops up to {{}} do not exist; there are {depth.uop}",
        decoded["uop_end"] - 1,
    )


def _require_limit(work: npt.NDArray[np.int64], limit: int, what: str) -> None:
    # float64: the exact sum may exceed int64, and is only compared with a limit far below 2**53.
    total = float(work.sum(dtype=np.float64))
    if total > limit:
        raise ProgramError(
            f"the program claims {total:.4g} {what}; at most {limit} are executed",
            error_class=WORK_LIMIT_CLASS,
            instruction=int(np.argmax(work)),
        )


def _moved_bytes(decoded: Fields, bytes_of: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bytes that each LOAD or STORE moves, ``int64[n]``; padding, at most 30 rows and columns, is
    not counted.
    """
    memory = (decoded["opcode"] == Opcode.LOAD) | (decoded["opcode"] == Opcode.STORE)
    widths = bytes_of[decoded["memory_type"]]
    return np.where(memory, decoded["y_size"] * decoded["x_size"] * widths, 0)


def _micro_ops(decoded: Fields) -> npt.NDArray[np.int64]:
    """Micro-op executions of each instruction: ``int64[n]``, at most 2**42 each."""
    span = np.maximum(decoded["uop_end"] - decoded["uop_begin"], 0)
    counts: npt.NDArray[np.int64] = decoded["iter_out"] * decoded["iter_in"] * span
    return counts


def _dram_end_bytes(decoded: Fields, bytes_of: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """First DRAM byte behind what each instruction touches: ``int64[n]``, 0 where none."""
    memory = (decoded["opcode"] == Opcode.LOAD) | (decoded["opcode"] == Opcode.STORE)
    touches = memory & (decoded["x_size"] > 0) & (decoded["y_size"] > 0)
    last_row = decoded["dram_base"] + (decoded["y_size"] - 1) * decoded["x_stride"]
    end = (last_row + decoded["x_size"]) * bytes_of[decoded["memory_type"]]
    return np.where(touches, end, 0)
