"""A compiled model in memory: what the runner executes, whether compiled just now or read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from compiler_core.graph.ir import Graph
from compiler_core.quantize.ir import QuantizedTensor, TensorView
from compiler_core.targets.target import Target, Unit
from compiler_core.units.facets.programs import Units, UnitSegment
from compiler_core.units.ways import INT8, ways_of

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
        memory_bytes: Size of the memory of each unit, by its name.
        placed: Name of the unit of each segment that does not run on the CPU, by the segment's.
    """

    target: Target
    signature: Graph
    tensors: Mapping[str, QuantizedTensor]
    views: Mapping[str, TensorView]
    segments: tuple[Segment, ...]
    memory_bytes: Mapping[str, int]
    placed: Mapping[str, str]

    @property
    def dram_bytes(self) -> int:
        """Size of all those memories."""
        return sum(self.memory_bytes.values())

    @property
    def npu_segments(self) -> Iterator[UnitSegment]:
        """The integer segments, in execution order."""
        return (segment for segment in self.segments if not isinstance(segment, CpuSegment))

    def unit_of(self, segment: UnitSegment) -> Unit:
        """What runs an integer segment."""
        return self.target.unit(self.placed[segment.name])

    def is_integer(self, segment: UnitSegment) -> bool:
        """Whether a segment computes in integers, and not in numbers of its unit's own."""
        machine = self.unit_of(segment).machine
        return ways_of(machine).formats(machine)[0] == INT8

    @property
    def unit_segments(self) -> Mapping[str, tuple[UnitSegment, ...]]:
        """The integer segments of each unit that has some, by its name."""
        found: dict[str, tuple[UnitSegment, ...]] = {}
        for segment in self.npu_segments:
            name = self.placed[segment.name]
            found[name] = (*found.get(name, ()), segment)
        return found

    @property
    def constant_outputs(self) -> frozenset[str]:
        """Outputs of the model that are the same for all samples."""
        names = (part.outputs for part in self.segments if part.name == CONSTANTS)
        return frozenset(name for outputs in names for name in outputs)


def units_of(target: Target, unit: Unit) -> Units:
    """The cores of a unit."""
    return Units(unit.machine, unit.cores, target.name, unit.name, len(target.units) == 1)
