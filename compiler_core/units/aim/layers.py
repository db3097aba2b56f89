"""The layers of a model on AiM units: the facet :class:`~compiler_core.units.unit.Layers`.

Only matrices over few rows become layers; windows that slide over an image are left to others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from compiler_core.quantize.ir import (
    FloatSegment,
    IntegerConv,
    IntegerSegment,
    QuantizedTensor,
)
from compiler_core.tensor.task import Task
from compiler_core.units.aim.machine.machine import BLOCK_BYTES, AimMachine
from compiler_core.units.aim.model.layers import ProductLayer, product_layers
from compiler_core.units.aim.operators.products import MOST_ROWS
from compiler_core.units.aim.schedule.schedule import Schedule
from compiler_core.units.aim.schedule.workload import ElementProduct, MatrixVector, Workload


@dataclass(frozen=True)
class AimLayer:
    """An operator and its task."""

    operator: IntegerConv
    task: Task


@dataclass(frozen=True)
class AimSegmentLayers:
    """The layers of a segment: integer operators that stand for products, or products."""

    segment: IntegerSegment | FloatSegment
    layers: tuple[AimLayer | ProductLayer, ...]


class AimLayers:
    """See :class:`~compiler_core.units.unit.Layers`."""

    def layers(
        self,
        segment: IntegerSegment | FloatSegment,
        tensors: Mapping[str, QuantizedTensor],
        from_cpu: Collection[str],
        machine: AimMachine,
    ) -> AimSegmentLayers:
        del from_cpu, machine  # every input is converted to bfloat16 all the same
        if isinstance(segment, FloatSegment):
            return AimSegmentLayers(segment, tuple(product_layers(segment.graph)))
        found = []
        for operator in segment.operators:
            if isinstance(operator, IntegerConv):
                work = _workload(operator, tensors)
                if work is not None:
                    found.append(AimLayer(operator, Task("aim", work)))
        return AimSegmentLayers(segment, tuple(found))

    def layout_varies(self, workload: Workload) -> bool:
        del workload
        return False

    def input_bytes(self, workload: Workload, schedule: Schedule, machine: AimMachine) -> int:
        del schedule, machine
        if isinstance(workload, ElementProduct):
            return 2 * workload.blocks * BLOCK_BYTES
        return workload.vectors * workload.heads * workload.columns * BLOCK_BYTES


LAYERS = AimLayers()


def _workload(operator: IntegerConv, tensors: Mapping[str, QuantizedTensor]) -> MatrixVector | None:
    """The product that an operator is; ``None`` for windows and for many rows."""
    batch, _, height, width = tensors[operator.input].shape
    _, _, out_height, out_width = tensors[operator.output].shape
    outputs, *rest = operator.weight.shape
    whole = (out_height, out_width) == (1, 1) and tuple(rest[1:]) == (height, width)
    points = tuple(rest[1:]) == (1, 1) and (out_height, out_width) == (height, width)
    rows = batch * out_height * out_width
    if not (whole or points) or any(operator.pads) or rows > MOST_ROWS:
        return None
    if outputs == operator.groups:
        return None  # a product per channel is none of a matrix
    inputs = rest[0] * rest[1] * rest[2]
    return MatrixVector(
        outputs // operator.groups, inputs, rows, operator.groups, bias=bool(operator.bias.any())
    )
