"""All integer segments of a model in one DRAM: activations first, then each segment's constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InternalError
from compiler_core.memory.concurrent import Buffer, ancestors, plan_concurrent_buffers
from compiler_core.memory.plan import ALIGNMENT, DramPlan, align
from compiler_core.units.facets.programs import (
    LinkedSegments,
    LinkRequest,
    LinkStep,
    MemoryUse,
    continues,
)
from compiler_core.units.facets.runs import joined_after
from compiler_core.units.vta.link.activations import (
    buffer_bytes,
    place_activations,
    plan_activations,
)
from compiler_core.units.vta.link.constant_pool import ConstantPool
from compiler_core.units.vta.link.joined import link_joined
from compiler_core.units.vta.link.linker import verify_launches
from compiler_core.units.vta.link.multicore_conflicts import dram_ranges, unordered_conflict
from compiler_core.units.vta.link.npu_segment import NpuSegment
from compiler_core.units.vta.link.segment import SegmentLayers
from compiler_core.units.vta.machine.hardware import VtaGeometry


def link_model(request: LinkRequest) -> LinkedSegments:
    """Lowers every layer.

    Args:
        request: Layers, schedules, slices by layer, and the steps of the whole model.

    Raises:
        InfeasibleError: A schedule does not fit its layer.
        InputError: A schedule is for another kind of operator, or DRAM ends.
    """
    geometry = request.units.machine.geometry
    plans = _plans(request, geometry)
    activations = align(max((plan.size for plan in plans), default=0))
    address = ALIGNMENT + activations
    parts = []
    borders: dict[str, Mapping[str, int]] = {}
    for layers, plan in zip(request.layers, plans, strict=True):
        layout = place_activations(layers, plan, request.schedules, geometry)
        pool = ConstantPool(address)
        launches, joined = link_joined(
            layers,
            request.schedules,
            layout,
            pool,
            request.units.machine,
            request.pieces,
            request.borders,
        )
        borders |= joined
        parts.append((layers.segment, layout, pool, launches))
        address = pool.end
    dram = np.zeros(address, np.uint8)
    for _, _, pool, _ in parts:
        pool.write(dram)
    segments = []
    for number, (segment, layout, pool, launches) in enumerate(parts):
        # The first image begins at address 0 and so holds the activations' region too.
        start = pool.start if number else 0
        segments.append(
            NpuSegment(
                segment.name,
                segment.operators,
                segment.inputs,
                segment.outputs,
                layout,
                start,
                dram[start : pool.end].copy(),
                launches,
            )
        )
    use = MemoryUse(
        address,
        address - ALIGNMENT - activations,
        activations,
        sum(plan.size_without_reuse for plan in plans),
    )
    return LinkedSegments(tuple(segments), use, borders)


def verify_model(linked: LinkedSegments, request: LinkRequest) -> None:
    """Holds every program to the rules of the machine, and those that may run side by side to
    leaving one another's memory alone.

    Raises:
        InternalError: A program breaks a rule.
    """
    geometry = request.units.machine.geometry
    dram = memory_image(linked.segments, linked.memory.size_bytes)
    for segment in linked.segments:
        verify_launches(segment.launches, dram, geometry)
    if request.units.count > 1 or not request.units.is_alone:
        _require_apart(linked.segments, request.steps, geometry)


def memory_image(segments: Sequence[NpuSegment], size_bytes: int) -> npt.NDArray[np.uint8]:
    """DRAM before the first launch: ``uint8[size_bytes]``, byte i is physical address i."""
    memory = np.zeros(size_bytes, np.uint8)
    for segment in segments:
        memory[segment.image_address : segment.image_address + len(segment.image)] = segment.image
    return memory


def _require_apart(
    segments: Sequence[NpuSegment], steps: Sequence[LinkStep], geometry: VtaGeometry
) -> None:
    """Launches that no dependence orders can run at the same time."""
    every = [launch for segment in segments for launch in segment.launches]
    own = iter(every)
    continued = [step.is_launch and continues(next(own)) for step in steps]
    before = ancestors(joined_after([step.after for step in steps], continued))
    programs = [i for i, step in enumerate(steps) if step.is_launch and not continued[i]]
    launches = [launch for launch in every if not continues(launch)]
    accesses = [dram_ranges(launch.instructions, geometry) for launch in launches]
    found = unordered_conflict(accesses, [before[step] for step in programs], programs)
    if found is not None:
        raise InternalError(
            f"layers {launches[found.earlier].layer!r} and {launches[found.later].layer!r} can "
            f"run at the same time and meet in DRAM bytes {found.first_byte:#x} to "
            f"{found.last_byte:#x}"
        )


def _plans(request: LinkRequest, geometry: VtaGeometry) -> tuple[DramPlan, ...]:
    if request.units.count == 1 and request.units.is_alone:
        return tuple(plan_activations(part, request.schedules, geometry) for part in request.layers)
    return _concurrent_plans(request, geometry)


def _concurrent_plans(request: LinkRequest, geometry: VtaGeometry) -> tuple[DramPlan, ...]:
    """One plan over all segments, cut into a part for each."""
    parts: dict[str, SegmentLayers] = {part.segment.name: part for part in request.layers}
    touched: dict[tuple[str, str], set[int]] = {}
    by_name: dict[str, set[int]] = {}
    for position, step in enumerate(request.steps):
        for name in step.tensors:
            by_name.setdefault(name, set()).add(position)
            if step.segment in parts:
                root = parts[step.segment].slices[name].root
                touched.setdefault((step.segment, root), set()).add(position)
    # What one segment hands to another lives in both: as long as either needs it, be it as a part
    # of what it is concatenated to.
    for part in parts.values():
        for name in part.segment.inputs:
            inside = touched.get((part.segment.name, part.slices[name].root), ())
            by_name.setdefault(name, set()).update(inside)
    for part in parts.values():
        for name in (*part.segment.inputs, *part.segment.outputs):
            key = part.segment.name, part.slices[name].root
            touched.setdefault(key, set()).update(by_name.get(name, ()))
    roots: dict[str, list[str]] = {}
    for segment, root in touched:
        roots.setdefault(segment, []).append(root)
    sizes = {
        segment: buffer_bytes(parts[segment], names, request.schedules, geometry)
        for segment, names in roots.items()
    }
    buffers = [
        Buffer(f"{segment}\n{root}", sizes[segment][root], frozenset(places))
        for (segment, root), places in touched.items()
    ]
    whole = plan_concurrent_buffers(buffers, ancestors([step.after for step in request.steps]))
    plans = []
    for name in parts:
        prefix = f"{name}\n"
        offsets = {
            buffer.removeprefix(prefix): offset
            for buffer, offset in whole.offsets.items()
            if buffer.startswith(prefix)
        }
        own = sum(align(item.size) for item in buffers if item.name.startswith(prefix))
        plans.append(DramPlan(offsets, whole.size, own))
    return tuple(plans)
