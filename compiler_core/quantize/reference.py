"""The reference executor: a quantized graph's bits, fast enough for accuracy runs.

The integer operators' docstrings in :mod:`compiler_core.quantize.ir` define the bits;
:mod:`compiler_core.quantize.exact_segment` computes exactly those integers. Float segments
run one sample at a time on one thread, so that no sample's bits depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.graph.sampling import check_samples, join, join_blocks, model_batch, runs, take
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.borders import (
    dequantize_array,
    from_nchw,
    integer_levels,
    to_nchw,
)
from compiler_core.quantize.exact_segment import ExactSegment
from compiler_core.quantize.ir import FloatSegment, IntegerSegment, QuantizedGraph
from compiler_core.quantize.shared_sessions import SharedSessions
from compiler_core.units.numbers import NumberRun, numbers_of

Arrays = dict[str, npt.NDArray[Any]]

_BLOCK_ELEMENTS = 1 << 21
"""Elements of the largest tensor in one block of samples: keeps memory flat for any number."""

_MOST_SAMPLES = 16


@dataclass(frozen=True)
class IntegerRun:
    """Everything that a run computed.

    Attributes:
        outputs: Array per graph output.
        tensors: ``int8[samples, C, H, W]`` per quantized tensor.
    """

    outputs: dict[str, npt.NDArray[Any]]
    tensors: dict[str, npt.NDArray[np.int8]]


class ReferenceExecutor:
    """Executes a quantized graph; the number of samples never changes a sample's bits.

    Args:
        quantized: What to execute.
        threads: Threads of onnxruntime for integer operators; they never change the bits.

    Raises:
        InputError: onnxruntime cannot run a float segment.
    """

    def __init__(self, quantized: QuantizedGraph, *, threads: int = 1) -> None:
        self._quantized = quantized
        self._sessions = SharedSessions(threads)
        self._batch = model_batch(quantized.source)
        self._float = {
            segment.name: _float_run(segment)
            for segment in quantized.segments
            if isinstance(segment, FloatSegment) and segment.graph.outputs
        }
        self._integer: dict[tuple[str, bool], ExactSegment] = {}
        self._last_use = _last_uses(quantized)
        largest = max((prod(t.shape) for t in quantized.tensors.values()), default=1)
        self._block = max(1, min(_MOST_SAMPLES, _BLOCK_ELEMENTS // largest)) * self._batch

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """The graph's outputs for any number of samples.

        Args:
            inputs: Array per graph input; the leading axis counts the samples.

        Raises:
            InputError: The inputs do not fit the graph, or NaN would become int8.
        """
        return self._run(inputs, every=False).outputs

    def run_integer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> IntegerRun:
        """As :meth:`run`, with every int8 tensor: what a compiled program is compared with.

        Raises:
            InputError: As :meth:`run`.
        """
        return self._run(inputs, every=True)

    def _run(self, inputs: Mapping[str, npt.NDArray[Any]], every: bool) -> IntegerRun:
        count = check_samples(self._quantized.source, inputs)
        blocks, counts = [], []
        for start in range(0, count, self._block):
            block = take(self._quantized.source, inputs, start, min(start + self._block, count))
            blocks.append(_Block(self, block, every).run())
            counts.append((min(start + self._block, count) - start) // self._batch)
        graph = self._quantized.source
        outputs: Arrays = {}
        for name in graph.outputs:
            if name in graph.constants:
                outputs[name] = np.asarray(graph.constants[name])
                continue
            parts = [block.outputs[name] for block in blocks]
            outputs[name] = join_blocks(parts, counts, graph.sample_axis(name))
        tensors = {
            name: np.concatenate([block.tensors[name] for block in blocks])
            for name in blocks[0].tensors
        }
        return IntegerRun(outputs, tensors)

    def session(self, segment: IntegerSegment, every: bool) -> ExactSegment:
        """The operators of ``segment``, with its outputs or with ``every`` tensor it computes."""
        key = (segment.name, every)
        if key not in self._integer:
            computed = [operator.output for operator in segment.operators]
            self._integer[key] = ExactSegment(
                segment.operators,
                self._quantized.tensors,
                computed if every else segment.outputs,
                sessions=self._sessions,
            )
        return self._integer[key]


def _float_run(segment: FloatSegment) -> FloatSession | NumberRun:
    """What computes a float segment: the CPU, or the numbers of its unit."""
    unit = segment.number
    if unit is None:
        return FloatSession(segment.graph)
    return numbers_of(unit.kind).untuned(segment.graph, unit.machine)


def _last_uses(quantized: QuantizedGraph) -> dict[str, str]:
    """The segment after which nobody reads a tensor, by tensor."""
    last = {}
    for segment in quantized.segments:
        inputs = segment.graph.inputs if isinstance(segment, FloatSegment) else segment.inputs
        for name in inputs:
            last[name] = segment.name
    return {name: where for name, where in last.items() if name not in quantized.source.outputs}


class _Block:
    """Samples that are executed together."""

    def __init__(
        self, executor: ReferenceExecutor, inputs: Mapping[str, npt.NDArray[Any]], every: bool
    ) -> None:
        self._executor = executor
        self._quantized = executor._quantized
        self._every = every
        feeds = list(runs(executor._quantized.source, inputs))
        self._runs = len(feeds)
        self._floats: dict[str, list[npt.NDArray[Any]]] = {
            name: [feed[name] for feed in feeds] for name in inputs
        }
        self._integers: dict[str, npt.NDArray[np.float32]] = {}

    def run(self) -> IntegerRun:
        last = self._executor._last_use
        for segment in self._quantized.segments:
            if isinstance(segment, FloatSegment):
                self._float_segment(segment)
                done = segment.graph.inputs
            else:
                self._integer_segment(segment)
                done = segment.inputs
            for name in done:
                if last.get(name) == segment.name:
                    self._floats.pop(name, None)
                    if not self._every:
                        self._integers.pop(name, None)
        source = self._quantized.source
        outputs = {
            name: join(self._float_values(name), source.sample_axis(name))
            for name in source.outputs
            if name not in source.constants
        }
        every = {name: values.astype(np.int8) for name, values in self._integers.items()}
        return IntegerRun(outputs, every if self._every else {})

    def _float_values(self, name: str) -> list[npt.NDArray[Any]]:
        """One array per run of the model."""
        if name not in self._floats:
            graph, tensor = self._quantized.source, self._quantized.tensors[name]
            real = dequantize_array(self._integers[name], tensor)
            whole = from_nchw(real, self._quantized.views[name], graph.types[name].shape or ())
            self._floats[name] = np.split(whole, self._runs)
        return self._floats[name]

    def _float_segment(self, segment: FloatSegment) -> None:
        if segment.name not in self._executor._float:
            return
        session = self._executor._float[segment.name]
        feeds = {name: self._float_values(name) for name in segment.graph.inputs}
        results = [
            session.run({name: values[run] for name, values in feeds.items()})
            for run in range(self._runs)
        ]
        for name in segment.graph.outputs:
            self._floats[name] = [result[name] for result in results]

    def _integer_segment(self, segment: IntegerSegment) -> None:
        for name in segment.inputs:
            if name not in self._integers:
                tensor = self._quantized.tensors[name]
                whole = np.concatenate(self._floats[name])
                nchw = to_nchw(whole, self._quantized.views[name], tensor)
                self._integers[name] = integer_levels(nchw, tensor)
        session = self._executor.session(segment, self._every)
        self._integers.update(session.run({n: self._integers[n] for n in segment.inputs}))
