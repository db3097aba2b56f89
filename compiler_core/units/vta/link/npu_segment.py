"""A linked segment: launches, constants, and where its activations lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.ir import IntegerOperator
from compiler_core.units.vta.link.launch import VtaLaunch
from compiler_core.units.vta.link.placed_tensor import PlacedTensor
from compiler_core.units.vta.machine.hardware import VtaCore


@dataclass(frozen=True, eq=False)
class NpuSegment:
    """A segment as programs.

    Attributes:
        name: For people and file names.
        operators: The integer operators, which define the bits.
        inputs, outputs: Tensors that enter and leave.
        layout: Every activation.
        image_address: Where ``image`` lies in DRAM.
        image: ``uint8[bytes]``: DRAM before the first launch.
        launches: In order.
    """

    name: str
    operators: tuple[IntegerOperator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layout: Mapping[str, PlacedTensor]
    image_address: int
    image: npt.NDArray[np.uint8]
    launches: tuple[VtaLaunch, ...]
    kind: ClassVar[str] = VtaCore.kind

    @property
    def constants(self) -> bytes:
        """The image."""
        return self.image.tobytes()

    def tensor_bytes(self, name: str) -> int:
        """Bytes of all samples of a tensor as it is laid out."""
        placed = self.layout[name]
        return placed.shape[0] * placed.size_bytes

    def with_launches(self, launches: Sequence[VtaLaunch]) -> NpuSegment:
        """The same with other launches."""
        return replace(self, launches=tuple(launches))
