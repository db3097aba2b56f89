"""One workload as a program of its own: what a task is measured on.

Arrays lie one after another, each at a multiple of :data:`ALIGNMENT`, so that bursts are cut at the
same places wherever a package puts them. Cycles do not depend on contents;
:meth:`LayerProgram.image` fills them in where bits are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.tensor.workload import (
    ConvWorkload,
    MaxPoolWorkload,
    Requantization,
    Workload,
)
from compiler_core.units.vta.lower.emit import LoweredProgram
from compiler_core.units.vta.lower.lower_conv import lower_conv
from compiler_core.units.vta.lower.lower_max_pool import lower_max_pool
from compiler_core.units.vta.lower.lower_resident import lower_resident
from compiler_core.units.vta.lower.pack import (
    bias_tile,
    bias_vector,
    pack_activation,
    pack_rows,
    pack_weights,
    unpack_activation,
)
from compiler_core.units.vta.lower.pack_vectors import identities, packed_weights, vector_weights
from compiler_core.units.vta.lower.placement import ConvPlacement, Image, MaxPoolPlacement
from compiler_core.units.vta.machine.hardware import VtaCore, VtaGeometry
from compiler_core.units.vta.schedule.resident_schedule import ResidentSchedule
from compiler_core.units.vta.schedule.schedule import (
    ConvSchedule,
    FoldVariant,
    MaxPoolSchedule,
    Schedule,
    fold_of,
    has_gemm_bias,
)
from compiler_core.units.vta.simulate.timing import time_program
from compiler_core.units.vta.simulate.timing_result import TimingResult
from compiler_core.units.vta.structure.conv_structure import (
    BLOCK,
    bias_tiles,
    blocks,
    conv_structure,
    weight_row_starts,
)
from compiler_core.units.vta.structure.fold import fold_input, fold_weight, fold_workload
from compiler_core.units.vta.structure.phases import channel_order
from compiler_core.units.vta.structure.slicing import out_channels

ALIGNMENT = 4096
"""Byte alignment of every array; also the first usable address."""

TYPICAL_REQUANTIZATION = Requantization(shift=8, clip_min=-127, clip_max=127, residual_shift=0)
"""Values of an epilogue where only cycles matter."""


def align(size: int) -> int:
    """Rounds a byte count up to :data:`ALIGNMENT`."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def image_bytes(channels: int, height: int, width: int, lanes: int) -> int:
    """Bytes of one sample of an activation whose channels lie together by ``lanes``."""
    return -(-channels // lanes) * lanes * height * width


def input_bytes(workload: Workload, schedule: Schedule, geometry: VtaGeometry) -> int:
    """Bytes of one sample of what a workload reads as its schedule wants it laid out."""
    is_folded = fold_of(schedule) is not FoldVariant.NONE
    if isinstance(workload, ConvWorkload):
        workload = fold_workload(workload, fold_of(schedule))
    if isinstance(workload, MaxPoolWorkload):
        vectors = blocks(workload.channels) * workload.halves
    else:  # its columns are vectors already
        vectors = blocks(workload.in_channels)
    if not is_folded:
        vectors += -vectors % geometry.pitch
    return vectors * workload.in_height * workload.in_width * geometry.element_bytes.inp


def output_bytes(workload: Workload, geometry: VtaGeometry) -> int:
    """Bytes of one sample of what a workload writes."""
    vectors = blocks(out_channels(workload))
    vectors += -vectors % geometry.pitch
    return vectors * workload.out_height * workload.out_width * geometry.element_bytes.out


def residual_bytes(workload: ConvWorkload, geometry: VtaGeometry) -> int:
    """Bytes of one sample of a residual."""
    spread = workload.spread
    if spread is None:
        return output_bytes(workload, geometry)
    height, width = spread.size(workload.out_height, workload.out_width)
    channels = 1 if spread.channels else workload.out_channels
    return image_bytes(channels, height, width, geometry.lanes)


def weight_bytes(workload: ConvWorkload, schedule: Schedule, geometry: VtaGeometry) -> int:
    """Bytes of the packed weights."""
    workload = fold_workload(workload, fold_of(schedule))
    extra = bias_tiles(workload.epilogue.bias_bits) if has_gemm_bias(schedule) else 0
    if workload.operand:
        return extra * geometry.element_bytes.wgt
    tiles = workload.halves if workload.epilogue.residual_bits is not None else 0
    if workload.uniform:
        tiles += 1 + extra
    else:
        structure = conv_structure(workload)
        tiles += weight_row_starts(workload, extra)[-1] + extra
        tiles += structure.row_tiles(structure.out_blocks - 1)
    return tiles * geometry.element_bytes.wgt


def operand_bytes(workload: ConvWorkload, geometry: VtaGeometry) -> int:
    """Bytes of one sample of the activation that a workload multiplies by."""
    columns = workload.out_channels // workload.groups
    return blocks(workload.in_channels) * columns * geometry.element_bytes.inp


@dataclass(frozen=True)
class LayerProgram:
    """A lowered workload with its own DRAM.

    Attributes:
        workload, schedule: What it was made from.
        geometry: The machine it was made for.
        lowered: Instructions and micro-ops.
        placement: Addresses of the arrays.
        dram_bytes: Size of the image.
    """

    workload: Workload
    schedule: Schedule
    geometry: VtaGeometry
    lowered: LoweredProgram
    placement: ConvPlacement | MaxPoolPlacement
    dram_bytes: int

    def image(
        self,
        inputs: npt.NDArray[np.int8],
        weight: npt.NDArray[np.int8] | None = None,
        constants: npt.NDArray[np.int64] | None = None,
        residual: npt.NDArray[np.int8] | None = None,
        residual_shift: int = 0,
        channel_shifts: npt.NDArray[np.int32] | None = None,
        operand: npt.NDArray[np.int8] | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Builds the DRAM image before the launch.

        Args:
            inputs: ``int8[N, C, H, W]``.
            weight: ``int8[O, I / groups, kh, kw]`` of a convolution.
            constants: ``int64[O]``, bias and rounding of a convolution.
            residual: ``int8[N, O, OH, OW]`` where the workload has one; 1 for axes that it is
                spread along.
            residual_shift: Its left shift.
            channel_shifts: ``int32[O]``, right shifts where they differ between output channels.
            operand: ``int8[N, I, h, w]`` where it takes the place of ``weight``.

        Returns:
            ``uint8[dram_bytes]``.
        """
        dram = np.zeros(self.dram_bytes, np.uint8)
        if isinstance(self.workload, ConvWorkload):
            inputs = fold_input(inputs, self.workload, fold_of(self.schedule))
        lanes, vectors = self.geometry.block_out, self.geometry.lanes
        is_folded = fold_of(self.schedule) is not FoldVariant.NONE
        entering = BLOCK if is_folded else lanes * self.placement.input.pitch
        put(dram, self.placement.input.address, pack_activation(inputs, entering))
        put(dram, self.placement.micro_ops, self.lowered.micro_ops)
        if isinstance(self.placement, MaxPoolPlacement):
            put(
                dram,
                self.placement.identity,
                packed_weights(identities(lanes), self.geometry),
            )
            return dram
        assert isinstance(self.workload, ConvWorkload)
        assert constants is not None
        if operand is not None:
            assert self.placement.operand is not None
            put(dram, self.placement.operand.address, pack_activation(operand))
            if self.workload.epilogue.bias_bits:
                put(dram, self.placement.weights, bias_tile(self.workload, constants))
                put(dram, self.placement.bias, pack_rows(constants, lanes))
            put(dram, self.placement.constant, bias_vector())
            return dram
        assert weight is not None
        if self.workload.interleave > 1:
            order = channel_order(self.workload)
            weight, constants = weight[order], constants[order]
            channel_shifts = None if channel_shifts is None else channel_shifts[order]
        fold, gemm_bias = fold_of(self.schedule), has_gemm_bias(self.schedule)
        folded, weight = fold_workload(self.workload, fold), fold_weight(weight, fold)
        tiles: npt.NDArray[np.generic]
        if folded.vectors is None:
            tiles = pack_weights(folded, weight, constants, residual_shift, gemm_bias=gemm_bias)
        else:
            tiles = vector_weights(folded, weight, residual_shift, self.geometry)
        put(dram, self.placement.weights, tiles)
        put(dram, self.placement.bias, pack_rows(constants, lanes))
        put(dram, self.placement.constant, bias_vector())
        if channel_shifts is not None:
            put(dram, self.placement.shifts, pack_rows(channel_shifts, lanes))
        if residual is not None:
            assert self.placement.residual is not None
            put(dram, self.placement.residual.address, pack_activation(residual, vectors))
        return dram

    def output(self, dram: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        """Reads ``int8[N, O, OH, OW]`` from the image after the launch, all lanes of a workload in
        vectors, phases side by side."""
        work, lanes = self.workload, self.geometry.lanes
        channels = out_channels(work)
        if work.vectors is not None:
            channels = blocks(channels) * self.geometry.block_out
        size = work.interleave if isinstance(work, ConvWorkload) else 1
        channels //= size * size
        rows, columns = work.out_height * size, work.out_width * size
        shape = (work.batch, -(-channels // lanes), rows, columns, lanes)
        start = self.placement.output.address
        data = dram[start : start + int(np.prod(shape))].view(np.int8)
        return unpack_activation(data.reshape(shape), channels)


def lower_layer(
    workload: Workload,
    schedule: Schedule,
    geometry: VtaGeometry,
    requantization: Requantization = TYPICAL_REQUANTIZATION,
) -> LayerProgram:
    """Lowers a workload into a program with its own DRAM.

    Raises:
        InfeasibleError: The schedule does not fit, with the reason.
        TypeError: The schedule is for another kind of workload.
    """
    position = ALIGNMENT

    def place(size: int) -> int:
        nonlocal position
        address, position = position, position + align(size)
        return address

    in_bytes = input_bytes(workload, schedule, geometry)
    pitch = geometry.pitch if fold_of(schedule) is FoldVariant.NONE else 1
    source = Image(place(workload.batch * in_bytes), in_bytes, pitch=pitch)
    channels, out_bytes = out_channels(workload), output_bytes(workload, geometry)
    result = Image(place(workload.batch * out_bytes), out_bytes, pitch=geometry.pitch)
    placement: ConvPlacement | MaxPoolPlacement
    if isinstance(workload, ConvWorkload) and isinstance(schedule, ConvSchedule | ResidentSchedule):
        residual = None
        if workload.epilogue.residual_bits is not None:
            size = residual_bytes(workload, geometry)
            residual = Image(place(workload.batch * size), size, pitch=geometry.pitch)
        operand = None
        if workload.operand:
            size = operand_bytes(workload, geometry)
            operand = Image(place(workload.batch * size), size)
        placement = ConvPlacement(
            source,
            result,
            residual,
            weights=place(weight_bytes(workload, schedule, geometry)),
            bias=place(blocks(channels) * geometry.element_bytes.acc),
            constant=place(geometry.element_bytes.inp),
            shifts=place(blocks(channels) * geometry.element_bytes.acc),
            micro_ops=position,
            operand=operand,
        )
        if isinstance(schedule, ConvSchedule):
            lowered = lower_conv(workload, schedule, requantization, placement, geometry)
        else:
            lowered = lower_resident(workload, schedule, requantization, placement, geometry)
    elif isinstance(workload, MaxPoolWorkload) and isinstance(schedule, MaxPoolSchedule):
        placement = MaxPoolPlacement(
            source,
            result,
            identity=place(workload.halves * geometry.element_bytes.wgt),
            micro_ops=position,
        )
        lowered = lower_max_pool(workload, schedule, requantization, placement, geometry)
    else:
        raise TypeError(f"{type(schedule).__name__} does not schedule a {type(workload).__name__}")
    place(lowered.micro_ops.nbytes)
    return LayerProgram(workload, schedule, geometry, lowered, placement, position)


def measure_layer(workload: Workload, schedule: Schedule, core: VtaCore) -> TimingResult:
    """Lowers a workload and times its program from launch to FINISH.

    Raises:
        InfeasibleError: The schedule does not fit, with the reason.
    """
    program = lower_layer(workload, schedule, core.geometry)
    return time_program(program.lowered.instructions, core.timing, core.geometry, core.energy)


def put(dram: npt.NDArray[np.uint8], address: int, array: npt.NDArray[np.generic]) -> None:
    """Writes an array's bytes into a DRAM image."""
    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    dram[address : address + raw.size] = raw
