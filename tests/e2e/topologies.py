"""Well-known topologies with seeded random weights, batch norms folded as in a trained export."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any


class Network:
    """Names tensors by number and keeps the channels of the last one.

    Args:
        synthetic: The module ``synthetic_models``.
        channels: Of the input.
    """

    def __init__(self, synthetic: ModuleType, channels: int = 3) -> None:
        self.builder = synthetic.Builder(11)
        self.count = 0
        self.channels = {"x": channels}

    def _name(self, channels: int) -> str:
        self.count += 1
        name = f"t{self.count}"
        self.channels[name] = channels
        return name

    def conv(
        self, source: str, out: int, kernel: int, stride: int = 1, *, relu: bool = True,
        groups: int = 1, pad: int | None = None,
    ) -> str:  # fmt: skip
        name = self._name(out)
        pads = [kernel // 2 if pad is None else pad] * 4
        shape = (out, self.channels[source] // groups, kernel, kernel)
        self.builder.conv(source, name, shape, strides=[stride] * 2, pads=pads, group=groups)
        return self.relu(name) if relu else name

    def relu(self, source: str) -> str:
        return str(self.builder.add("Relu", [source], self._name(self.channels[source])))

    def add(self, a: str, b: str) -> str:
        return self.relu(str(self.builder.add("Add", [a, b], self._name(self.channels[a]))))

    def pool(self, source: str, kernel: int, stride: int, pad: int = 0, *, ceil: int = 0) -> str:
        name = self._name(self.channels[source])
        self.builder.add(
            "MaxPool", [source], name, kernel_shape=[kernel] * 2, strides=[stride] * 2,
            pads=[pad] * 4, ceil_mode=ceil,
        )  # fmt: skip
        return name

    def concat(self, parts: list[str]) -> str:
        name = self._name(sum(self.channels[part] for part in parts))
        self.builder.add("Concat", parts, name, axis=1)
        return name

    def classify(self, source: str, classes: int, size: int) -> bytes:
        pooled = self.builder.add("GlobalAveragePool", [source], "pooled")
        flat = self.builder.add("Flatten", [pooled], "flat")
        self.builder.dense(flat, "y", self.channels[source], classes)
        return self.finish(classes, size)

    def finish(self, classes: int, size: int) -> bytes:
        shape: list[Any] = ["n", self.channels["x"], size, size]
        content: bytes = self.builder.model({"x": shape}, {"y": ["n", classes]})
        return content


def resnet(synthetic: ModuleType, blocks: list[int], *, bottleneck: bool, groups: int = 1) -> bytes:
    """ResNet-18 and -50, ResNeXt-50 (32x4d)."""
    net = Network(synthetic)
    x = net.pool(net.conv("x", 64, 7, 2), 3, 2, 1)
    for stage, count in enumerate(blocks):
        width = 64 << stage
        inner = width * 2 if groups > 1 else width
        out = width * 4 if bottleneck else width
        for block in range(count):
            stride = 2 if stage and not block else 1
            shortcut = x
            if block == 0 and (stride > 1 or net.channels[x] != out):
                shortcut = net.conv(x, out, 1, stride, relu=False)
            if bottleneck:
                y = net.conv(net.conv(x, inner, 1), inner, 3, stride, groups=groups)
                y = net.conv(y, out, 1, relu=False)
            else:
                y = net.conv(net.conv(x, out, 3, stride), out, 3, relu=False)
            x = net.add(y, shortcut)
    return net.classify(x, 1000, 224)


INCEPTION = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    None,
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    None,
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)
"""Channels of the branches of each inception block; None is a max pool."""


def googlenet(synthetic: ModuleType) -> bytes:
    """Inception v1 without the auxiliary classifiers."""
    net = Network(synthetic)
    x = net.pool(net.conv("x", 64, 7, 2), 3, 2, ceil=1)
    x = net.pool(net.conv(net.conv(x, 64, 1), 192, 3), 3, 2, ceil=1)
    for widths in INCEPTION:
        if widths is None:
            x = net.pool(x, 3, 2, ceil=1)
            continue
        one, reduce3, three, reduce5, five, after_pool = widths
        x = net.concat(
            [
                net.conv(x, one, 1),
                net.conv(net.conv(x, reduce3, 1), three, 3),
                net.conv(net.conv(x, reduce5, 1), five, 5),
                net.conv(net.pool(x, 3, 1, 1), after_pool, 1),
            ]
        )
    return net.classify(x, 1000, 224)


def lenet5(synthetic: ModuleType) -> bytes:
    """LeNet-5 with max pools and rectifiers."""
    net = Network(synthetic, channels=1)
    x = net.pool(net.conv("x", 6, 5), 2, 2)
    x = net.pool(net.conv(x, 16, 5, pad=0), 2, 2)
    flat = net.builder.add("Flatten", [x], "flat")
    hidden = net.builder.add("Relu", [net.builder.dense(flat, "d1", 400, 120)], "r1")
    hidden = net.builder.add("Relu", [net.builder.dense(hidden, "d2", 120, 84)], "r2")
    net.builder.dense(hidden, "y", 84, 10)
    return net.finish(10, 28)


TOPOLOGIES: dict[str, Callable[[ModuleType], bytes]] = {
    "lenet5": lenet5,
    "resnet18": lambda s: resnet(s, [2, 2, 2, 2], bottleneck=False),
    "resnet50": lambda s: resnet(s, [3, 4, 6, 3], bottleneck=True),
    "resnext50": lambda s: resnet(s, [3, 4, 6, 3], bottleneck=True, groups=32),
    "googlenet": googlenet,
}
