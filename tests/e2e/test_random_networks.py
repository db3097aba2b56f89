"""Random small networks of every operator that the NPU runs: bit-exact on the simulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from compiler_core.compile.compile import CompiledModel


class RandomNetwork:
    """Grows a network operator by operator; remembers every tensor's shape."""

    def __init__(self, synthetic: ModuleType, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.builder = synthetic.Builder(seed)
        size = int(self.random.integers(5, 15)), int(self.random.integers(5, 15))
        self.batch = int(self.random.choice([0, 0, 1, 2]))
        self.shapes = {"x": (int(self.random.choice([1, 3, 8, 16, 20])), *size)}

    def grow(self, steps: int) -> bytes:
        kinds = [self.conv, self.conv, self.pool, self.add, self.concat, self.relu, self.average]
        for number in range(steps):
            source = str(self.random.choice(list(self.shapes)[-3:]))
            kinds[int(self.random.integers(len(kinds)))](source, f"t{number}")
        read = {name for node in self.builder.nodes for name in node.input}
        batch = self.batch or "n"
        outputs = {name: [batch, *self.shapes[name]] for name in self.shapes if name not in read}
        content: bytes = self.builder.model({"x": [batch, *self.shapes["x"]]}, outputs)
        return content

    def _pick(self, *choices: int) -> int:
        return int(self.random.choice(choices))

    def conv(self, source: str, name: str) -> None:
        channels, height, width = self.shapes[source]
        kernel = (self._pick(1, 2, 3, 5), self._pick(1, 2, 3, 5))
        dilation = self._pick(1, 1, 2)
        groups = self._pick(*[g for g in (1, 1, 2, 4, channels) if channels % g == 0])
        out = groups * self._pick(1, 2, 3) if groups > 4 else groups * self._pick(1, 5, 8, 9, 16)
        strides = [self._pick(1, 1, 2, 3), self._pick(1, 1, 2, 3)]
        pads = [int(p) for p in self.random.integers(0, 3, 4)]
        rows = (height + pads[0] + pads[2] - dilation * (kernel[0] - 1) - 1) // strides[0] + 1
        columns = (width + pads[1] + pads[3] - dilation * (kernel[1] - 1) - 1) // strides[1] + 1
        if min(rows, columns) < 1:
            return
        shape = (out, channels // groups, *kernel)
        self.builder.conv(
            source, name, shape, pads=pads, strides=strides, dilations=[dilation] * 2, group=groups
        )
        self.shapes[name] = (out, rows, columns)

    def relu(self, source: str, name: str) -> None:
        self.builder.add("Relu", [source], name)
        self.shapes[name] = self.shapes[source]

    def pool(self, source: str, name: str) -> None:
        channels, height, width = self.shapes[source]
        kernel, stride, pad = self._pick(2, 3), self._pick(1, 2), self._pick(0, 1)
        rows, columns = ((size + 2 * pad - kernel) // stride + 1 for size in (height, width))
        if min(rows, columns) >= 1:
            self.builder.add(
                "MaxPool", [source], name, kernel_shape=[kernel] * 2, strides=[stride] * 2,
                pads=[pad] * 4,
            )  # fmt: skip
            self.shapes[name] = (channels, rows, columns)

    def average(self, source: str, name: str) -> None:
        channels, height, width = self.shapes[source]
        if min(height, width) >= 2:
            self.builder.add("AveragePool", [source], name, kernel_shape=[2, 2])
            self.shapes[name] = (channels, height - 1, width - 1)

    def _like(self, source: str, axes: slice) -> str:
        same = [n for n, s in self.shapes.items() if s[axes] == self.shapes[source][axes]]
        return str(self.random.choice(same))

    def add(self, source: str, name: str) -> None:
        self.builder.add("Add", [source, self._like(source, slice(0, 3))], name)
        self.shapes[name] = self.shapes[source]

    def concat(self, source: str, name: str) -> None:
        parts = [source] + [self._like(source, slice(1, 3)) for _ in range(self._pick(1, 2))]
        self.builder.add("Concat", parts, name, axis=1)
        total = sum(self.shapes[part][0] for part in parts)
        self.shapes[name] = (total, *self.shapes[source][1:])


@pytest.mark.parametrize(
    "seed",
    [*range(8), 75, 79, *(pytest.param(n, marks=pytest.mark.slow) for n in range(100, 240))],
)
def test_a_random_network_is_bit_exact(
    synthetic: ModuleType,
    checked_compile: Callable[..., CompiledModel],
    tmp_path: Path,
    seed: int,
) -> None:
    network = RandomNetwork(synthetic, seed)
    path = tmp_path / "random.onnx"
    path.write_bytes(network.grow(8))
    x = network.random.normal(size=(4, *network.shapes["x"])).astype("f4")
    compiled = checked_compile(path, {"x": x}, {"x": x})
    for layer in compiled.report.layers:
        assert layer.cycles >= layer.bound_cycles
