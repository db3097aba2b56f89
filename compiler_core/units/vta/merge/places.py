"""Where the layers of one program lie in the on-chip buffers: each beside the one before it where
both fit, so that it can be loaded while that one still computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.lower.draft import BufferOrigin, Draft, Placed, encoded
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.merge.accesses import (
    READ_ACC_END,
    WRITE_ACC_END,
    WRITE_INP_END,
    WRITE_WGT_END,
    accesses,
)


@dataclass(frozen=True, eq=False)
class PlacedLayer:
    """A layer with its places.

    Attributes:
        draft: Its program, at ``origin``.
        origin, size: First element, and elements, of each on-chip buffer that it uses.
        micro_op_begin: First element of the micro-op buffer that it uses.
        micro_op_address: DRAM position of its micro-ops, in micro-ops (even).
    """

    draft: Draft
    origin: BufferOrigin
    size: BufferOrigin
    micro_op_begin: int
    micro_op_address: int

    def placed(self, geometry: VtaGeometry) -> Placed:
        """Its instructions."""
        return self.draft.placed(self.micro_op_address, geometry.depth.uop, self.micro_op_begin)

    def beside(self, other: PlacedLayer) -> bool:
        """Whether the input and weight buffers hold both."""
        return all(
            _apart(*ranges)
            for ranges in zip(
                self.origin[:2], self.size[:2], other.origin[:2], other.size[:2], strict=True
            )
        )

    def micro_ops_beside(self, other: PlacedLayer, depth: int) -> bool:
        """Whether the micro-op buffer holds both, this one loaded as a whole."""
        return (
            self.draft.resident(depth)
            and other.draft.resident(depth)
            and not self.draft.marks
            and _apart(
                self.micro_op_begin,
                self.draft.micro_op_count,
                other.micro_op_begin,
                other.draft.micro_op_count,
            )
        )


def _apart(first: int, size: int, other: int, other_size: int) -> bool:
    return first + size <= other or other + other_size <= first


def place_layers(
    drafts: Sequence[Draft],
    place_micro_ops: Callable[[npt.NDArray[np.uint32]], int],
    geometry: VtaGeometry,
) -> list[PlacedLayer]:
    """Places layers in the on-chip buffers.

    Args:
        drafts: In order, from the first element of each buffer on.
        place_micro_ops: Gives micro-ops an address, in bytes.
        geometry: The machine.
    """
    depth = geometry.depth
    sizes = [footprint(draft, geometry) for draft in drafts]
    buffers = zip(*sizes, strict=True)
    depths = (depth.inp, depth.wgt, depth.acc)
    places = [_beside(list(used), deep) for used, deep in zip(buffers, depths, strict=True)]
    origins = [BufferOrigin(*place) for place in zip(*places, strict=True)]
    all_moved = [draft.moved(origin) for draft, origin in zip(drafts, origins, strict=True)]
    begins = _micro_op_places(drafts, all_moved, depth.uop)
    result = []
    for moved, size, origin, begin in zip(all_moved, sizes, origins, begins, strict=True):
        address = place_micro_ops(moved.micro_ops)
        position = address // geometry.element_bytes.uop
        result.append(PlacedLayer(moved, origin, size, begin, position))
    return result


def footprint(draft: Draft, geometry: VtaGeometry) -> BufferOrigin:
    """Elements of each on-chip buffer that a draft uses, from the first on."""
    return _footprint(draft.home or draft, geometry)


@lru_cache(maxsize=1 << 12)
def _footprint(draft: Draft, geometry: VtaGeometry) -> BufferOrigin:
    touched = accesses(encoded(list(draft.words)), draft.table_by_instruction, geometry)
    ends = touched.max(axis=0)
    accumulators = max(ends[WRITE_ACC_END], ends[READ_ACC_END])
    return BufferOrigin(int(ends[WRITE_INP_END]), int(ends[WRITE_WGT_END]), int(accumulators))


def _beside(sizes: Sequence[int], depth: int) -> list[int]:
    places = []
    first = end = 0  # what the layer before uses
    for size in sizes:
        if end + size <= depth:
            place = end
        elif size <= first:
            place = 0
        else:
            place = depth - size if first < depth - end else 0
        places.append(place)
        first, end = place, place + size
    return places


def _micro_op_places(drafts: Sequence[Draft], moved: Sequence[Draft], depth: int) -> list[int]:
    """First micro-op of each layer on chip.

    A table that instructions of two kinds share is two once their operands have moved differently,
    so a layer may reach into the next one's place, which is then loaded after it; never beyond the
    buffer.
    """
    places, head = [], 0
    for draft, own in zip(drafts, moved, strict=True):
        if not draft.resident(depth):
            places.append(0)
            head = depth
            continue
        if head + max(draft.micro_op_count, own.micro_op_count) > depth:
            head = 0
        places.append(head)
        head += draft.micro_op_count
    return places
