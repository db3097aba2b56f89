"""One core's part of a layer over the tensors of a whole model."""

from __future__ import annotations

from dataclasses import dataclass

from compiler_core.tensor.workload import Workload
from compiler_core.units.vta.link.placed_tensor import PlacedTensor
from compiler_core.units.vta.lower.placement import Image
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.schedule.schedule import Schedule
from compiler_core.units.vta.structure.slicing import Slice, SliceAxis


def whole(workload: Workload) -> Slice:
    """A layer that is not cut."""
    return Slice(workload, SliceAxis.CHANNELS)


@dataclass(frozen=True)
class SlicePart:
    """A slice and its schedule.

    Attributes:
        piece: What the core computes.
        schedule: Of that.
    """

    piece: Slice
    schedule: Schedule

    def input_image(self, tensor: PlacedTensor, of: Workload, g: VtaGeometry) -> Image:
        """What it reads of the input ``tensor`` of the whole workload ``of``."""
        piece = self.piece
        return _part(tensor, piece.in_block, piece.in_row, of.in_height, of.in_width, piece, of, g)

    def output_image(self, tensor: PlacedTensor, of: Workload, g: VtaGeometry) -> Image:
        """What it writes of the output, or reads of the residual, of the whole workload."""
        piece = self.piece
        return _part(tensor, piece.block, piece.row, of.out_height, of.out_width, piece, of, g)


def _part(
    tensor: PlacedTensor,
    block: int,
    row: int,
    height: int,
    width: int,
    piece: Slice,
    of: Workload,
    g: VtaGeometry,
) -> Image:
    if piece.workload == of:
        return Image(tensor.address, tensor.sample_bytes, pitch=max(1, tensor.lanes // g.block_out))
    plane = height * width
    first = (block * plane + row * width) * g.element_bytes.inp
    return Image(tensor.address + first, tensor.sample_bytes, plane)
