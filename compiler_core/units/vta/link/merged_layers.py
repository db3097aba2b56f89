"""Layers of a segment that follow one another as one program of one core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.link.activations import Schedules
from compiler_core.units.vta.link.constant_pool import ConstantPool
from compiler_core.units.vta.link.lower_part import lower_part
from compiler_core.units.vta.link.placed_tensor import PlacedTensor
from compiler_core.units.vta.link.segment import Layer, SegmentLayers
from compiler_core.units.vta.link.slice_part import SlicePart, whole
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.merge.choose import choose_entries, merged_program
from compiler_core.units.vta.merge.merge import Entry, JoinedInstructions
from compiler_core.units.vta.merge.places import place_layers


@dataclass(frozen=True, eq=False)
class MergedSegment:
    """Layers as one program.

    Attributes:
        instructions: ``uint8[n, 16]``.
        layers: ``int32[n]``, the layer of each instruction, by position among them.
        entries: How each layer begins.
        cycles: From the launch to FINISH.
    """

    instructions: npt.NDArray[np.uint8]
    layers: npt.NDArray[np.int32]
    entries: tuple[Entry, ...]
    cycles: int


def merge_segment(
    segment: SegmentLayers | Sequence[Layer],
    schedules: Schedules,
    layout: Mapping[str, PlacedTensor],
    pool: ConstantPool,
    core: VtaCore,
    entries: Sequence[Entry | None] | None = None,
) -> MergedSegment:
    """Lowers layers into one program; constants and micro-ops go into ``pool``.

    Args:
        segment: All of its layers, or some that follow one another.
        schedules: Per task id.
        layout: Every tensor.
        pool: Takes constants.
        core: The machine.
        entries: How each layer begins; what is open is chosen by the timing simulator.

    Raises:
        InfeasibleError: A schedule does not fit its layer.
        InputError: A schedule is for another kind of operator.
    """
    geometry = core.geometry
    drafts = []
    for layer in segment.layers if isinstance(segment, SegmentLayers) else segment:
        part = SlicePart(whole(layer.workload), schedules[layer.task.id])
        drafts.append(lower_part(layer, part, layout, pool, geometry))
    joined = JoinedInstructions(place_layers(drafts, pool.place, geometry), geometry)
    chosen = tuple(choose_entries(joined, core, entries))
    cycles, merged = merged_program(joined, core, chosen)
    return MergedSegment(merged.instructions, merged.layers, chosen, cycles)
