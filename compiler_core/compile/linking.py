"""Layers and schedules to an executable: one DRAM for all segments, verified programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from compiler_core.errors import InternalError
from compiler_core.executable.executable import CONSTANTS, CpuSegment, Executable, Segment
from compiler_core.graph.exporter import export_onnx
from compiler_core.graph.ir import Graph
from compiler_core.memory.concurrent import Buffer, ancestors, plan_concurrent_buffers
from compiler_core.memory.plan import ALIGNMENT, DramPlan, align
from compiler_core.quantize.ir import (
    FloatSegment,
    IntegerConv,
    IntegerSegment,
    QuantizedGraph,
    QuantizedTensor,
)
from compiler_core.system.steps import Step
from compiler_core.system.timeline import TaskKind
from compiler_core.targets.target import Target
from compiler_core.units.vta.link.linker import (
    ConstantPool,
    Launch,
    NpuSegment,
    buffer_bytes,
    link_segment,
    place_activations,
    plan_activations,
    verify_launches,
)
from compiler_core.units.vta.link.multicore_conflicts import dram_ranges, unordered_conflict
from compiler_core.units.vta.link.placed_tensor import PlacedTensor
from compiler_core.units.vta.link.segment import SegmentLayers
from compiler_core.units.vta.link.slice_part import SlicePart
from compiler_core.units.vta.schedule.schedule import Schedule


class Linked:
    """All integer segments in one DRAM: activations first, then each segment's constants.

    Args:
        quantized: The model.
        layers: Of its integer segments.
        steps: Of the whole model.
        schedules: By task id.
        sliced: Slices with their schedules, by layer.
        target: The machine.

    Attributes:
        plans: Where the activations of each segment lie.
    """

    def __init__(
        self,
        quantized: QuantizedGraph,
        layers: Sequence[SegmentLayers],
        steps: Sequence[Step],
        schedules: Mapping[str, Schedule],
        sliced: Mapping[str, tuple[SlicePart, ...]],
        target: Target,
    ) -> None:
        geometry = target.npu.geometry
        self._quantized, self._target, self._steps = quantized, target, steps
        if target.npu_cores == 1:
            self.plans = tuple(plan_activations(part, schedules, geometry) for part in layers)
        else:
            self.plans = _concurrent_plans(layers, steps, schedules, target)
        address = ALIGNMENT + align(max((plan.size for plan in self.plans), default=0))
        self._layouts: list[Mapping[str, PlacedTensor]] = []
        self.launches: list[tuple[Launch, ...]] = []
        self._pools: list[ConstantPool] = []
        for part, plan in zip(layers, self.plans, strict=True):
            layout = place_activations(part, plan, schedules, geometry)
            pool = ConstantPool(address)
            self.launches.append(link_segment(part, schedules, layout, pool, geometry, sliced))
            self._layouts.append(layout)
            self._pools.append(pool)
            address = pool.end
        self._dram_bytes = address

    def executable(self) -> Executable:
        """Every program verified, and that those which may run side by side leave one another's
        memory alone.

        Raises:
            InternalError: A program breaks a rule of the machine.
        """
        dram = np.zeros(self._dram_bytes, np.uint8)
        for pool in self._pools:
            pool.write(dram)
        segments: list[Segment] = []
        quantized, number = self._quantized, 0
        for part in quantized.segments:
            if isinstance(part, FloatSegment):
                if part.graph.outputs:
                    segments.append(_cpu_segment(part))
                continue
            pool = self._pools[number]
            # The first image begins at address 0 and so holds the activations' region too.
            start = pool.start if number else 0
            segments.append(
                NpuSegment(
                    part.name,
                    part.operators,
                    part.inputs,
                    part.outputs,
                    self._layouts[number],
                    start,
                    dram[start : pool.end].copy(),
                    self.launches[number],
                )
            )
            number += 1
        segments += constant_outputs(quantized.source)
        for launches in self.launches:
            verify_launches(launches, dram, self._target.npu.geometry)
        if self._target.npu_cores > 1:
            self._require_apart()
        return Executable(
            self._target,
            signature_of(quantized),
            _border_tensors(quantized),
            dict(sorted(quantized.views.items())),
            tuple(segments),
            self._dram_bytes,
        )

    def _require_apart(self) -> None:
        """Launches that no dependence orders can run at the same time."""
        before = ancestors([step.after for step in self._steps])
        programs = [i for i, step in enumerate(self._steps) if step.kind is TaskKind.PROGRAM]
        launches = [launch for part in self.launches for launch in part]
        geometry = self._target.npu.geometry
        accesses = [dram_ranges(launch.instructions, geometry) for launch in launches]
        found = unordered_conflict(accesses, [before[step] for step in programs], programs)
        if found is not None:
            raise InternalError(
                f"layers {launches[found.earlier].layer!r} and {launches[found.later].layer!r} can "
                f"run at the same time and meet in DRAM bytes {found.first_byte:#x} to "
                f"{found.last_byte:#x}"
            )


def _concurrent_plans(
    layers: Sequence[SegmentLayers],
    steps: Sequence[Step],
    schedules: Mapping[str, Schedule],
    target: Target,
) -> tuple[DramPlan, ...]:
    """One plan over all segments, cut into a part for each."""
    parts = {part.segment.name: part for part in layers}
    touched: dict[tuple[str, str], set[int]] = {}
    by_name: dict[str, set[int]] = {}
    for position, step in enumerate(steps):
        if step.kind is TaskKind.OPERATOR:
            continue
        names = [step.name]
        if step.layer is not None:
            operator = step.layer.operator
            residual = operator.residual if isinstance(operator, IntegerConv) else None
            names = [n for n in (operator.input, operator.output, residual) if n is not None]
        for name in names:
            root = parts[step.segment].slices[name].root
            touched.setdefault((step.segment, root), set()).add(position)
            by_name.setdefault(name, set()).add(position)
    # What one segment hands to another lives in both: as long as either needs it.
    for part in layers:
        for name in (*part.segment.inputs, *part.segment.outputs):
            key = part.segment.name, part.slices[name].root
            touched.setdefault(key, set()).update(by_name.get(name, ()))
    geometry = target.npu.geometry
    roots: dict[str, list[str]] = {}
    for segment, root in touched:
        roots.setdefault(segment, []).append(root)
    sizes = {
        segment: buffer_bytes(parts[segment], names, schedules, geometry)
        for segment, names in roots.items()
    }
    buffers = [
        Buffer(f"{segment}\n{root}", sizes[segment][root], frozenset(places))
        for (segment, root), places in touched.items()
    ]
    whole = plan_concurrent_buffers(buffers, ancestors([step.after for step in steps]))
    plans = []
    for part in layers:
        prefix = f"{part.segment.name}\n"
        offsets = {
            name.removeprefix(prefix): offset
            for name, offset in whole.offsets.items()
            if name.startswith(prefix)
        }
        own = sum(align(item.size) for item in buffers if item.name.startswith(prefix))
        plans.append(DramPlan(offsets, whole.size, own))
    return tuple(plans)


def _cpu_segment(segment: FloatSegment) -> CpuSegment:
    graph = segment.graph
    model = export_onnx(graph).SerializeToString(deterministic=True)
    return CpuSegment(segment.name, graph.inputs, graph.outputs, model)


def constant_outputs(source: Graph) -> list[CpuSegment]:
    """A segment that only hands out the model's constant outputs, where there are any."""
    names = tuple(name for name in source.outputs if name in source.constants)
    if not names:
        return []
    graph = replace(
        source,
        nodes=(),
        inputs=(),
        outputs=names,
        constants={name: source.constants[name] for name in names},
    )
    model = export_onnx(graph).SerializeToString(deterministic=True)
    return [CpuSegment(CONSTANTS, (), names, model)]


def _border_tensors(quantized: QuantizedGraph) -> dict[str, QuantizedTensor]:
    names = set(quantized.views)
    for part in quantized.segments:
        if isinstance(part, IntegerSegment):
            names |= {*part.inputs, *part.outputs}
            for operator in part.operators:
                names.add(operator.output)
    return {name: quantized.tensors[name] for name in sorted(names)}


def signature_of(quantized: QuantizedGraph) -> Graph:
    """The model's interface and the types of its border tensors, without nodes."""
    source = quantized.source
    names = {*source.inputs, *source.outputs, *quantized.views}
    return replace(
        source,
        nodes=(),
        constants={},
        types={name: source.types[name] for name in sorted(names) if name in source.types},
        functions=(),
        dynamic_batch=source.dynamic_batch & names,
        batch_dependent=source.batch_dependent & names,
    )
