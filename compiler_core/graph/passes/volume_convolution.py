"""Convolutions over volumes become convolutions over images.

Slices that the same kernel row of the depth meets lie side by side as channels, and the depths of
the result one below the other as rows of one high image::

    y[o, d] = sum(w[o, c, k] * x[c, strides * d + k] over c, k)      per depth d, images convolved

The rows between two images, which see parts of both, are cut off again. What it moves more is
``kernel depth`` times the input; where a value that is moved takes part in few products, the
convolution stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_LEAST_OPSET = 11
"""Pad and Slice take their amounts as inputs from then on."""
_LEAST_PRODUCTS = 16
"""Products per value that is moved."""


@dataclass(frozen=True)
class VolumeConvolution:
    """Unify Conv over three spatial axes with convolutions over two.

    Args:
        least_products: Per value that is moved; with fewer a convolution stays.
    """

    least_products: int = _LEAST_PRODUCTS
    name: ClassVar[str] = "volume-convolution"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        if graph.opsets.get("", _LEAST_OPSET) >= _LEAST_OPSET:
            for node in rewriter.nodes():
                if is_op(node, "Conv"):
                    _flatten(rewriter, node, self.least_products)
        return rewriter.finish()


def _flatten(rewriter: Rewriter, node: Node, least_products: int) -> None:
    weight = rewriter.constant(node, 1)
    source, result = rewriter.shape(node.inputs[0]), rewriter.shape(node.output)
    if weight is None or weight.ndim != 5 or source is None or result is None:
        return
    known, batch = node.attributes, rewriter.leading_size(node.output)
    named = [known.get(name) for name in ("strides", "dilations", "pads")]
    if batch is None or None in named or "auto_pad" in known or min(known["pads"]) < 0:
        return
    moved = prod(source) * weight.shape[2] / int(known["strides"][0])
    if weight.shape[2] == known["strides"][0] == 1 and not any(known["pads"]):
        moved = 0  # the depths lie one below the other as they are
    products = prod(result[1:]) * prod(weight.shape[1:])
    if len(source) == len(result) == 5 and products >= least_products * moved:
        _Flattening(rewriter, node, batch, source, result).write()


@dataclass(frozen=True)
class _Flattening:
    """A convolution over volumes as nodes.

    Attributes:
        rewriter: Of the graph.
        node: What it is in place of.
        batch: As a Reshape names it.
        source, result: ``[N, C, D, H, W]`` of the input and the output.
    """

    rewriter: Rewriter
    node: Node
    batch: int
    source: tuple[int, ...]
    result: tuple[int, ...]

    def write(self) -> None:
        """Puts the nodes in its place."""
        known, weight = self.node.attributes, self.rewriter.constants[self.node.inputs[1]]
        (_, down, right), (_, high, wide) = known["strides"], known["dilations"]
        reach = (weight.shape[3] - 1) * high + 1
        steps: list[Node] = []
        volume, shape = self._padded(steps, down)
        volume, shape = self._windows(steps, volume, shape)
        batch, channels, (depths, rows, columns) = shape[0], shape[1], shape[2:]
        taken = weight.shape[2]
        depths //= taken
        image = (batch, channels * taken, depths * rows, columns)
        flat = self._reshape(steps, "image", volume, image)
        outputs = self.result[1]
        lines = (batch, outputs, depths * rows // down, self.result[4])
        whole = (batch, outputs, depths, rows // down, self.result[4])
        is_cut = whole != self.result
        convolved = self._tensor("lines", lines)
        kernel = weight.reshape(len(weight), -1, *weight.shape[3:])
        attributes = {
            "kernel_shape": kernel.shape[2:],
            "strides": (down, right),
            "dilations": (high, wide),
            "group": int(known.get("group", 1)),
            "pads": (0, known["pads"][2], max(reach - down, 0), known["pads"][5]),
        }
        inputs = (flat, self._constant("kernel", kernel), *self.node.inputs[2:])
        steps.append(
            Node(self.node.name, "Conv", inputs, (convolved,), attributes, "", self.node.clip)
        )
        if is_cut:
            apart = self._reshape(steps, "depths", convolved, whole)
            self._slice(steps, "rows", apart, (3, 0, self.result[3], 1), self.node.output)
        else:
            self._reshape(steps, "depths", convolved, whole, self.node.output)
        self.rewriter.replace(self.node, *steps)

    def _padded(self, steps: list[Node], down: int) -> tuple[str, tuple[int, ...]]:
        """Zeros around depths and rows: every image has a multiple of the stride in rows."""
        pads, source = self.node.attributes["pads"], self.node.inputs[0]
        before, after = [0, 0, *pads[:2], 0], [0, 0, *pads[3:5], 0]
        after[3] += -(self.source[3] + pads[1] + pads[4]) % down
        if not any(before + after):
            return source, self.source
        shape = tuple(b + s + a for b, s, a in zip(before, self.source, after, strict=True))
        target = self._tensor("padded", shape)
        amounts = self._constant("pads", np.array(before + after, np.int64))
        steps.append(Node(self._name("pad"), "Pad", (source, amounts), (target,)))
        return target, shape

    def _windows(
        self, steps: list[Node], volume: str, shape: tuple[int, ...]
    ) -> tuple[str, tuple[int, ...]]:
        """``[N, C, kernel * D, H, W]``: for every row of the kernel the depths that it meets."""
        depth = self.rewriter.constants[self.node.inputs[1]].shape[2]
        step, apart = (int(self.node.attributes[k][0]) for k in ("strides", "dilations"))
        depths = self.result[2]
        if depth == step == 1:
            return volume, shape
        found = (*shape[:2], depth * depths, *shape[3:])
        parts = []
        for row in range(depth):
            first = row * apart
            part = self._tensor(f"slices{row}", (*shape[:2], depths, *shape[3:]))
            bounds = (2, first, first + (depths - 1) * step + 1, step)
            parts.append(self._slice(steps, f"slices{row}", volume, bounds, part))
        if depth == 1:
            return parts[0], found
        target = self._tensor("windows", found)
        name = self._name("windows")
        steps.append(Node(name, "Concat", tuple(parts), (target,), {"axis": 2}))
        return target, found

    def _slice(
        self,
        steps: list[Node],
        what: str,
        source: str,
        bounds: tuple[int, int, int, int],
        target: str,
    ) -> str:
        axis, start, end, step = bounds
        named = {"start": start, "end": end, "axis": axis, "step": step}
        values = [self._constant(f"{what}/{k}", np.array([v], np.int64)) for k, v in named.items()]
        steps.append(Node(self._name(what), "Slice", (source, *values), (target,)))
        return target

    def _reshape(
        self,
        steps: list[Node],
        what: str,
        source: str,
        shape: tuple[int, ...],
        target: str | None = None,
    ) -> str:
        target = target or self._tensor(what, shape)
        sizes = self._constant(f"{what}/shape", np.array([self.batch, *shape[1:]], np.int64))
        steps.append(Node(self._name(what), "Reshape", (source, sizes), (target,)))
        return target

    def _name(self, what: str) -> str:
        return self.rewriter.fresh_node(f"{self.node.name}/{what}")

    def _constant(self, what: str, array: Any) -> str:
        return self.rewriter.add_constant(f"{self.node.name}/{what}", array)

    def _tensor(self, what: str, shape: tuple[int, ...]) -> str:
        return self.rewriter.add_tensor(f"{self.node.output}/{what}", shape, self.node.output)
