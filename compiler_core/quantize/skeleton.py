"""The quantized graph before it has numbers: its integer operators with their float weights.

A skeleton follows from a graph and an assignment of its nodes to units alone. Schemes, calibration
and exponents come later and never change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph
from compiler_core.quantize.ir import NumberUnit, TensorView
from compiler_core.quantize.layout import ChannelAxis

Shape = tuple[int, int, int, int]

INT8_LEVELS = 127


class ConvKind(Enum):
    """What a convolution stands for."""

    WEIGHTS = "weights"
    """A convolution or dense layer of the model."""
    AVERAGE = "average"
    """Equal weights that sum to one per window."""
    COPY = "copy"
    """Weights 0 and 1 that move values."""
    ADD = "add"
    """One operand through weight 1, the other as the residual; the two may swap."""


@dataclass(frozen=True)
class ConvStep:
    """A future :class:`~compiler_core.quantize.ir.IntegerConv`; same meaning, real numbers.

    Attributes:
        weight: ``float[O, I / groups, kh, kw]``, in the type of the model's constant where that is
            all that it is: for large layers it is not copied.
        bias: ``float64[O]``.
        clip: Clamp of the real output, or ``None``.
        unit: Name of the unit that runs it.
        levels: Largest weight: 127 of int8, 7 of int4.
        interleave: Rows and columns of the output that its phases are side by side in.
    """

    name: str
    kind: ConvKind
    input: str
    output: str
    weight: npt.NDArray[np.floating[Any]]
    bias: npt.NDArray[np.float64]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    groups: int
    sources: tuple[str, ...]
    clip: tuple[float, float] | None = None
    residual: str | None = None
    unit: str = ""
    levels: int = INT8_LEVELS
    interleave: int = 1

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors read."""
        return (self.input,) if self.residual is None else (self.input, self.residual)


@dataclass(frozen=True)
class PoolStep:
    """A future :class:`~compiler_core.quantize.ir.IntegerMaxPool`."""

    name: str
    input: str
    output: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    sources: tuple[str, ...]
    clip: tuple[float, float] | None = None
    unit: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors read."""
        return (self.input,)


@dataclass(frozen=True)
class ConcatStep:
    """A future :class:`~compiler_core.quantize.ir.IntegerConcat`."""

    name: str
    inputs: tuple[str, ...]
    output: str
    sources: tuple[str, ...]
    unit: str = ""


@dataclass(frozen=True)
class ProductStep:
    """A future :class:`~compiler_core.quantize.ir.IntegerProduct`."""

    name: str
    input: str
    operand: str
    output: str
    groups: int
    sources: tuple[str, ...]
    clip: tuple[float, float] | None = None
    unit: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors read."""
        return (self.input, self.operand)


@dataclass(frozen=True)
class TransposeStep:
    """A future :class:`~compiler_core.quantize.ir.IntegerTranspose`."""

    name: str
    input: str
    output: str
    groups: int
    sources: tuple[str, ...]
    unit: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors read."""
        return (self.input,)


Step = ConvStep | PoolStep | ConcatStep | ProductStep | TransposeStep


@dataclass(frozen=True)
class StepSegment:
    """Integer steps of one unit without other work in between.

    Attributes:
        steps: In topological order.
        inputs: Tensors entering.
        outputs: Tensors leaving.
    """

    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def unit(self) -> str:
        """Name of the unit."""
        return self.steps[0].unit


@dataclass(frozen=True)
class Skeleton:
    """Everything about a quantized graph that numbers do not change.

    Attributes:
        source: The float graph.
        segments: In execution order; a :class:`Graph` is a float segment.
        shapes: ``(N, C, H, W)`` of every tensor of the steps.
        views: As in :class:`~compiler_core.quantize.ir.QuantizedGraph`.
        cpu_reasons: Why a node that was assigned to the NPU runs on the CPU, by node.
        channels: Where the channels of a tensor of the steps lie in the graph tensor of that name,
            for those that lie along one axis.
        kinds: Of the units, by name.
        elsewhere: Units with numbers of their own, by position of the float segment that each runs.
    """

    source: Graph
    segments: tuple[Graph | StepSegment, ...]
    shapes: Mapping[str, Shape]
    views: Mapping[str, TensorView]
    cpu_reasons: Mapping[str, str]
    channels: Mapping[str, ChannelAxis]
    kinds: Mapping[str, str]
    elsewhere: Mapping[int, NumberUnit] = field(default_factory=dict)

    @property
    def steps(self) -> tuple[Step, ...]:
        """All integer steps in execution order."""
        return tuple(
            step
            for segment in self.segments
            if isinstance(segment, StepSegment)
            for step in segment.steps
        )

    @property
    def calibrated(self) -> tuple[str, ...]:
        """Tensors of the float graph whose ranges the exponents need."""
        return tuple(name for name in self.shapes if name in self.source.types)
