"""A compiled model in memory: what the runner executes, whether compiled just now or read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from compiler_core.graph.ir import Graph
from compiler_core.quantize.ir import QuantizedTensor, View
from compiler_core.targets.target import Target
from compiler_core.units.facets.programs import Units, UnitSegment

CONSTANTS = "constants"
"""Name of the segment that hands out the model's constant outputs; they have no sample axis."""


@dataclass(frozen=True)
class CpuSegment:
    """A float segment as an ONNX model.

    Attributes:
        name: For people and file names.
        inputs, outputs: Tensors of the whole model.
        model: Serialized ``ModelProto``.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    model: bytes


Segment = CpuSegment | UnitSegment


@dataclass(frozen=True, eq=False)
class Executable:
    """Everything that a run needs.

    Attributes:
        target: The machine.
        signature: A graph without nodes: the model's inputs and outputs, and the types of the
            tensors at borders.
        tensors: Int8 tensors at borders.
        views: How border tensors lie over them.
        segments: In execution order.
        dram_bytes: Size of the NPU's memory.
    """

    target: Target
    signature: Graph
    tensors: Mapping[str, QuantizedTensor]
    views: Mapping[str, View]
    segments: tuple[Segment, ...]
    dram_bytes: int

    @property
    def npu_segments(self) -> Iterator[UnitSegment]:
        """The integer segments, in execution order."""
        return (segment for segment in self.segments if not isinstance(segment, CpuSegment))

    @property
    def units(self) -> Units:
        """What runs the integer segments."""
        return units_of(self.target)

    @property
    def constant_outputs(self) -> frozenset[str]:
        """Outputs of the model that are the same for all samples."""
        names = (part.outputs for part in self.segments if part.name == CONSTANTS)
        return frozenset(name for outputs in names for name in outputs)


def units_of(target: Target) -> Units:
    """The units of a target beside its CPU."""
    return Units(target.npu, target.npu_cores, target.name)
