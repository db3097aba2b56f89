"""Rewrites parts of graphs so that tensors hold integers, over floats or in QDQ form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from compiler_core.graph.attributes import names_read
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.quantize.affine import AffineType

_MICROSOFT = "com.microsoft"
_ROUND_OPSET = 11
_QDQ_OPSET = 13
MIDDLE = 128
"""Zero point of int8 numbers that are held as uint8."""
_MAGIC = 1.5 * 2**23
"""Adding and subtracting it rounds float32 to integers, half to even, where there is no Round."""


class IntegerRewriter:
    """Nodes of a graph, some of them replaced by several.

    Args:
        graph: What they are taken from.

    Attributes:
        nodes: Those of the result, in order.
    """

    def __init__(self, graph: Graph) -> None:
        self._source = graph
        self.nodes: list[Node] = []
        self._constants = dict(graph.constants)
        self._types = dict(graph.types)
        self._dynamic = set(graph.dynamic_batch)
        self._microsoft = False

    def graph(self) -> Graph:
        """The result; constants that nobody reads any more are dropped."""
        used = names_read(self.nodes, self._source.outputs)
        opsets = dict(self._source.opsets)
        if self._microsoft:
            opsets.setdefault(_MICROSOFT, 1)
        return replace(
            self._source,
            nodes=tuple(self.nodes),
            constants={name: value for name, value in self._constants.items() if name in used},
            types=self._types,
            dynamic_batch=frozenset(self._dynamic),
            opsets=opsets,
        )

    def _constant(self, base: str, value: npt.NDArray[np.generic]) -> str:
        name = self._fresh(base)
        self._constants[name] = value
        self._types[name] = TensorType(value.dtype.name, value.shape)
        return name

    def _fresh(self, base: str) -> str:
        number = 0
        while f"{base}%{number}" in self._types:
            number += 1
        return f"{base}%{number}"

    def _node(
        self,
        op: str,
        inputs: tuple[str, ...],
        like: str,
        dtype: str = "float32",
        *,
        output: str | None = None,
        clip: tuple[float, float] | None = None,
        domain: str = "",
        attributes: Mapping[str, object] | None = None,
    ) -> str:
        name = output or self._fresh(like)
        if output is None:
            self._types[name] = TensorType(dtype, self._types[like].shape)
            if like in self._dynamic:
                self._dynamic.add(name)
        self.nodes.append(
            Node(f"{name}/{op}", op, inputs, (name,), dict(attributes or {}), domain, clip)
        )
        return name

    def _round(self, tensor: str, like: str, limits: tuple[float, float]) -> str:
        clip = (float(limits[0]), float(limits[1]))
        if self._source.opsets.get("", _QDQ_OPSET) >= _ROUND_OPSET:
            return self._node("Round", (tensor,), like, clip=clip)
        magic = self._constant(like, np.float32(_MAGIC) * np.ones((), np.float32))
        raised = self._node("Add", (tensor, magic), like)
        return self._node("Sub", (raised, magic), like, clip=clip)

    def _integers(self, tensor: str, known: AffineType) -> str:
        scale = self._constant(tensor, np.asarray(known.scale, np.float32))
        # Clipped first: the magic number rounds nothing beyond 2**22.
        low, high = known.limits
        scaled = self._node("Div", (tensor, scale), tensor, clip=(low - 1.0, high + 1.0))
        return self._round(scaled, tensor, known.limits)

    def add_exact_result(self, node: Node, known: AffineType) -> None:
        """``node``, its result rounded to integers."""
        integers = self._integers(self._inner(node), known)
        scale = self._constant(node.output, np.asarray(known.scale, np.float32))
        self._node("Mul", (integers, scale), node.output, output=node.output)

    def _inner(self, node: Node) -> str:
        """``node``, writing a tensor of another name."""
        inner = self._fresh(node.output)
        self._types[inner] = self._types[node.output]
        if node.output in self._dynamic:
            self._dynamic.add(inner)
        self.nodes.append(replace(node, outputs=(inner,)))
        return inner

    def add_qdq_result(self, node: Node, known: AffineType) -> None:
        """``node``, its result through QuantizeLinear and DequantizeLinear."""
        self._quantized(self._inner(node), node.output, known, output=node.output)

    def _domain(self, dtype: str) -> str:
        if self._source.opsets.get("", _QDQ_OPSET) >= _QDQ_OPSET and not dtype.endswith("16"):
            return ""
        self._microsoft = True
        return _MICROSOFT

    def _quantized(
        self, tensor: str, like: str, known: AffineType, output: str | None = None
    ) -> str:
        if known.dtype == "int8":
            known = AffineType(known.scale, known.zero_point + MIDDLE, "uint8")
        scale = self._constant(like, np.asarray(known.scale, np.float32))
        zero = self._constant(like, np.asarray(known.zero_point, known.dtype))
        domain = self._domain(known.dtype)
        integers = self._node(
            "QuantizeLinear", (tensor, scale, zero), like, known.dtype, domain=domain
        )
        inputs = (integers, scale, zero)
        return self._node("DequantizeLinear", inputs, like, domain=domain, output=output)
