"""Runs an executable on samples: float segments on the CPU, integer segments on a backend.

The samples go through in blocks, so that memory stays flat; within a block each segment takes all
runs before the next begins. A run is the model's fixed batch, else one sample, and no run sees
another, so any number of samples gives the bits of one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.executable.backends import Backend
from compiler_core.executable.executable import CpuSegment, Executable
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import check_samples, join, join_blocks, model_batch, runs, take
from compiler_core.quantize.borders import (
    dequantize_array,
    from_nchw,
    quantize_array,
    to_nchw,
)
from compiler_core.units.facets.host import FloatRun, float_sessions
from compiler_core.units.facets.programs import UnitSegment

Arrays = dict[str, npt.NDArray[Any]]

_RUNS_PER_BLOCK = 16


@dataclass(frozen=True, eq=False)
class BlockResult:
    """What a block of samples gave.

    Attributes:
        first: Number of its first sample.
        count: Samples.
        outputs: Array per output of the model.
        integers: ``int8[count, C, H, W]`` per output of an integer segment, in execution order.
        numbers: Arrays per output of a segment in numbers of a unit's own, likewise.
    """

    first: int
    count: int
    outputs: Arrays
    integers: dict[str, npt.NDArray[np.int8]]
    numbers: Arrays = field(default_factory=dict)


class PackageRunner:
    """Executes a model; the backend never changes the bits.

    Args:
        executable: What to execute.
        backend: Who computes integer segments.

    Raises:
        InputError: onnxruntime cannot run a CPU segment.
    """

    def __init__(self, executable: Executable, backend: Backend) -> None:
        self._executable = executable
        self._backend = backend
        self._sessions = {
            segment.name: float_sessions().open(segment)
            for segment in executable.segments
            if isinstance(segment, CpuSegment)
        }

    @property
    def signature(self) -> Graph:
        """The model's inputs and outputs."""
        return self._executable.signature

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """The model's outputs for any number of samples.

        Raises:
            InputError: The inputs do not fit the model.
        """
        return join_outputs(self._executable, list(self.blocks(inputs)))

    def blocks(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Iterator[BlockResult]:
        """Results block by block.

        Raises:
            InputError: The inputs do not fit the model.
        """
        signature = self._executable.signature
        count = check_samples(signature, inputs)
        step = model_batch(signature) * _RUNS_PER_BLOCK
        for first in range(0, count, step):
            samples = min(step, count - first)
            part = take(signature, inputs, first, first + samples)
            block = _Block(self._executable, self._backend, self._sessions, part)
            outputs = block.run()
            yield BlockResult(first, samples, outputs, block.integers, block.numbers)


def join_outputs(executable: Executable, blocks: list[BlockResult]) -> Arrays:
    """The outputs of several blocks as one array each."""
    constant, signature = executable.constant_outputs, executable.signature
    counts = [block.count // model_batch(signature) for block in blocks]
    outputs = {}
    for name in signature.outputs:
        parts = [block.outputs[name] for block in blocks]
        if name not in constant:
            parts = [join_blocks(parts, counts, signature.sample_axis(name))]
        outputs[name] = parts[0]
    return outputs


class _Block:
    def __init__(
        self,
        executable: Executable,
        backend: Backend,
        sessions: Mapping[str, FloatRun],
        inputs: Mapping[str, npt.NDArray[Any]],
    ) -> None:
        self._executable, self._backend, self._sessions = executable, backend, sessions
        feeds = list(runs(executable.signature, inputs))
        self._runs = len(feeds)
        self._floats: dict[str, list[npt.NDArray[Any]]] = {
            name: [feed[name] for feed in feeds] for name in inputs
        }
        self.integers: dict[str, npt.NDArray[np.int8]] = {}
        self.numbers: Arrays = {}
        # What the CPU has quantized, for every segment that reads it.
        self._entered: dict[str, npt.NDArray[np.int8]] = {}

    def run(self) -> Arrays:
        """Executes all segments."""
        for segment in self._executable.segments:
            if isinstance(segment, CpuSegment):
                feeds = {name: self._float_values(name) for name in segment.inputs}
                session = self._sessions[segment.name]
                results = [
                    session.run({name: values[run] for name, values in feeds.items()})
                    for run in range(self._runs)
                ]
                for name in segment.outputs:
                    self._floats[name] = [result[name] for result in results]
                continue
            if not self._executable.is_integer(segment):
                self._in_numbers(segment)
                continue
            entering = {name: self._integer_values(name) for name in segment.inputs}
            self.integers.update(self._backend.run(segment, entering))
        outputs = {}
        for name in self._executable.signature.outputs:
            parts = self._float_values(name)
            if name in self._executable.constant_outputs:
                outputs[name] = parts[0]
            else:
                axis = self._executable.signature.sample_axis(name)
                outputs[name] = join(parts, axis)
        return outputs

    def _in_numbers(self, segment: UnitSegment) -> None:
        """A segment whose unit has numbers of its own: between float tensors of the model."""
        values = {name: self._float_values(name) for name in segment.inputs}
        feeds = [{name: own[run] for name, own in values.items()} for run in range(self._runs)]
        results = self._backend.run_numbers(segment, feeds)
        for name in segment.outputs:
            self._floats[name] = [result[name] for result in results]
            self.numbers[name] = np.stack(self._floats[name])

    def _integer_values(self, name: str) -> npt.NDArray[np.int8]:
        if name in self.integers:
            return self.integers[name]
        if name not in self._entered:
            tensor, view = self._executable.tensors[name], self._executable.views[name]
            whole = np.concatenate(self._floats[name])
            self._entered[name] = quantize_array(to_nchw(whole, view, tensor), tensor)
        return self._entered[name]

    def _float_values(self, name: str) -> list[npt.NDArray[Any]]:
        """One array per run of the model."""
        if name not in self._floats:
            signature = self._executable.signature
            real = dequantize_array(self.integers[name], self._executable.tensors[name])
            shape = signature.types[name].shape or ()
            whole = from_nchw(real, self._executable.views[name], shape)
            self._floats[name] = np.split(whole, self._runs)
        return self._floats[name]
