"""Random integer segments: chains with residuals, concatenations, pools and depthwise layers."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np

from compiler_core.quantize.ir import (
    IntegerConcat,
    IntegerConv,
    IntegerMaxPool,
    IntegerOperator,
    IntegerSegment,
    QuantizedTensor,
)
from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.link.segment import SegmentLayers, segment_layers
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.schedule import Schedule
from tests.compiler_core.units.vta.random_schedules import random_schedule
from tests.compiler_core.units.vta.vectors import GEOMETRY

Shape = tuple[int, int, int, int]


@dataclass
class _Builder:
    r: random.Random
    shapes: dict[str, Shape] = field(default_factory=dict)
    operators: list[IntegerOperator] = field(default_factory=list)

    def conv(self, source: str, channels: int, kernel: int, **options: object) -> str:
        n, inputs, height, width = self.shapes[source]
        stride = int(options.get("stride", 1))  # type: ignore[call-overload]
        groups = inputs if options.get("depthwise") else 1
        pad = kernel // 2
        name = f"t{len(self.operators)}"
        rng = np.random.default_rng(self.r.randrange(1 << 30))
        shifts = rng.integers(4, 9, channels, dtype=np.int32) if self.r.random() < 0.2 else None
        residual = options.get("residual")
        self.operators.append(
            IntegerConv(
                name=name,
                input=source,
                output=name,
                weight=rng.integers(
                    -9, 10, (channels, inputs // groups, kernel, kernel), dtype=np.int8
                ),
                bias=rng.integers(-999, 1000, channels, dtype=np.int32),
                strides=(stride, stride),
                pads=(pad,) * 4,
                dilations=(1, 1),
                groups=groups,
                shift=int(shifts.max()) if shifts is not None and residual is None else 6,
                clip_min=self.r.choice([0, -128]),
                clip_max=127,
                residual=str(residual) if residual is not None else None,
                residual_shift=3 if residual is not None else 0,
                channel_shifts=shifts if residual is None else None,
            )
        )
        out = [(size + 2 * pad - kernel) // stride + 1 for size in (height, width)]
        self.shapes[name] = (n, channels, out[0], out[1])
        return name

    def pool(self, source: str) -> str:
        n, channels, height, width = self.shapes[source]
        name = f"t{len(self.operators)}"
        self.operators.append(IntegerMaxPool(name, source, name, (2, 2), (2, 2), (0, 0, 0, 0)))
        self.shapes[name] = (n, channels, height // 2, width // 2)
        return name

    def concat(self, one: str, other: str) -> str:
        name = f"t{len(self.operators)}"
        self.operators.append(IntegerConcat(name, (one, other), name))
        n, channels, height, width = self.shapes[one]
        self.shapes[name] = (n, channels + self.shapes[other][1], height, width)
        return name


def random_segment(r: random.Random) -> SegmentLayers:
    """Two to seven operators; every tensor that nothing reads is an output."""
    b = _Builder(r)
    b.shapes["x"] = (r.choice([1, 1, 2]), r.choice([3, 16, 32]), r.randint(4, 14), r.randint(4, 14))
    now = "x"
    for _ in range(r.randint(2, 7)):
        kind = r.choice(["conv", "conv", "conv", "depthwise", "pool", "residual", "concat"])
        shape = b.shapes[now]
        if kind == "depthwise":
            now = b.conv(now, shape[1], 3, depthwise=True, stride=r.choice([1, 2]))
        elif kind == "pool" and min(shape[2:]) >= 2:
            now = b.pool(now)
        elif kind == "residual" and now != "x":
            middle = b.conv(now, r.choice([16, 32]), r.choice([1, 3]))
            now = b.conv(middle, shape[1], r.choice([1, 3]), residual=now)
        elif kind == "concat" and now != "x":
            left = b.conv(now, r.choice([16, 32]), 1)
            now = b.concat(left, b.conv(now, r.choice([8, 16]), r.choice([1, 3])))
        else:
            now = b.conv(
                now, r.choice([10, 16, 40]), r.choice([1, 3, 5]), stride=r.choice([1, 1, 2])
            )
    read = {
        name
        for operator in b.operators
        for name in (
            operator.inputs
            if isinstance(operator, IntegerConcat)
            else (operator.input, getattr(operator, "residual", None))
        )
        if name is not None
    }
    outputs = tuple(operator.output for operator in b.operators if operator.output not in read)
    segment = IntegerSegment("00-vta", "vta", tuple(b.operators), ("x",), outputs)
    tensors = {name: QuantizedTensor(name, shape, 4) for name, shape in b.shapes.items()}
    return segment_layers(segment, tensors, {"x"}, GEOMETRY)


def random_schedules(r: random.Random, layers: SegmentLayers, core: VtaCore) -> dict[str, Schedule]:
    """A random legal schedule for most convolutions, the default one for the others."""
    found: dict[str, Schedule] = {}
    for layer in layers.layers:
        schedule: Schedule | None = None
        if isinstance(layer.workload, ConvWorkload) and r.random() < 0.7:
            schedule = random_schedule(r, layer.workload, core)
        found[layer.task.id] = schedule or default_schedule(layer.workload, core)
    return found
