"""Image classifiers with branches, skip tensors and large dense layers, with seeded random weights:
GoogLeNet, DenseNet, AlexNet, ZFNet, SqueezeNet and MobileNet v2 in their shapes, at a size asked
for.

``width`` scales channels, ``size`` is that of the square image.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx
from onnx import TensorProto

from benchmarks.networks.random_networks import RandomNetwork

Shape = tuple[int, int]
"""Channels, and rows of a square image."""


class _Images(RandomNetwork):
    """Layers that know the shapes of their images."""

    def __init__(self, seed: int, size: int, width: float) -> None:
        super().__init__(seed)
        self.shapes: dict[str, Shape] = {"x": (3, size)}
        self._size, self._width = size, width

    def scaled(self, channels: int) -> int:
        return max(8, round(channels * self._width / 8) * 8)

    def layer(
        self, x: str, channels: int, kernel: int = 1, stride: int = 1, *, relu: bool = True
    ) -> str:
        """A convolution of unscaled channels."""
        inputs, size = self.shapes[x]
        outputs = self.scaled(channels)
        name = self.conv(x, outputs, inputs, kernel, stride)
        name = self.add("Relu", [name]) if relu else name
        self.shapes[name] = outputs, (size + 2 * (kernel // 2) - kernel) // stride + 1
        return name

    def depthwise(self, x: str, stride: int) -> str:
        channels, size = self.shapes[x]
        name = self.add("Relu", [self.conv(x, channels, channels, 3, stride, groups=channels)])
        self.shapes[name] = channels, (size - 1) // stride + 1
        return name

    def pool(self, x: str, kernel: int, stride: int, op: str = "MaxPool") -> str:
        channels, size = self.shapes[x]
        pad = kernel // 2
        name = self.add(op, [x], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
        self.shapes[name] = channels, (size + 2 * pad - kernel) // stride + 1
        return name

    def joined(self, parts: list[str]) -> str:
        name = self.add("Concat", parts, axis=1)
        self.shapes[name] = sum(self.shapes[part][0] for part in parts), self.shapes[parts[0]][1]
        return name

    def sum_of(self, one: str, other: str, *, relu: bool = True) -> str:
        name = self.add("Add", [one, other])
        name = self.add("Relu", [name]) if relu else name
        self.shapes[name] = self.shapes[one]
        return name

    def classified(self, x: str, *hidden: int) -> onnx.ModelProto:
        """Dense layers over all of an image, or over its means where there is one alone."""
        channels, size = self.shapes[x]
        values = channels * size * size
        if not hidden:
            x, values = self.add("GlobalAveragePool", [x]), channels
        x = self.add("Flatten", [x])
        for count in hidden:
            x = self.add("Relu", [self.gemm(x, values, self.scaled(count))])
            values = self.scaled(count)
        self.gemm(x, values, 100, "y")
        image = [1, 3, self._size, self._size]
        return self.model({"x": (TensorProto.FLOAT, image)}, {"y": [1, 100]})


def googlenet(size: int = 64, width: float = 0.5) -> onnx.ModelProto:
    """Nine inception modules: four branches that are concatenated."""
    n = _Images(1, size, width)
    x = n.pool(n.layer(n.layer(n.layer("x", 64, 7, 2), 64), 192, 3), 3, 2)
    for at, (one, three, five, pool) in enumerate((
        (64, (96, 128), (16, 32), 32), (128, (128, 192), (32, 96), 64),
        (192, (96, 208), (16, 48), 64), (160, (112, 224), (24, 64), 64),
        (128, (128, 256), (24, 64), 64), (112, (144, 288), (32, 64), 64),
        (256, (160, 320), (32, 128), 128), (256, (160, 320), (32, 128), 128),
        (384, (192, 384), (48, 128), 128),
    )):  # fmt: skip
        if at in (2, 7):
            x = n.pool(x, 3, 2)
        x = n.joined([
            n.layer(x, one), n.layer(n.layer(x, three[0]), three[1], 3),
            n.layer(n.layer(x, five[0]), five[1], 5), n.layer(n.pool(x, 3, 1), pool),
        ])  # fmt: skip
    return n.classified(x)


def densenet(size: int = 64, width: float = 0.5) -> onnx.ModelProto:
    """Dense blocks: a layer reads the concatenation of all before."""
    n = _Images(2, size, width)
    x = n.pool(n.layer("x", 64, 7, 2), 3, 2)
    for at, layers in enumerate((4, 6, 6)):
        if at:
            x = n.layer(x, n.shapes[x][0])
            x = n.pool(x, 2, 2, "AveragePool") if n.shapes[x][1] > 1 else x
        for _ in range(layers):
            x = n.joined([x, n.layer(n.layer(x, 128), 32, 3)])
    return n.classified(x)


def alexnet(size: int = 64, width: float = 0.5) -> onnx.ModelProto:
    """Five convolutions and three dense layers."""
    n = _Images(3, size, width)
    x = n.pool(n.layer(n.pool(n.layer("x", 64, 11, 4), 3, 2), 192, 5), 3, 2)
    for channels in (384, 256, 256):
        x = n.layer(x, channels, 3)
    return n.classified(n.pool(x, 3, 2), 1024, 1024)


def zfnet(size: int = 64, width: float = 0.5) -> onnx.ModelProto:
    """AlexNet's successor with a smaller stem."""
    n = _Images(4, size, width)
    x = n.pool(n.layer(n.pool(n.layer("x", 96, 7, 2), 3, 2), 256, 5, 2), 3, 2)
    for channels in (384, 384, 256):
        x = n.layer(x, channels, 3)
    return n.classified(n.pool(x, 3, 2), 1024, 1024)


def squeezenet(size: int = 64, width: float = 0.5) -> onnx.ModelProto:
    """Eight fire modules: two branches behind a narrow layer."""
    n = _Images(5, size, width)
    x = n.pool(n.layer("x", 64, 3, 2), 3, 2)
    for at, squeeze in enumerate((16, 16, 32, 32, 48, 48, 64, 64)):
        if at in (2, 4):
            x = n.pool(x, 3, 2)
        x = n.layer(x, squeeze)
        x = n.joined([n.layer(x, 4 * squeeze), n.layer(x, 4 * squeeze, 3)])
    return n.classified(n.layer(x, 512))


def mobilenet2(size: int = 64, width: float = 0.5) -> onnx.ModelProto:
    """Inverted residuals: wide depthwise layers between narrow ones."""
    n = _Images(6, size, width)
    x = n.layer("x", 32, 3, 2)
    for channels, stride in (
        (16, 1), (24, 2), (24, 1), (32, 2), (32, 1), (64, 2), (64, 1), (96, 1), (96, 1), (160, 2),
    ):  # fmt: skip
        y = n.layer(x, round(6 * n.shapes[x][0] / width))
        y = n.layer(n.depthwise(y, stride), channels, relu=False)
        x = n.sum_of(y, x, relu=False) if n.shapes[y] == n.shapes[x] else y
    return n.classified(n.layer(x, 320))


CLASSIC: dict[str, Callable[..., onnx.ModelProto]] = {
    "googlenet": googlenet,
    "densenet": densenet,
    "alexnet": alexnet,
    "zfnet": zfnet,
    "squeezenet": squeezenet,
    "mobilenet2": mobilenet2,
}
