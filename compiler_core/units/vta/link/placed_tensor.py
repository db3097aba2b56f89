"""Where activations of a whole model lie in DRAM."""

from __future__ import annotations

from dataclasses import dataclass

from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.schedule.schedule import FoldVariant


@dataclass(frozen=True)
class InputFold:
    """How the CPU lays out an input whose kernel taps became channels."""

    variant: FoldVariant
    workload: ConvWorkload


@dataclass(frozen=True)
class PlacedTensor:
    """An activation ``int8[N][C/lanes][H][W][lanes]`` in DRAM.

    Attributes:
        shape: ``(N, C, H, W)``, before any fold.
        address: Of the first byte.
        sample_bytes: From one sample to the next; more than its own size in a slice of a
            concatenation.
        size_bytes: Of one sample.
        fold: Layout variant of an input.
        lanes: Channels of a vector.
    """

    shape: tuple[int, int, int, int]
    address: int
    sample_bytes: int
    size_bytes: int
    fold: InputFold | None = None
    lanes: int = 16
