"""Layer-wise reconstruction: integers that make each layer of the NPU write what it would in float.

The float network and the quantized one run side by side over calibration samples, operator by
operator. At a convolution, :mod:`compiler_core.quantize.gptq` finds new integers for its weights
from the windows that both see, on the same grid, and the bias makes the means of both equal; so
every layer takes back what those before it did. Exponents and shifts stay as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import check_samples, choose, join, model_batch, shaped
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.borders import dequantize_array, from_nchw, integer_levels, to_nchw
from compiler_core.quantize.exponents import ACCUMULATOR_LIMIT, accumulator_bound
from compiler_core.quantize.gptq import (
    WindowMoments,
    compensated_levels,
    fitted_weights,
    moments_of,
)
from compiler_core.quantize.ir import (
    FloatSegment,
    IntegerConv,
    IntegerOperator,
    IntegerSegment,
    QuantizedGraph,
)
from compiler_core.quantize.operator_sessions import integer_session, real_session
from compiler_core.quantize.skeleton import ConvKind, ConvStep, Skeleton, StepSegment

Samples = Mapping[str, npt.NDArray[Any]]
Reconstruction = Callable[[Skeleton, QuantizedGraph, Samples], QuantizedGraph]
"""What :func:`reconstruct` does, or finds where it was kept."""

_Floats = npt.NDArray[np.float32]

_ELEMENTS = 1 << 25
"""Of the largest tensor over all samples: more samples than fit are left out."""
LARGEST_KERNEL = 2048
"""Weights per output; of larger kernels only the bias follows from the samples."""
WINDOWS = 4096
WINDOWS_PER_WEIGHT = 16
"""Windows per layer that the moments are of, at least, and per weight of an output."""


SOLVED = 8
"""Multiplications per cubed width of a matrix of moments: seven systems that are solved, an inverse
and its factor."""


class LayerMemory(Protocol):
    """Where the weights and biases of single layers are kept, by what they depend on."""

    def find(self, key: str) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]] | None:
        """What was kept under a digest; ``None`` for nothing."""
        ...

    def keep(self, key: str, weight: npt.NDArray[np.int8], bias: npt.NDArray[np.int32]) -> None:
        """Keeps the weights and biases of a layer."""
        ...


def reconstruct(
    skeleton: Skeleton,
    quantized: QuantizedGraph,
    samples: Samples,
    memory: LayerMemory | None = None,
) -> QuantizedGraph:
    """``quantized`` with the weights and biases of its convolutions found anew.

    Args:
        skeleton: What it was made from.
        quantized: With its integers.
        samples: Calibration data, array per input of the model.
        memory: Of layers that were found before on the same grid with the same inputs: schemes and
            plans that differ behind a layer share it.

    Raises:
        InputError: The samples do not fit the model.
    """
    walk = _Walk(skeleton, quantized, _even_subset(quantized, samples), memory)
    segments = tuple(walk.segments())
    return replace(quantized, segments=segments)


def reconstruction_work(quantized: QuantizedGraph) -> int:
    """Multiplications that :func:`reconstruct` spends on finding weights, about: on the windows of
    kernels in both networks, on the matrices of their moments, on rounding; 0 where no convolution
    has weights."""
    work = 0
    for segment in quantized.segments:
        for operator in segment.operators if isinstance(segment, IntegerSegment) else ():
            if isinstance(operator, IntegerConv):
                kernel = operator.weight[0].size
                counted = kernel if kernel <= LARGEST_KERNEL else 1
                seen = 2 * max(WINDOWS, WINDOWS_PER_WEIGHT * kernel)
                work += operator.groups * counted**2 * (seen + SOLVED * counted)
                work += len(operator.weight) * counted**2
    return work


def _even_subset(quantized: QuantizedGraph, samples: Samples) -> Samples:
    """As many samples as memory should hold, spread evenly, in whole runs of the model."""
    runs = check_samples(quantized.source, samples) // model_batch(quantized.source)
    largest = max((prod(tensor.shape) for tensor in quantized.tensors.values()), default=1)
    wanted = min(runs, max(1, _ELEMENTS // largest))
    return choose(quantized.source, samples, [number * runs // wanted for number in range(wanted)])


class _World:
    """Tensors of one of the two networks: those of the graph, and those of its operators."""

    def __init__(self, quantized: QuantizedGraph, samples: Samples, *, integers: bool) -> None:
        self._quantized, self._integers = quantized, integers
        source = quantized.source
        self.runs = check_samples(source, samples) // model_batch(source)
        self.graph: dict[str, npt.NDArray[Any]] = dict(samples)
        self.operators: dict[str, _Floats] = {}

    def graph_tensor(self, name: str) -> npt.NDArray[Any]:
        """As float code reads it."""
        if name not in self.graph:
            source = self._quantized.source
            values = self.operators[name]
            if self._integers:
                values = dequantize_array(values, self._quantized.tensors[name])
            view, shape = self._quantized.views[name], source.types[name].shape or ()
            self.graph[name] = from_nchw(values, view, shape)
        return self.graph[name]

    def enter(self, name: str) -> None:
        """Make ``name`` known to operators."""
        if name not in self.operators:
            tensor = self._quantized.tensors[name]
            nchw = to_nchw(self.graph_tensor(name), self._quantized.views[name], tensor)
            self.operators[name] = (
                integer_levels(nchw, tensor) if self._integers else nchw.astype(np.float32)
            )


class _Walk:
    def __init__(
        self,
        skeleton: Skeleton,
        quantized: QuantizedGraph,
        samples: Samples,
        memory: LayerMemory | None,
    ) -> None:
        self._skeleton, self._quantized, self._memory = skeleton, quantized, memory
        self._real = _World(quantized, samples, integers=False)
        self._integer = _World(quantized, samples, integers=True)
        self._last = {
            name: position
            for position, (_, segment) in enumerate(self._pairs())
            for name in _reads(segment)
        }

    def _pairs(self) -> Iterator[tuple[Graph | StepSegment, FloatSegment | IntegerSegment]]:
        return zip(self._skeleton.segments, self._quantized.segments, strict=True)

    def segments(self) -> Iterator[FloatSegment | IntegerSegment]:
        """Every segment, those of integers with what was found."""
        for position, (part, segment) in enumerate(self._pairs()):
            if isinstance(segment, FloatSegment):
                assert isinstance(part, Graph)
                if part.outputs:
                    _run_float(self._real, part)
                    _run_float(self._integer, segment.graph)
                yield segment
            else:
                assert isinstance(part, StepSegment)
                yield replace(segment, operators=tuple(self._operators(part, segment)))
            for world in (self._real, self._integer):
                for tensors in (world.graph, world.operators):
                    for name in [n for n in tensors if self._last.get(n, -1) <= position]:
                        del tensors[name]

    def _operators(self, part: StepSegment, segment: IntegerSegment) -> Iterator[IntegerOperator]:
        for name in segment.inputs:
            self._real.enter(name)
            self._integer.enter(name)
        readers: dict[str, int] = {}
        for number, step in enumerate(part.steps):
            readers.update(dict.fromkeys(step.inputs, number))
        for number, (step, operator) in enumerate(zip(part.steps, segment.operators, strict=True)):
            if isinstance(step, ConvStep) and step.kind is ConvKind.WEIGHTS:
                assert isinstance(operator, IntegerConv)
                operator = self._remembered(step, operator)
            tensors = self._quantized.tensors
            inputs = self._real.operators
            self._real.operators |= real_session(step).run({n: inputs[n] for n in step.inputs})
            inputs = self._integer.operators
            self._integer.operators |= integer_session(operator, tensors).run(
                {name: inputs[name] for name in step.inputs}
            )
            yield operator
            for name in dict.fromkeys(step.inputs):
                if readers[name] == number and name not in self._last:
                    del self._real.operators[name], self._integer.operators[name]

    def _remembered(self, step: ConvStep, operator: IntegerConv) -> IntegerConv:
        if self._memory is None:
            return self._found(step, operator)
        key = self._key(step, operator)
        known = self._memory.find(key)
        shapes = operator.weight.shape, operator.bias.shape
        if known is not None and (known[0].shape, known[1].shape) == shapes:
            return replace(operator, weight=known[0], bias=known[1])
        found = self._found(step, operator)
        self._memory.keep(key, found.weight, found.bias)
        return found

    def _key(self, step: ConvStep, operator: IntegerConv) -> str:
        """Digest of all that :meth:`_found` reads."""
        digest = hashlib.blake2b(digest_size=32)
        tensors = self._quantized.tensors
        read = [name for name in (operator.input, operator.residual) if name is not None]
        grid = (
            operator.strides,
            operator.pads,
            operator.dilations,
            operator.groups,
            operator.shift,
            operator.residual_shift if operator.residual is not None else None,
            operator.weight.shape,
            [tensors[name].exponent for name in (*read, operator.output)],
        )
        digest.update(repr(grid).encode())
        arrays: list[npt.NDArray[Any]] = [step.weight, step.bias, operator.weight, operator.bias]
        if operator.channel_shifts is not None:
            arrays.append(operator.channel_shifts)
        arrays += [world.operators[name] for world in (self._real, self._integer) for name in read]
        for array in arrays:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def _found(self, step: ConvStep, operator: IntegerConv) -> IntegerConv:
        groups, outputs = operator.groups, len(operator.weight)
        ex = self._quantized.tensors[operator.input].exponent
        ey = self._quantized.tensors[operator.output].exponent
        shifts = (
            np.full(outputs, operator.shift)
            if operator.channel_shifts is None
            else operator.channel_shifts.astype(np.int64)
        )
        exponents = (shifts + ey - ex).reshape(groups, -1, 1)
        weight = step.weight.astype(np.float64).reshape(groups, outputs // groups, -1)
        folds = self._moments(operator, ex)
        both = folds[0].plus(folds[1])
        levels = operator.weight.reshape(weight.shape).astype(np.float64)
        if weight.shape[-1] <= LARGEST_KERNEL:
            scaled = np.ldexp(fitted_weights(weight, folds), exponents)
            levels = compensated_levels(scaled, both.covariances()[0], step.levels)
        wanted = np.einsum("gok,gk->go", weight, both.real / both.count)
        given = np.einsum("gok,gk->go", np.ldexp(levels, -exponents), both.quantized / both.count)
        change = (wanted - given).reshape(-1) + self._residual_change(operator)
        bias = np.rint(np.ldexp(step.bias + change, ex + exponents.reshape(-1)))
        residual_shift = None if operator.residual is None else operator.residual_shift
        integers = levels.astype(np.int8).reshape(operator.weight.shape)
        fits = np.abs(bias).max(initial=0) < ACCUMULATOR_LIMIT and (
            accumulator_bound(integers, bias.astype(np.int64), operator.shift, residual_shift)
            < ACCUMULATOR_LIMIT
        )
        # Integers that fit were chosen before: they stay where new ones do not.
        return replace(operator, weight=integers, bias=bias.astype(np.int32)) if fits else operator

    def _residual_change(self, operator: IntegerConv) -> npt.NDArray[np.float64]:
        """What the mean of the residual lost, ``float64[outputs]``."""
        if operator.residual is None:
            return np.zeros(len(operator.weight))
        tensor = self._quantized.tensors[operator.residual]
        real = self._real.operators[operator.residual].mean(axis=(0, 2, 3), dtype=np.float64)
        integer = self._integer.operators[operator.residual].mean(axis=(0, 2, 3), dtype=np.float64)
        change: npt.NDArray[np.float64] = real - np.ldexp(integer, -tensor.exponent)
        return change

    def _moments(self, operator: IntegerConv, exponent: int) -> tuple[WindowMoments, WindowMoments]:
        """Of every other sample, and of the rest; of large kernels the sums alone."""
        real = self._real.operators[operator.input]
        integer = self._integer.operators[operator.input]
        most = max(WINDOWS, WINDOWS_PER_WEIGHT * operator.weight[0].size)
        folds = []
        for start in (0, 1):
            x, q = (windows(values[start::2], operator, most // 2) for values in (real, integer))
            squared = operator.weight[0].size <= LARGEST_KERNEL
            folds.append(moments_of(x, np.ldexp(q, -exponent), squared=squared))
        return folds[0], folds[1]


def windows(values: _Floats, operator: IntegerConv, most: int) -> _Floats:
    """What the kernel sees, at evenly spread places of every sample: ``[groups, K, count]``.

    Args:
        values: ``float32[samples, C, H, W]``.
        operator: The convolution.
        most: Windows that are enough.
    """
    top, left, bottom, right = operator.pads
    padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
    kernel, strides, dilations = operator.weight.shape[2:], operator.strides, operator.dilations
    sizes = [
        (padded.shape[axis + 2] - (kernel[axis] - 1) * dilations[axis] - 1) // strides[axis] + 1
        for axis in (0, 1)
    ]
    places = prod(sizes)
    per_sample = min(places, max(1, -(-most // max(1, len(values)))))
    chosen = np.arange(per_sample) * places // per_sample
    row, column = chosen // sizes[1] * strides[0], chosen % sizes[1] * strides[1]
    down = np.arange(kernel[0]) * dilations[0]
    across = np.arange(kernel[1]) * dilations[1]
    # [samples, C, kh, kw, places]
    seen = padded[
        :,
        :,
        down[:, None, None] + row[None, None, :],
        across[None, :, None] + column[None, None, :],
    ]
    shape = operator.groups, operator.weight[0].size, len(values) * per_sample
    return np.ascontiguousarray(seen.transpose(1, 2, 3, 0, 4)).reshape(shape)


def _run_float(world: _World, graph: Graph) -> None:
    """One run of the model at a time, as the executor does."""
    session = FloatSession(graph)
    feeds = {name: np.split(world.graph_tensor(name), world.runs) for name in graph.inputs}
    results = [
        session.run({name: shaped(graph, name, parts[run]) for name, parts in feeds.items()})
        for run in range(world.runs)
    ]
    for name in graph.outputs:
        world.graph[name] = join([result[name] for result in results])


def _reads(segment: FloatSegment | IntegerSegment) -> tuple[str, ...]:
    return tuple(segment.graph.inputs if isinstance(segment, FloatSegment) else segment.inputs)
