"""Where the activations of a segment lie: their sizes, lifetimes and addresses.

Those of all segments take turns in one region from :data:`~compiler_core.memory.plan.ALIGNMENT` on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from compiler_core.errors import InfeasibleError
from compiler_core.memory.plan import ALIGNMENT, DramPlan, Lifetime, plan_buffers
from compiler_core.quantize.ir import tensors_of
from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.link.placed_tensor import InputFold, PlacedTensor
from compiler_core.units.vta.link.segment import SegmentLayers
from compiler_core.units.vta.lower.layer import image_bytes
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.schedule.schedule import ConvSchedule, FoldVariant, Schedule
from compiler_core.units.vta.structure.conv_structure import BLOCK
from compiler_core.units.vta.structure.fold import fold_workload, foldable, in_pixels

Schedules = Mapping[str, Schedule]


def plan_activations(segment: SegmentLayers, schedules: Schedules, g: VtaGeometry) -> DramPlan:
    """Places the buffers of a segment's activations by their lifetimes.

    Args:
        segment: Layers and slices.
        schedules: One per task id; a fold changes the size of its input.
        g: Element widths.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}

    def touch(name: str, time: int) -> None:
        root = segment.slices[name].root
        first[root] = min(first.get(root, time), time)
        last[root] = max(last.get(root, time), time)

    for name in segment.segment.inputs:
        touch(name, -1)
    for time, layer in enumerate(segment.layers):
        for tensor in tensors_of(layer.operator):
            touch(tensor, time)
    for name in segment.segment.outputs:
        touch(name, len(segment.layers))
    sizes = buffer_bytes(segment, first, schedules, g)
    return plan_buffers(
        Lifetime(root, size, first[root], last[root]) for root, size in sizes.items()
    )


def buffer_bytes(
    segment: SegmentLayers, roots: Iterable[str], schedules: Schedules, g: VtaGeometry
) -> dict[str, int]:
    """Sizes of buffers: all samples of the tensor that fills each."""
    folds = folds_of(segment, schedules)
    return {
        root: _sample_bytes(segment, root, folds, g) * segment.tensors[root].shape[0]
        for root in roots
    }


def folds_of(segment: SegmentLayers, schedules: Schedules) -> dict[str, InputFold]:
    """How schedules fold inputs of few channels, by name of the input.

    Raises:
        InfeasibleError: A schedule folds what is no such input.
    """
    folds = {}
    for layer in segment.layers:
        schedule = schedules.get(layer.task.id)  # none for what is sliced, which folds nothing
        if isinstance(schedule, ConvSchedule) and schedule.fold is not FoldVariant.NONE:
            assert isinstance(layer.workload, ConvWorkload)
            if not foldable(layer.workload):
                raise InfeasibleError(
                    f"schedule of task {layer.task.id}: fold {schedule.fold.value!r} needs an "
                    f"input of few channels that the CPU lays out for it alone; "
                    f"{layer.operator.input!r} is not one",
                    hint='use fold = "none"',
                )
            folds[layer.operator.input] = InputFold(schedule.fold, in_pixels(layer.workload))
    return folds


def _sample_bytes(
    segment: SegmentLayers, name: str, folds: Mapping[str, InputFold], g: VtaGeometry
) -> int:
    _, channels, height, width = segment.tensors[name].shape
    if name in folds:
        folded = fold_workload(folds[name].workload, folds[name].variant)
        channels, height, width = folded.in_channels, folded.in_height, folded.in_width
        return image_bytes(channels, height, width, BLOCK)
    return image_bytes(channels, height, width, g.lanes)


def place_activations(
    segment: SegmentLayers, plan: DramPlan, schedules: Schedules, g: VtaGeometry
) -> dict[str, PlacedTensor]:
    """Addresses of every tensor of a segment, slices included."""
    folds = folds_of(segment, schedules)
    placed = {}
    for name, where in segment.slices.items():
        if where.root not in plan.offsets:
            continue
        shape = segment.tensors[name].shape
        block_bytes = shape[2] * shape[3] * g.lanes
        placed[name] = PlacedTensor(
            shape,
            ALIGNMENT + plan.offsets[where.root] + where.block * block_bytes,
            _sample_bytes(segment, where.root, folds, g),
            _sample_bytes(segment, name, folds, g),
            folds.get(name),
            BLOCK if name in folds else g.lanes,
        )
    return placed
