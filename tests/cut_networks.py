"""Random networks whose operators several units can share, and random shares of them."""

from __future__ import annotations

import random
from collections.abc import Mapping

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.quantize.channel_classes import channels_of, is_channelwise
from compiler_core.quantize.unit_arithmetics import UnitArithmetics
from compiler_core.quantize.unit_cuts import check_shares, is_leading
from compiler_core.units.names import shared_place
from tests import synthetic_models

CHANNELS = (33, 48, 64, 80, 96)


class CutNetwork:
    """Convolutions, depthwise ones, pools, branches joined by concatenation and by addition, and
    dense layers over what is left of the image."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed)
        self._builder = synthetic_models.Builder(seed)
        self._count = 0

    def grow(self, operators: int) -> bytes:
        b, (name, channels, size) = self._builder, ("x", 5, 8)
        outputs: dict[str, list[object]] = {}
        for _ in range(operators):
            name, channels, size = self._grown(name, channels, size)
            if self._draw.random() < 0.1:  # also handed out, as it lies in the model
                outputs[name] = ["n", channels, size, size]
        if self._draw.random() < 0.5:
            b.add("GlobalAveragePool", [name], "pooled")
            name, size = "pooled", 1
        b.add("Flatten", [name], "rows")
        name, width = self._dense("rows", channels * size * size)
        b.dense(name, "y", width, 7)
        return b.model({"x": ["n", 5, 8, 8]}, {**outputs, "y": ["n", 7]})

    def _grown(self, name: str, channels: int, size: int) -> tuple[str, int, int]:
        draw, choice = self._draw, self._draw.random()
        if channels < min(CHANNELS) or choice < 0.35:
            return self._conv(name, channels, draw.choice(CHANNELS)), channels_now(self), size
        if choice < 0.6:
            made = self._fresh()
            self._builder.conv(name, made, (channels, 1, 3, 3), group=channels)
            return self._maybe_clamped(made), channels, size
        if choice < 0.7 and size > 2:
            made = self._fresh()
            op = draw.choice(["MaxPool", "AveragePool"])
            self._builder.add(op, [name], made, kernel_shape=[2, 2], strides=[2, 2])
            return made, channels, size // 2
        if choice < 0.85:
            wide = draw.choice([32, 64])
            parts = [self._conv(name, channels, wide), self._conv(name, channels, 33)]
            self._builder.add("Concat", parts, made := self._fresh(), axis=1)
            return made, wide + 33, size
        other = self._conv(name, channels, channels)
        self._builder.add("Add", [other, name], made := self._fresh())
        return self._maybe_clamped(made), channels, size

    def _dense(self, name: str, width: int) -> tuple[str, int]:
        """Up to three layers over rows of features."""
        for _ in range(self._draw.randrange(4)):
            wide, made = self._draw.choice(CHANNELS), self._fresh()
            self._builder.dense(name, made, width, wide)
            name, width = self._maybe_clamped(made), wide
        return name, width

    def _conv(self, name: str, channels: int, outputs: int) -> str:
        kernel, made = self._draw.choice([1, 3]), self._fresh()
        self._outputs = outputs
        self._builder.conv(name, made, (outputs, channels, kernel, kernel))
        return self._maybe_clamped(made)

    def _maybe_clamped(self, name: str) -> str:
        if self._draw.random() < 0.5:
            return name
        return self._builder.add("Relu", [name], self._fresh())

    def _fresh(self) -> str:
        self._count += 1
        return f"t{self._count}"


def channels_now(network: CutNetwork) -> int:
    """Outputs of the convolution that was made last."""
    return network._outputs


def random_shares(
    graph: Graph, units: UnitArithmetics, plan: Mapping[str, str], seed: int
) -> dict[str, str]:
    """``plan`` with many operators shared by the first two units, cut wherever that is allowed."""
    draw, found = random.Random(seed), dict(plan)
    names = units.names[:2]
    shares = {}
    for node in graph.nodes:
        total = channels_of(graph, node.output)
        if node.name not in plan or total is None or total <= 32 or draw.random() < 0.2:
            continue
        if is_channelwise(graph, node):
            before = graph.producer(node.inputs[0])
            own = shares.get(before.name) if before is not None else None
        elif is_leading(graph, node):
            first = draw.randrange(32, total, 32)
            order = draw.choice([names, names[::-1], (names[0], names[0])])
            own = ((order[0], first), (order[1], total - first))
        else:
            continue
        if own is None:
            continue
        try:
            check_shares(graph, {**shares, node.name: own}, units)
        except InputError:
            continue
        shares[node.name] = own
        found[node.name] = shared_place(own)
    return found
