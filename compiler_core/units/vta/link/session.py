"""Segments executed on the functional simulator, one run of the model after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from threading import local

import numpy as np
import numpy.typing as npt

from compiler_core.units.facets.programs import Integers, LaunchState, Observer
from compiler_core.units.vta.link.launch import CoreProgram, VtaLaunch
from compiler_core.units.vta.link.model import memory_image
from compiler_core.units.vta.link.npu_segment import NpuSegment
from compiler_core.units.vta.link.placed_tensor import PlacedTensor
from compiler_core.units.vta.lower.pack import pack_activation, unpack_activation
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.simulate.functional import PreparedProgram, prepare
from compiler_core.units.vta.simulate.timing import time_program
from compiler_core.units.vta.structure.fold import fold_input

Bytes = npt.NDArray[np.uint8]


class VtaSession:
    """See :class:`~compiler_core.units.facets.programs.UnitSession`; each thread has a DRAM of its
    own.

    Args:
        segments: Of one model.
        memory_bytes: Size of the DRAM.
        core: What each program runs on.

    Raises:
        ProgramError: A program asks for what the machine does not have.
    """

    def __init__(self, segments: Sequence[NpuSegment], memory_bytes: int, core: VtaCore) -> None:
        self._segments, self._memory_bytes, self._core = segments, memory_bytes, core
        self._local = local()
        self._programs: dict[tuple[str, str, int], PreparedProgram] = {
            (segment.name, launch.name, program.core): prepare(program.instructions, core.geometry)
            for segment in segments
            for launch in segment.launches
            for program in launch.programs
            if launch.code
        }

    def run(
        self,
        segment: NpuSegment,
        inputs: Mapping[str, Integers],
        observer: Observer | None = None,
    ) -> dict[str, Integers]:
        memory = self._memory()
        for name in segment.inputs:
            write_activation(memory, segment.layout[name], inputs[name])
        # Programs of one launch leave each other's memory alone: any order gives the same bits.
        for launch in segment.launches:
            for program in launch.programs if launch.code else ():
                before = memory.copy() if observer is not None else memory
                self._programs[segment.name, launch.name, program.core].run(memory)
                if observer is not None:
                    observer(self._state(segment, launch, program, before, memory))
        return {name: read_activation(memory, segment.layout[name]) for name in segment.outputs}

    def _memory(self) -> Bytes:
        memory: Bytes | None = getattr(self._local, "memory", None)
        if memory is None:
            memory = self._local.memory = memory_image(self._segments, self._memory_bytes)
        return memory

    def _state(
        self,
        segment: NpuSegment,
        launch: VtaLaunch,
        program: CoreProgram,
        before: Bytes,
        after: Bytes,
    ) -> LaunchState:
        core = self._core
        cycles = time_program(program.instructions, core.timing, core.geometry).cycles
        files = {
            "insn.bin": program.instructions.tobytes(),
            "dram-before.bin": before.tobytes(),
            "dram-after.bin": after.tobytes(),
        }
        return LaunchState(segment, launch, program.core, cycles, files)


def write_activation(memory: Bytes, placed: PlacedTensor, values: Integers) -> None:
    """Lays out ``int8[N, C, H, W]`` in DRAM."""
    if placed.fold is not None:
        values = fold_input(values, placed.fold.workload, placed.fold.variant)
    packed = pack_activation(values, placed.lanes).view(np.uint8).reshape(len(values), -1)
    for sample, row in enumerate(packed):
        start = placed.address + sample * placed.sample_bytes
        memory[start : start + row.size] = row


def read_activation(memory: Bytes, placed: PlacedTensor) -> Integers:
    """``int8[N, C, H, W]`` from DRAM."""
    batch, channels, height, width = placed.shape
    shape = (-(-channels // placed.lanes), height, width, placed.lanes)
    size = prod(shape)
    samples = []
    for sample in range(batch):
        start = placed.address + sample * placed.sample_bytes
        samples.append(memory[start : start + size].view(np.int8).reshape(shape))
    return unpack_activation(np.stack(samples), channels)
