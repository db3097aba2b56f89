"""The facet of kinds whose programs generated sources start: what a board's processor has to do.

All segments of a model lie in one memory that the units and the processor see, from address 0. The
processor writes constants and instructions there once, inputs before the launches of a segment, and
reads outputs behind them, through a driver of five functions that the kind implements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph
from compiler_core.quantize.ir import QuantizedTensor, TensorView
from compiler_core.units.registry import unit_kind

_FACET = "driving"


@dataclass(frozen=True, eq=False)
class DrivenTensor:
    """A tensor that enters or leaves.

    Attributes:
        address: Of its first byte.
        places: ``int64[bytes]``: per byte, the element of ``[N, C, H, W]`` that lies there, -1
            where none does.
    """

    address: int
    places: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DrivenSegment:
    """A segment as a processor sees it.

    Attributes:
        tensors: Those that enter or leave, by name.
        image_address, image: Bytes of the memory before the first launch.
        launches: In order; of each, number of the core and its instructions.
    """

    tensors: Mapping[str, DrivenTensor]
    image_address: int
    image: bytes
    launches: tuple[tuple[tuple[int, bytes], ...], ...]


@dataclass(frozen=True, eq=False)
class DrivenStep:
    """A segment of a compiled model.

    Attributes:
        name: Of the segment.
        inputs, outputs: Tensors of the model.
        model: Of a segment on the CPU, as ONNX.
        segment: Of one that is started.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    model: bytes = b""
    segment: DrivenSegment | None = None


@dataclass(frozen=True, eq=False)
class DrivenModel:
    """A compiled model whose programs a processor starts.

    Attributes:
        title: For people.
        signature: Inputs and outputs, and types of the tensors at borders.
        tensors, views: Int8 tensors at borders, and how the model's tensors lie over them.
        steps: In order.
        memory_bytes: Of the memory that programs know.
        instruction_bytes: Of an instruction.
        files: Implementations of the driver by file name.
    """

    title: str
    signature: Graph
    tensors: Mapping[str, QuantizedTensor]
    views: Mapping[str, TensorView]
    steps: tuple[DrivenStep, ...]
    memory_bytes: int
    instruction_bytes: int
    files: Mapping[str, str]


@runtime_checkable
class Driving(Protocol):
    """What generated sources need from a kind."""

    def segment(self, segment: Any, machine: Any) -> DrivenSegment:
        """A segment as a processor sees it."""
        ...

    def instruction_bytes(self, machine: Any) -> int:
        """Bytes of an instruction."""
        ...

    def files(self, machine: Any) -> Mapping[str, str]:
        """Implementations of the driver in C by file name, ``npu_simulator.c`` among them."""
        ...


def driving_of(kind: str) -> Driving | None:
    """Who starts programs of a kind; ``None`` where nobody does."""
    found = unit_kind(kind)
    return found.facet(_FACET, Driving) if found.has(_FACET) else None
