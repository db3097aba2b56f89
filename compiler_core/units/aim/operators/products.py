"""Products of a model with matrices that lie in the banks: dense layers of few rows, gates of
recurrent cells, attention over key-value caches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.units.aim.operators.cached_products import cached_products, workload_of
from compiler_core.units.aim.operators.recurrent import (
    CELLS,
    cell_products,
    cell_shape,
    part_workloads,
    step_order,
)
from compiler_core.units.aim.schedule.workload import Activation, MatrixVector

DENSE: Final = ("Dense", "MatMul", "Gemm")
_DIRECTIONS = ("forward", "backward")
MOST_ROWS: Final = 64
"""Rows of a dense layer up to which matrices that stay in the banks can pay: with more, every
weight is multiplied so often that moving it costs little."""

_ACTIVATIONS: Final[Mapping[str, Activation]] = {
    "Sigmoid": Activation.SIGMOID,
    "Tanh": Activation.TANH,
    "Relu": Activation.RELU,
    "Gelu": Activation.GELU,
}


@dataclass(frozen=True, eq=False)
class ModelProduct:
    """A product of a model.

    Attributes:
        node: Name of the node.
        part: Which of its products it is; empty where it is the only one.
        workload: What is computed.
        matrix: ``float32[heads, outputs, inputs]``; zero where runs write it.
        bias: ``float32[heads, outputs]``, zero where there is none.
        count: How often one run of the model computes it.
    """

    node: str
    part: str
    workload: MatrixVector
    matrix: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    count: int = 1


@dataclass(frozen=True)
class Refused:
    """A node that the unit does not compute.

    Attributes:
        node: Its name.
        reason: Why.
    """

    node: str
    reason: str


def products(graph: Graph) -> tuple[tuple[ModelProduct, ...], tuple[Refused, ...]]:
    """The products of a graph in its order, and the matrix products that are refused."""
    found: list[ModelProduct] = []
    refused: list[Refused] = []
    for node in graph.nodes:
        try:
            found += list(node_products(graph, node))
        except ValueError as error:
            refused.append(Refused(node.name, str(error)))
    return tuple(found), tuple(refused)


def node_products(graph: Graph, node: Node) -> Iterator[ModelProduct]:
    """The products of one node; none where it is something else.

    Raises:
        ValueError: It is a product that the unit does not compute; says why.
    """
    if node.op in DENSE:
        cached = cached_products(graph).get(node.name)
        if cached is None:
            yield _dense(graph, node)
            return
        work = workload_of(graph, cached)
        zero = np.zeros(1, np.float32)
        matrix = np.broadcast_to(zero, (work.heads, work.outputs, work.inputs))
        bias = np.broadcast_to(zero, (work.heads, work.outputs))
        yield ModelProduct(node.name, "", work, matrix, bias)
    elif node.op in CELLS:
        shape = cell_shape(graph, node)
        for own in cell_products(graph, node):
            part = own.name
            if len(shape.backward) > 1:
                part = f"{_DIRECTIONS[own.direction]} {part}"
            matrix, bias = own.matrix[None], own.bias[None]
            yield ModelProduct(node.name, part, own.workload, matrix, bias, shape.steps)


def launch_order(graph: Graph, node: Node, count: int) -> Iterator[int]:
    """Which of the products of a node each of its launches computes.

    Args:
        graph, node: As for :func:`node_products`.
        count: Of its products.
    """
    if node.op not in CELLS:
        yield from range(count)
        return
    shape = cell_shape(graph, node)
    each = len(part_workloads(shape))
    for direction, number in step_order(shape):
        yield direction * each + number


def product_alone(product: ModelProduct, node: Node) -> ModelProduct:
    """A product without the activation of a node behind it, which is planned for itself."""
    if product.part or node.clip is not None or node.op in CELLS:
        return product
    return replace(product, workload=replace(product.workload, activations=()))


def _dense(graph: Graph, node: Node) -> ModelProduct:
    weight = graph.constants.get(node.inputs[1])
    if weight is None or weight.ndim != 2:
        raise ValueError("its matrix is computed when the model runs: it lies in no bank")
    if weight.dtype != np.float32:
        raise ValueError(f"its matrix holds {weight.dtype}")
    attributes = node.attributes
    if node.op == "Gemm" and attributes.get("transA", 0):
        raise ValueError("its rows are transposed")
    matrix = np.asarray(weight, np.float32)
    if node.op != "Gemm" or not attributes.get("transB", 0):
        matrix = matrix.T
    if node.op == "Gemm":
        matrix = matrix * np.float32(attributes.get("alpha", 1.0))
    rows = _rows(graph, node.inputs[0])
    outputs, inputs = matrix.shape
    bias = np.zeros(outputs, np.float32)
    given = len(node.inputs) > 2 and bool(node.inputs[2])
    if given:
        value = graph.constants.get(node.inputs[2])
        if value is None or value.size not in (1, outputs):
            raise ValueError("its bias is no constant per output")
        scale = attributes.get("beta", 1.0) if node.op == "Gemm" else 1.0
        added = np.asarray(value, np.float32).reshape(-1) * np.float32(scale)
        bias = np.broadcast_to(added, (outputs,)).copy()
    workload = MatrixVector(outputs, inputs, rows, bias=given, activations=_activation(graph, node))
    return ModelProduct(
        node.name, "", workload, np.ascontiguousarray(matrix, np.float32)[None], bias[None]
    )


def _rows(graph: Graph, tensor: str) -> int:
    known = graph.types.get(tensor)
    if known is None or known.shape is None or None in known.shape:
        raise ValueError("how many rows it has is not known")
    shape: tuple[Any, ...] = known.shape
    rows = int(np.prod(shape[:-1], dtype=np.int64)) if len(shape) > 1 else 1
    if not 1 <= rows <= MOST_ROWS:
        raise ValueError(f"it has {rows} rows; 1 to {MOST_ROWS} can pay")
    return rows


def _activation(graph: Graph, node: Node) -> tuple[Activation, ...]:
    """The activation that follows a node and nothing else reads past."""
    if node.clip is not None:
        return (Activation.RELU,) if node.clip == (0.0, float("inf")) else ()
    readers = graph.consumers(node.output)
    if len(readers) != 1 or node.output in graph.outputs:
        return ()
    reader = readers[0]
    found = _ACTIVATIONS.get(reader.op)
    plain = reader.op != "Gelu" or reader.attributes.get("approximate", "none") == "none"
    return (found,) if found is not None and plain else ()
