"""Matrix products with constant weights become Dense: ``x[..., K] @ w[K, O] + b[O]``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node
from compiler_core.graph.passes.rewriter import FLOATS, Rewriter, is_op

_BROADCAST_OPSET = 7
"""Add takes operands of different shapes from then on."""


@dataclass(frozen=True)
class DenseForming:
    """MatMul by a constant matrix or vector, and Gemm with constant B and C, become Dense.

    ``w[O, K] @ x[N, K, M]``, the matrix on the left, is a convolution over the ``M`` positions.
    ``transB``, ``alpha`` and ``beta`` go into the weights; a ``C`` that is computed, or has a row
    per row of the result, is added behind. The Add after a MatMul becomes the bias
    in :class:`ChannelAffineFolding`.
    """

    name: ClassVar[str] = "dense-forming"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if rewriter.dtype(node.inputs[0] if node.inputs else "") not in FLOATS:
                continue
            if is_op(node, "MatMul"):
                _from_matmul(rewriter, node)
                _from_left_matmul(rewriter, node)
            elif is_op(node, "Gemm"):
                _from_gemm(rewriter, node)
        return rewriter.finish()


def _from_matmul(rewriter: Rewriter, node: Node) -> None:
    weight, shape = rewriter.constant(node, 1), rewriter.shape(node.inputs[0])
    if weight is None or shape is None or len(shape) < 2 or node.inputs[0] in rewriter.constants:
        return
    if weight.ndim == 1:
        _from_vector(rewriter, node, weight, shape)
    if weight.ndim != 2:
        return
    rewriter.replace(node, replace(node, op="Dense", domain=NEST_DOMAIN, attributes={}))


def _from_vector(
    rewriter: Rewriter, node: Node, weight: npt.NDArray[Any], shape: tuple[int, ...]
) -> None:
    """A product by a vector is a dense layer of one output, whose axis is dropped."""
    if shape[-1] != len(weight):
        return
    column = rewriter.add_constant(f"{node.inputs[1]}/column", weight[:, None])
    whole = rewriter.add_tensor(f"{node.output}/column", (*shape[:-1], 1), node.output)
    known = np.array([0] * (len(shape) - 1), np.int64)
    sizes = rewriter.add_constant(f"{node.output}/shape", known)
    name = rewriter.fresh_node(f"{node.name}/column")
    dense = replace(
        node, op="Dense", domain=NEST_DOMAIN, inputs=(node.inputs[0], column), outputs=(whole,),
        attributes={},
    )  # fmt: skip
    rewriter.replace(node, dense, Node(name, "Reshape", (whole, sizes), node.outputs))


def _from_left_matmul(rewriter: Rewriter, node: Node) -> None:
    weight, shape = rewriter.constant(node, 0), rewriter.shape(node.inputs[1])
    if weight is None or weight.ndim != 2 or shape is None or len(shape) != 3:
        return
    if node.inputs[1] in rewriter.constants:
        return
    kernel = rewriter.add_constant(f"{node.inputs[0]}/kernel", weight[:, :, None])
    rewriter.replace(
        node,
        replace(
            node, op="Conv", inputs=(node.inputs[1], kernel), attributes={"kernel_shape": (1,)}
        ),
    )


def _from_gemm(rewriter: Rewriter, node: Node) -> None:
    weight = rewriter.constant(node, 1)
    if weight is None or node.attributes.get("transA", 0) or node.inputs[0] in rewriter.constants:
        return
    inputs = [node.inputs[0], node.inputs[1]]
    alpha = node.attributes.get("alpha", 1.0)
    transposed = bool(node.attributes.get("transB", 0))
    columns = weight.shape[0 if transposed else 1]
    bias: npt.NDArray[Any] | None = None
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = _bias(rewriter.constant(node, 2), columns, node.attributes.get("beta", 1.0))
        if bias is None:
            _add_apart(rewriter, node)
            return
    if transposed or alpha != 1.0:
        matrix = (weight.T if transposed else weight) * weight.dtype.type(alpha)
        inputs[1] = rewriter.add_constant(node.inputs[1], np.ascontiguousarray(matrix))
    if bias is not None:
        same = rewriter.constant(node, 2)
        reused = same is not None and same.shape == bias.shape and np.array_equal(same, bias)
        inputs.append(
            node.inputs[2] if reused else rewriter.add_constant(f"{node.name}/bias", bias)
        )
    rewriter.replace(
        node, replace(node, op="Dense", domain=NEST_DOMAIN, inputs=tuple(inputs), attributes={})
    )


def _add_apart(rewriter: Rewriter, node: Node) -> None:
    """A Gemm whose C is computed, or differs from row to row, as a product and a sum."""
    shape, beta = rewriter.shape(node.output), node.attributes.get("beta", 1.0)
    if shape is None or rewriter.shape(node.inputs[2]) is None:
        return
    if beta != 1.0 and rewriter.constant(node, 2) is None:
        return
    if rewriter.graph.opsets.get("", _BROADCAST_OPSET) < _BROADCAST_OPSET:
        return
    added = node.inputs[2]
    if beta != 1.0:
        value: npt.NDArray[Any] = rewriter.constants[added]
        added = rewriter.add_constant(f"{added}/scaled", value * value.dtype.type(beta))
    product = rewriter.add_tensor(f"{node.output}/product", shape, node.output)
    attributes = {name: value for name, value in node.attributes.items() if name != "beta"}
    first = replace(
        node, inputs=node.inputs[:2], outputs=(product,), attributes=attributes, clip=None
    )
    name = rewriter.fresh_node(f"{node.name}/add")
    last = Node(name, "Add", (product, added), node.outputs, {}, "", node.clip)
    rewriter.replace(node, first, last)
    _from_gemm(rewriter, first)


def _bias(value: npt.NDArray[Any] | None, columns: int, beta: float) -> npt.NDArray[Any] | None:
    """C of a Gemm as ``b[O]``; ``None`` where it is computed or differs from row to row."""
    if value is None or value.ndim > 2 or (value.ndim == 2 and value.shape[0] != 1):
        return None
    if value.size not in (1, columns):
        return None
    return np.array(np.broadcast_to(value.ravel() * value.dtype.type(beta), (columns,)))
