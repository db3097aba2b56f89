"""Products of nodes of a float graph, and the tensors between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.views import VIEW_OPERATORS
from compiler_core.quantize.ir import NodeOperator
from compiler_core.tensor.task import Task
from compiler_core.units.aim.lower.layout import Layout
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.model.segment import PlacedProduct
from compiler_core.units.aim.operators.products import ModelProduct, node_products, product_alone
from compiler_core.units.aim.operators.recurrent import CELLS
from compiler_core.units.aim.schedule.schedule import ProductSchedule
from compiler_core.units.aim.simulate.numbers import to_bits

_PRODUCTS = ("Dense", "MatMul", "Gemm")


@dataclass(frozen=True, eq=False)
class ProductLayer:
    """A node that is a product.

    Attributes:
        operator: The node.
        product: What it computes.
        input_shape, output_shape: Of one run.
    """

    operator: NodeOperator
    product: ModelProduct
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    @property
    def task(self) -> Task:
        """The task that its schedule is of."""
        return Task(AimMachine.kind, self.product.workload)

    def placed(self, schedule: ProductSchedule, first_row: int) -> PlacedProduct:
        """The product in rows of the banks."""
        layout = Layout(self.product.workload, schedule, first_row)
        operator = self.operator
        return PlacedProduct(
            operator.name,
            operator.input,
            operator.output,
            self.input_shape,
            self.output_shape,
            layout,
            to_bits(self.product.matrix),
            to_bits(self.product.bias),
        )


def node_reason(graph: Graph, node: Node) -> str | None:
    """Why a node is no part of a package; ``None`` where it is."""
    if node.op in VIEW_OPERATORS and node.op != "Transpose" and node.clip is None:
        return None
    if node.op in CELLS:
        return f"{node.op} is planned for, and run in packages by the CPU."
    if node.op not in _PRODUCTS:
        return f"{node.op} is no product of a matrix in the banks."
    try:
        (product,) = node_products(graph, node)
    except ValueError as error:
        return f"{node.op} '{node.name}': {error}."
    if node.clip is not None and not product.workload.activations:
        return f"{node.op} '{node.name}': its clamp is not computed there."
    return None


def product_layers(graph: Graph) -> Iterator[ProductLayer]:
    """The products of a part of a model, in order.

    Raises:
        InputError: A node is none.
    """
    views: dict[str, str] = {}
    for node in graph.nodes:
        reason = node_reason(graph, node)
        if reason is not None:
            raise InputError(reason)
        if node.op in VIEW_OPERATORS:
            views[node.output] = views.get(node.inputs[0], node.inputs[0])
            continue
        (product,) = node_products(graph, node)
        alone = product_alone(product, node)
        source = views.get(node.inputs[0], node.inputs[0])
        yield ProductLayer(
            NodeOperator(node.name, source, node.output, (node.name,)),
            alone,
            _shape(graph, node.inputs[0]),
            _shape(graph, node.output),
        )


def _shape(graph: Graph, tensor: str) -> tuple[int, ...]:
    known: Mapping[str, Any] = graph.types
    return tuple(int(size or 1) for size in known[tensor].shape or ())
