"""Plan and package agree where activations are multiplied: on random attention, for any plan."""

from __future__ import annotations

import random
from types import ModuleType

import numpy as np
import pytest

from compiler_core.compile.sources import FloatModel, noise_samples
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.graph.ir import Graph
from compiler_core.partition.baselines import all_npu
from compiler_core.partition.best import misfits, prepare, untuned
from compiler_core.targets.load import load_target
from tests.compiler_core.partition.agreement import compiled, require_agreement


class AttentionNetwork:
    """Attention as exporters write it: queries, keys and values apart, or as one layer that is
    split before or behind its transposition; heads of any width, with residuals around.

    Args:
        plain: The module ``plain``.
        seed: Of everything that is drawn.
    """

    def __init__(self, plain: ModuleType, seed: int) -> None:
        self._draw, self._seed = random.Random(seed), seed
        self.tokens = self._draw.choice((4, 12, 16, 21))
        self.heads, self.width = self._draw.choice((1, 2, 3)), self._draw.choice((8, 12, 16, 32))
        self._inner = self.heads * self.width
        self._b = plain.GraphBuilder(x=(self.tokens, self._inner))

    def grow(self) -> Graph:
        inner, shape = self._inner, (self.tokens, self._inner)
        x = self._dense("x", "first", inner, inner)
        if self._draw.random() < 0.5:
            x = self._b.add("Tanh", [x], "begun", shape)
        q, k, v = self._draw.choice((self._apart, self._joint, self._joint_turned))(x)
        scores = (self.heads, self.tokens, self.tokens)
        s = self._b.add("MatMul", [q, k], "s", scores)
        s = self._b.add(
            "Mul", [s, self._b.constant("by", np.float32(self.width**-0.5))], "m", scores
        )
        p = self._b.add("Softmax", [s], "p", scores, axis=-1)
        o = self._b.add("MatMul", [p, v], "o", (self.heads, self.tokens, self.width))
        t = (self.tokens, self.heads, self.width)
        o = self._b.add("Transpose", [o], "t", t, perm=(0, 2, 1, 3))
        o = self._reshape(o, "merged", shape)
        o = self._dense(o, "out", inner, inner)
        o = self._b.add("Add", [x, o], "sum", shape)
        self._dense(o, "y", inner, 20)
        return self._b.build("y")

    def _dense(self, x: str, name: str, inputs: int, outputs: int) -> str:
        noise = np.random.default_rng(self._seed + len(name)).standard_normal((inputs, outputs))
        weight = self._b.constant(f"{name}_w", (noise / np.sqrt(inputs)).astype(np.float32))
        found: str = self._b.add("MatMul", [x, weight], name, (self.tokens, outputs))
        return found

    def _reshape(self, x: str, name: str, shape: tuple[int, ...]) -> str:
        sizes = self._b.constant(f"{name}_sizes", np.array([0, *shape], np.int64))
        found: str = self._b.add("Reshape", [x, sizes], name, shape)
        return found

    def _turned(self, x: str, name: str, sizes: tuple[int, ...], perm: tuple[int, ...]) -> str:
        shape = tuple(sizes[axis - 1] for axis in perm[1:])
        found: str = self._b.add("Transpose", [x], name, shape, perm=perm)
        return found

    def _apart(self, x: str) -> list[str]:
        found = []
        for name, order in (("q", (2, 1, 3)), ("k", (2, 3, 1)), ("v", (2, 1, 3))):
            part = self._dense(x, name, self._inner, self._inner)
            sizes = (self.tokens, self.heads, self.width)
            part = self._reshape(part, f"{name}_r", sizes)
            found.append(self._turned(part, f"{name}_t", sizes, (0, *order)))
        return found

    def _joint(self, x: str) -> list[str]:
        """Taken apart along the features, then into heads."""
        whole = self._dense(x, "qkv", self._inner, 3 * self._inner)
        found, sizes = [], (self.tokens, self.heads, self.width)
        for number, order in enumerate(((2, 1, 3), (2, 3, 1), (2, 1, 3))):
            part = self._slice(whole, number, 2, self._inner, (self.tokens, self._inner))
            part = self._reshape(part, f"r{number}", sizes)
            found.append(self._turned(part, f"t{number}", sizes, (0, *order)))
        return found

    def _joint_turned(self, x: str) -> list[str]:
        """Heads first, then taken apart."""
        whole = self._dense(x, "qkv", self._inner, 3 * self._inner)
        sizes = (self.tokens, self.heads, 3 * self.width)
        whole = self._reshape(whole, "all", sizes)
        whole = self._turned(whole, "all_t", sizes, (0, 2, 1, 3))
        shape = (self.heads, self.tokens, self.width)
        q, k, v = (self._slice(whole, number, 3, self.width, shape) for number in range(3))
        return [q, self._turned(k, "kt", shape, (0, 1, 3, 2)), v]

    def _slice(self, x: str, number: int, axis: int, size: int, shape: tuple[int, ...]) -> str:
        first = number * size
        limits = [
            self._b.constant(f"{what}{number}", np.array([value], np.int64))
            for what, value in (("starts", first), ("ends", first + size), ("axes", axis))
        ]
        found: str = self._b.add("Slice", [x, *limits], f"part{number}", shape)
        return found


@pytest.mark.parametrize(
    "seed", [*range(8), *(pytest.param(s, marks=pytest.mark.slow) for s in range(100, 140))]
)
def test_a_package_takes_what_its_plan_promised(plain: ModuleType, seed: int) -> None:
    graph = AttentionNetwork(plain, seed).grow()
    model, chip = FloatModel("hand", "0" * 64, graph), load_target("vta")
    rough = prepare(graph, chip)
    whole = all_npu(rough)
    evaluator = prepare(graph, chip, quantized=compiled(model, rough, whole, chip).source.quantized)
    draw = random.Random(seed)
    placements = [whole, untuned(evaluator)]
    placements += [tuple(map(draw.choice, evaluator.choices)) for _ in range(2)]
    for placement in dict.fromkeys(placements):
        assert not misfits(evaluator, placement), (seed, placement)
        built = compiled(model, evaluator, placement, chip)
        name = f"seed {seed}, placement {placement}"
        require_agreement(built, evaluator, evaluator.evaluate(placement), name)
        executable = built.executable
        assert run_checked(executable, Simulator(executable), noise_samples(graph))[1] is None, name
