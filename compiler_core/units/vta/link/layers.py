"""The layers of a model on VTA and how their data lies: the facet
:class:`~compiler_core.units.unit.Layers`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from compiler_core.quantize.ir import IntegerSegment, QuantizedTensor
from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.vta.link.segment import SegmentLayers, segment_layers
from compiler_core.units.vta.lower.layer import input_bytes
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.schedule import Schedule
from compiler_core.units.vta.structure.fold import foldable


class VtaLayers:
    """See :class:`~compiler_core.units.unit.Layers`."""

    def layers(
        self,
        segment: IntegerSegment,
        tensors: Mapping[str, QuantizedTensor],
        from_cpu: Collection[str],
        machine: VtaCore,
    ) -> SegmentLayers:
        return segment_layers(segment, tensors, from_cpu, machine.geometry)

    def layout_varies(self, workload: Workload) -> bool:
        return isinstance(workload, ConvWorkload) and foldable(workload)

    def input_bytes(self, workload: Workload, schedule: Schedule, machine: VtaCore) -> int:
        return workload.batch * input_bytes(workload, schedule, machine.geometry)


LAYERS = VtaLayers()
