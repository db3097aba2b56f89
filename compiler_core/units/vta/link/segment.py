"""An integer segment before it has schedules: its layers as workloads, and which tensors share a
buffer.

A concatenation is no launch: its inputs are slices of its buffer, a range of channel blocks that
their producers write. A tensor can be a slice of one buffer only, so a second concatenation of it
reads a copy.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.ir import (
    ComputingOperator,
    IntegerConcat,
    IntegerConv,
    IntegerMaxPool,
    IntegerOperator,
    IntegerProduct,
    IntegerSegment,
    IntegerTranspose,
    QuantizedTensor,
    integers_read,
)
from compiler_core.tensor.from_integer import (
    conv_terms,
    max_pool_terms,
    product_terms,
    transpose_terms,
)
from compiler_core.tensor.task import Task
from compiler_core.tensor.value_ranges import value_ranges
from compiler_core.tensor.workload import Requantization, Workload
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.structure.vectors import in_vectors

UNIT = "vta"
"""Kind of processing unit in tasks and plans."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One launch: an operator as the lowering sees it.

    Attributes:
        operator: What it computes.
        workload: What its cycles depend on.
        requantization: Values of its epilogue.
        constants: ``int64[O]``, bias and rounding of a convolution.
    """

    operator: ComputingOperator
    workload: Workload
    requantization: Requantization
    constants: npt.NDArray[np.int64] | None

    @property
    def task(self) -> Task:
        """The task that its schedule is of."""
        return Task(UNIT, self.workload)


@dataclass(frozen=True)
class TensorSlice:
    """Where a tensor lies: in the buffer ``root``, from channel block ``block`` on."""

    root: str
    block: int


@dataclass(frozen=True, eq=False)
class SegmentLayers:
    """A segment as launches over buffers.

    Attributes:
        segment: What it was made from.
        layers: In order of launch, copies for concatenations included.
        tensors: Every tensor of the segment, those of copies included.
        slices: Place of each tensor.
    """

    segment: IntegerSegment
    layers: tuple[Layer, ...]
    tensors: Mapping[str, QuantizedTensor]
    slices: Mapping[str, TensorSlice]


def segment_layers(
    segment: IntegerSegment,
    tensors: Mapping[str, QuantizedTensor],
    from_cpu: Collection[str],
    geometry: VtaGeometry,
) -> SegmentLayers:
    """Derives workloads and buffers.

    Args:
        segment: Integer operators in topological order.
        tensors: Every tensor of the quantized graph.
        from_cpu: Tensors that the CPU quantizes from float, for this segment alone.
        geometry: Of the core.
    """
    operators, known = _with_copies(segment, tensors)
    ranges = value_ranges(operators)
    entries = _entries(segment, operators, from_cpu)
    layers = []
    for operator in operators:
        if isinstance(operator, IntegerConcat):
            continue
        shape = known[operator.input].shape
        if isinstance(operator, IntegerMaxPool):
            workload, values = max_pool_terms(operator, shape)
            layers.append(Layer(operator, in_vectors(workload, geometry), values, None))
            continue
        if isinstance(operator, IntegerProduct | IntegerTranspose):
            result = known[operator.output].shape
            terms = (
                transpose_terms(operator, result)
                if isinstance(operator, IntegerTranspose)
                else product_terms(operator, shape, result)
            )
            layers.append(Layer(operator, terms.workload, terms.requantization, terms.constants))
            continue
        terms = conv_terms(
            operator,
            shape,
            ranges[operator.input],
            entry=operator.input in entries,
            residual_shape=known[operator.residual].shape if operator.residual else None,
        )
        shift = None if operator.residual is None else operator.residual_shift
        work = in_vectors(terms.workload, geometry, shift)
        layers.append(Layer(operator, work, terms.requantization, terms.constants))
    used = {name for operator in operators for name in (*integers_read(operator), operator.output)}
    held = {name: known[name] for name in known if name in used}
    return SegmentLayers(segment, tuple(layers), held, _slices(operators, held, geometry.lanes))


def _with_copies(
    segment: IntegerSegment, tensors: Mapping[str, QuantizedTensor]
) -> tuple[list[IntegerOperator], dict[str, QuantizedTensor]]:
    known = dict(tensors)
    owned: set[str] = set()
    result: list[IntegerOperator] = []
    for operator in segment.operators:
        if not isinstance(operator, IntegerConcat):
            result.append(operator)
            continue
        inputs = []
        for position, name in enumerate(operator.inputs):
            if name in owned:
                copy = _copy(f"{operator.output}/concat-copy{position}", known[name])
                known[copy.output] = replace(known[name], name=copy.output)
                result.append(copy)
                name = copy.output
            owned.add(name)
            inputs.append(name)
        result.append(replace(operator, inputs=tuple(inputs)))
    return result, known


def _copy(name: str, source: QuantizedTensor) -> IntegerConv:
    channels = source.shape[1]
    return IntegerConv(
        name=name,
        input=source.name,
        output=name,
        weight=np.ones((channels, 1, 1, 1), np.int8),
        bias=np.zeros(channels, np.int32),
        strides=(1, 1),
        pads=(0, 0, 0, 0),
        dilations=(1, 1),
        groups=channels,
        shift=0,
        clip_min=-128,
        clip_max=127,
    )


def _entries(
    segment: IntegerSegment, operators: list[IntegerOperator], from_cpu: Collection[str]
) -> set[str]:
    """Tensors that the CPU lays out, for one convolution alone."""
    readers: dict[str, int] = {}
    for operator in operators:
        for name in integers_read(operator):
            # A reader that is no convolution needs the plain layout: it counts for two.
            readers[name] = readers.get(name, 0) + (1 if isinstance(operator, IntegerConv) else 2)
    return {
        name
        for name in segment.inputs
        if name in from_cpu and readers.get(name) == 1 and name not in segment.outputs
    }


def _slices(
    operators: list[IntegerOperator], tensors: Mapping[str, QuantizedTensor], lanes: int
) -> dict[str, TensorSlice]:
    slices = {name: TensorSlice(name, 0) for name in tensors}
    # Backwards, so that the place of an outer concatenation is known before its inner ones.
    for operator in reversed(operators):
        if isinstance(operator, IntegerConcat):
            whole = slices[operator.output]
            block = whole.block
            for name in operator.inputs:
                slices[name] = TensorSlice(whole.root, block)
                block += -(-tensors[name].shape[1] // lanes)
    return slices
