"""One operator on several cores: a program per slice over shared images, and its cycles.

Arrays lie as in :mod:`compiler_core.units.vta.lower.layer`: input, output and residual once, each
core with its part of them; weights once per distinct part and layout; micro-ops per core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InfeasibleError
from compiler_core.tensor.workload import (
    ConvWorkload,
    MaxPoolWorkload,
    Requantization,
    Workload,
)
from compiler_core.units.vta.lower.emit import LoweredProgram
from compiler_core.units.vta.lower.layer import (
    ALIGNMENT,
    TYPICAL_REQUANTIZATION,
    align,
    image_bytes,
    put,
    weight_bytes,
)
from compiler_core.units.vta.lower.lower_conv import lower_conv
from compiler_core.units.vta.lower.lower_max_pool import lower_max_pool
from compiler_core.units.vta.lower.pack import (
    bias_vector,
    pack_activation,
    pack_rows,
    pack_weights,
    unpack_activation,
)
from compiler_core.units.vta.lower.placement import ConvPlacement, Image, MaxPoolPlacement
from compiler_core.units.vta.machine.hardware import VtaCore, VtaGeometry
from compiler_core.units.vta.schedule.schedule import (
    BiasVariant,
    ConvSchedule,
    FoldVariant,
    MaxPoolSchedule,
    Schedule,
    fold_of,
)
from compiler_core.units.vta.simulate.multicore import MulticoreResult, time_programs
from compiler_core.units.vta.structure.conv_structure import BLOCK, blocks
from compiler_core.units.vta.structure.fold import fold_input, fold_weight, fold_workload
from compiler_core.units.vta.structure.slicing import (
    Slice,
    SliceAxis,
    in_channels,
    out_channels,
    slice_workload,
)


@dataclass(frozen=True)
class SlicedProgram:
    """An operator lowered for several cores, with its own DRAM.

    Attributes:
        workload: The whole operator.
        slices, schedules, programs, placements: Per core.
        geometry: The machine it was made for.
        input, output, residual: The whole images.
        dram_bytes: Size of the DRAM image.
    """

    workload: Workload
    slices: tuple[Slice, ...]
    schedules: tuple[Schedule, ...]
    programs: tuple[LoweredProgram, ...]
    placements: tuple[ConvPlacement | MaxPoolPlacement, ...]
    geometry: VtaGeometry
    input: Image
    output: Image
    residual: Image | None
    dram_bytes: int

    def image(
        self,
        inputs: npt.NDArray[np.int8],
        weight: npt.NDArray[np.int8] | None = None,
        constants: npt.NDArray[np.int64] | None = None,
        residual: npt.NDArray[np.int8] | None = None,
        residual_shift: int = 0,
        channel_shifts: npt.NDArray[np.int32] | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Builds the DRAM image before the launch; arguments as for ``LayerProgram.image``, of the
        whole operator."""
        dram = np.zeros(self.dram_bytes, np.uint8)
        if isinstance(self.workload, ConvWorkload):
            inputs = fold_input(inputs, self.workload, _common_fold(self.schedules))
        put(dram, self.input.address, pack_activation(inputs))
        if residual is not None:
            assert self.residual is not None
            put(dram, self.residual.address, pack_activation(residual))
        for part, schedule, program, placement in zip(
            self.slices, self.schedules, self.programs, self.placements, strict=True
        ):
            put(dram, placement.micro_ops, program.micro_ops)
            if isinstance(placement, MaxPoolPlacement):
                put(dram, placement.identity, np.eye(BLOCK, dtype=np.int8))
                continue
            assert isinstance(part.workload, ConvWorkload)
            assert isinstance(schedule, ConvSchedule)
            assert weight is not None
            assert constants is not None
            own = constants[part.channels]
            tiles = pack_weights(
                fold_workload(part.workload, schedule.fold),
                fold_weight(weight[part.channels], schedule.fold),
                own,
                residual_shift,
                gemm_bias=schedule.bias is BiasVariant.GEMM,
            )
            put(dram, placement.weights, tiles)
            put(dram, placement.bias, pack_rows(own))
            put(dram, placement.constant, bias_vector())
            if channel_shifts is not None:
                put(dram, placement.shifts, pack_rows(channel_shifts[part.channels]))
        return dram

    def result(self, dram: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
        """Reads ``int8[N, O, OH, OW]`` from the image after the launch."""
        work, channels = self.workload, out_channels(self.workload)
        shape = (work.batch, blocks(channels), work.out_height, work.out_width, BLOCK)
        start = self.output.address
        data = dram[start : start + int(np.prod(shape))].view(np.int8)
        return unpack_activation(data.reshape(shape), channels)


def lower_sliced(
    workload: Workload,
    slices: Sequence[Slice],
    schedules: Sequence[Schedule],
    geometry: VtaGeometry,
    requantization: Requantization = TYPICAL_REQUANTIZATION,
) -> SlicedProgram:
    """Lowers the slices of an operator, each with its schedule, over shared images.

    Raises:
        InfeasibleError: A schedule does not fit its slice, or schedules fold the common input in
            different ways.
        TypeError: A schedule is for another kind of workload.
    """
    if len(slices) != len(schedules):
        raise InfeasibleError(f"{len(slices)} slices, but {len(schedules)} schedules for them")
    fold = _common_fold(schedules)
    position = ALIGNMENT

    def place(size: int) -> int:
        nonlocal position
        address, position = position, position + align(size)
        return address

    def image(channels: int, height: int, width: int) -> Image:
        size = image_bytes(channels, height, width, geometry.lanes)
        return Image(place(workload.batch * size), size, height * width)

    read = fold_workload(workload, fold) if isinstance(workload, ConvWorkload) else workload
    source = image(in_channels(read), read.in_height, read.in_width)
    channels = out_channels(workload)
    size = (workload.out_height, workload.out_width)
    target = image(channels, *size)
    residual = None
    if isinstance(workload, ConvWorkload) and workload.epilogue.residual_bits is not None:
        residual = image(channels, *size)
    element, row_bytes = geometry.element_bytes.inp, geometry.element_bytes.acc
    rows, constant = blocks(channels) * row_bytes, element
    if isinstance(workload, ConvWorkload):
        bias, shifts, constant = place(rows), place(rows), place(element)
    else:
        identity = place(geometry.element_bytes.wgt)
    weights: dict[tuple[int, int, bool], int] = {}
    programs, placements = [], []
    for part, schedule in zip(slices, schedules, strict=True):
        # A folded window leaves one input row per output row.
        in_row = part.row if fold is FoldVariant.WINDOW else part.in_row
        own_source = _part(source, part.in_block, in_row, read.in_width, element)
        own_target = _part(target, part.block, part.row, workload.out_width, element)
        placement: ConvPlacement | MaxPoolPlacement
        if isinstance(part.workload, ConvWorkload) and isinstance(schedule, ConvSchedule):
            key = (part.block, part.blocks, schedule.bias is BiasVariant.GEMM)
            if key not in weights:
                weights[key] = place(weight_bytes(part.workload, schedule, geometry))
            placement = ConvPlacement(
                own_source,
                own_target,
                residual and _part(residual, part.block, part.row, workload.out_width, element),
                weights=weights[key],
                bias=bias + part.block * row_bytes,
                constant=constant,
                shifts=shifts + part.block * row_bytes,
                micro_ops=position,
            )
            lowered = lower_conv(part.workload, schedule, requantization, placement, geometry)
        elif isinstance(part.workload, MaxPoolWorkload) and isinstance(schedule, MaxPoolSchedule):
            placement = MaxPoolPlacement(own_source, own_target, identity, micro_ops=position)
            lowered = lower_max_pool(part.workload, schedule, requantization, placement, geometry)
        else:
            kind = type(part.workload).__name__
            raise TypeError(f"{type(schedule).__name__} does not schedule a {kind}")
        place(lowered.micro_ops.nbytes)
        programs.append(lowered)
        placements.append(placement)
    return SlicedProgram(
        workload,
        tuple(slices),
        tuple(schedules),
        tuple(programs),
        tuple(placements),
        geometry,
        source,
        target,
        residual,
        position,
    )


def measure_sliced(
    workload: Workload,
    schedules: Sequence[Schedule],
    core: VtaCore,
    cores: int,
    axis: SliceAxis,
) -> MulticoreResult:
    """Slices and lowers an operator and times its programs side by side, from launch to FINISH.

    Args:
        workload: The whole operator.
        schedules: One per slice (``slice_workload`` gives the slices).
        core: One of the cores, with the port that they share.
        cores: Number of cores.
        axis: Where to cut.

    Raises:
        InfeasibleError: The operator cannot be sliced that way, or a schedule does not fit.
    """
    slices = slice_workload(workload, cores, axis)
    program = lower_sliced(workload, slices, schedules, core.geometry)
    streams = [lowered.instructions for lowered in program.programs]
    return time_programs(streams, core.timing, core.geometry, core.energy)


def _part(image: Image, block: int, row: int, width: int, element_bytes: int) -> Image:
    """The image from a channel block and row on."""
    assert image.plane_elements is not None
    first = block * image.plane_elements + row * width
    return Image(image.address + first * element_bytes, image.sample_bytes, image.plane_elements)


def _common_fold(schedules: Sequence[Schedule]) -> FoldVariant:
    folds = {fold_of(schedule) for schedule in schedules}
    if len(folds) > 1:
        names = ", ".join(sorted(fold.value for fold in folds))
        raise InfeasibleError(
            f"schedules of the slices fold their input by {names}: slices share one input layout",
            hint="choose one fold for all slices",
        )
    return folds.pop()
