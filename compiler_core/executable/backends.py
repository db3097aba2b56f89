"""Who computes an integer segment: the compiled programs on the simulator, or the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import prod
from threading import local
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

from compiler_core.errors import InputError
from compiler_core.executable.executable import Executable
from compiler_core.graph.runtime import RUNTIME_ERRORS
from compiler_core.quantize.exact import exact_model
from compiler_core.units.vta.link.linker import CoreProgram, Launch, NpuSegment
from compiler_core.units.vta.link.placed_tensor import PlacedTensor
from compiler_core.units.vta.lower.pack import pack_activation, unpack_activation
from compiler_core.units.vta.simulate.functional import PreparedProgram, prepare
from compiler_core.units.vta.structure.conv_structure import BLOCK, blocks
from compiler_core.units.vta.structure.fold import fold_input

Integers = npt.NDArray[np.int8]
Bytes = npt.NDArray[np.uint8]
Observer = Callable[[NpuSegment, Launch, CoreProgram, Bytes, Bytes], None]
"""Told of each program: segment, launch, program, DRAM before and after."""


class Backend(Protocol):
    """Computes the outputs of an integer segment."""

    def run(self, segment: NpuSegment, inputs: Mapping[str, Integers]) -> dict[str, Integers]:
        """Outputs ``int8[runs * N, C, H, W]`` by name, of inputs of the same kind."""


class Simulator:
    """Executes the compiled programs, one run of the model after another.

    Args:
        executable: What to execute.
        threads: Runs that are executed at the same time, each on its own DRAM.
        observer: Told of every launch of the first run.

    Raises:
        ProgramError: A program asks for what the machine does not have.
    """

    def __init__(
        self, executable: Executable, *, threads: int = 1, observer: Observer | None = None
    ) -> None:
        self._executable = executable
        self._threads = threads
        self._observer = observer
        self._observed: set[str] = set()
        self._local = local()
        geometry = executable.target.npu.geometry
        self._programs: dict[tuple[str, str, int], PreparedProgram] = {
            (segment.name, launch.name, program.core): prepare(program.instructions, geometry)
            for segment in executable.npu_segments
            for launch in segment.launches
            for program in launch.programs
        }

    def run(self, segment: NpuSegment, inputs: Mapping[str, Integers]) -> dict[str, Integers]:
        """See :class:`Backend`."""
        batch = next(iter(segment.layout.values())).shape[0]
        count = len(next(iter(inputs.values()))) // batch
        starts = [run * batch for run in range(count)]
        feeds = [{n: a[start : start + batch] for n, a in inputs.items()} for start in starts]
        if self._observer is not None and segment.name not in self._observed:
            self._observed.add(segment.name)
            first = [self._launch(segment, feeds[0], self._observer)]
            feeds = feeds[1:]
        else:
            first = []
        if self._threads > 1 and len(feeds) > 1:
            with ThreadPoolExecutor(self._threads) as pool:
                rest = list(pool.map(lambda feed: self._launch(segment, feed, None), feeds))
        else:
            rest = [self._launch(segment, feed, None) for feed in feeds]
        runs = first + rest
        return {name: np.concatenate([run[name] for run in runs]) for name in segment.outputs}

    def _memory(self) -> Bytes:
        memory: Bytes | None = getattr(self._local, "memory", None)
        if memory is None:
            memory = self._local.memory = self._executable.dram()
        return memory

    def _launch(
        self, segment: NpuSegment, inputs: Mapping[str, Integers], observer: Observer | None
    ) -> dict[str, Integers]:
        memory = self._memory()
        for name in segment.inputs:
            write_activation(memory, segment.layout[name], inputs[name])
        # Programs of one launch leave each other's memory alone: any order gives the same bits.
        for launch in segment.launches:
            for program in launch.programs:
                before = memory.copy() if observer is not None else memory
                self._programs[segment.name, launch.name, program.core].run(memory)
                if observer is not None:
                    observer(segment, launch, program, before, memory)
        return {name: read_activation(memory, segment.layout[name]) for name in segment.outputs}


class Reference:
    """Computes the integer operators themselves, exactly, without programs.

    Args:
        executable: What to execute.
        threads: Threads of onnxruntime; they never change the bits.
    """

    def __init__(self, executable: Executable, *, threads: int = 1) -> None:
        self._executable = executable
        self._threads = threads
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    def run(self, segment: NpuSegment, inputs: Mapping[str, Integers]) -> dict[str, Integers]:
        """See :class:`Backend`."""
        session = self._sessions.get(segment.name)
        if session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self._threads
            options.inter_op_num_threads = 1
            options.log_severity_level = 3
            model = exact_model(
                segment.operators, self._executable.tensors, segment.inputs, segment.outputs
            )
            try:
                session = onnxruntime.InferenceSession(
                    model.SerializeToString(), options, providers=["CPUExecutionProvider"]
                )
            except EncodeError as error:
                raise InputError(
                    f"segment {segment.name}: the reference takes more than the 2 GiB of a model"
                ) from error
            except RUNTIME_ERRORS as error:
                text = " ".join(str(error).split())
                raise InputError(f"segment {segment.name}: wrong operators: {text}") from error
            self._sessions[segment.name] = session
        names = list(segment.outputs)
        feeds = {name: inputs[name].astype(np.float32) for name in segment.inputs}
        try:
            results = session.run(names, feeds)
        except RUNTIME_ERRORS as error:
            text = " ".join(str(error).split())
            raise InputError(f"segment {segment.name}: wrong operators: {text}") from error
        return {n: array.astype(np.int8) for n, array in zip(names, results, strict=True)}


def write_activation(memory: Bytes, placed: PlacedTensor, values: Integers) -> None:
    """Lays out ``int8[N, C, H, W]`` in DRAM."""
    if placed.fold is not None:
        values = fold_input(values, placed.fold.workload, placed.fold.variant)
    packed = pack_activation(values).view(np.uint8).reshape(len(values), -1)
    for sample, row in enumerate(packed):
        start = placed.address + sample * placed.sample_bytes
        memory[start : start + row.size] = row


def read_activation(memory: Bytes, placed: PlacedTensor) -> Integers:
    """``int8[N, C, H, W]`` from DRAM."""
    batch, channels, height, width = placed.shape
    shape = (blocks(channels), height, width, BLOCK)
    size = prod(shape)
    samples = []
    for sample in range(batch):
        start = placed.address + sample * placed.sample_bytes
        samples.append(memory[start : start + size].view(np.int8).reshape(shape))
    return unpack_activation(np.stack(samples), channels)
