"""The documents of a segment's folder, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler_core.units.vta.link.placed_tensor import InputFold

LAYOUT_SCHEMA = "nest-tune/layout/1"
RUNS_SCHEMA = "nest-tune/runs/1"
RUNS = "runs.json"
"""File of :class:`RunsFile`, where launches continue one another."""


def layout_name(lanes: int) -> str:
    """Layout of activations in DRAM; missing channels of the last vector are padding."""
    return f"N,C/{lanes},H,W,{lanes}"


@dataclass(frozen=True)
class LayoutTensor:
    """An activation in DRAM; see :class:`~compiler_core.units.vta.link.placed_tensor.PlacedTensor`.

    Attributes:
        address: Of its first byte.
        bytes: Of one sample.
        sample_stride_bytes: From one sample to the next.
        shape: ``(N, C, H, W)``.
        type: ``int8``.
        layout: :func:`layout_name` of the channels of a vector.
        fold: Kernel taps that the CPU lays out as channels.
    """

    address: int
    bytes: int
    sample_stride_bytes: int
    shape: tuple[int, int, int, int]
    type: str
    layout: str
    fold: InputFold | None


@dataclass(frozen=True)
class LayoutLaunch:
    """An operator: ``NAME/core-K/instructions.bin`` for each of its cores, 16 bytes per
    instruction, little-endian."""

    name: str
    layer: str
    sources: tuple[str, ...]
    task: str
    cores: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Layout:
    """``layout.json``.

    Attributes:
        image_address: Physical address of the first byte of ``dram.bin``.
        image_bytes: Its size.
        tensors: Every activation.
        launches: In order.
    """

    image_address: int
    image_bytes: int
    tensors: Mapping[str, LayoutTensor]
    launches: tuple[LayoutLaunch, ...]


@dataclass(frozen=True)
class RunsFile:
    """``runs.json``: launches whose layers are in one program. That lies where the program of the
    first launch lies; ``layers.bin`` beside it says of each instruction which of the run's layers
    it is of, as 32-bit numbers from 0, little-endian; the other launches have no files.

    Attributes:
        runs: Names of the launches of each, in the order of the layout, two or more.
    """

    runs: tuple[tuple[str, ...], ...]
