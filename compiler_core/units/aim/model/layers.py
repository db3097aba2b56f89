"""Products of nodes of a float graph, and the tensors between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.views import VIEW_OPERATORS
from compiler_core.quantize.ir import NodeOperator
from compiler_core.tensor.task import Task
from compiler_core.units.aim.lower.elements import ElementLaunch
from compiler_core.units.aim.lower.layout import BankLayout
from compiler_core.units.aim.lower.programs import located
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.model.segment import Placed, PlacedElements, PlacedProduct
from compiler_core.units.aim.model.work import (
    CacheWork,
    CellWork,
    DenseWork,
    ElementWork,
    ViewWork,
    Work,
)
from compiler_core.units.aim.operators.additions import (
    addition_of,
    other_operand,
    product_of,
)
from compiler_core.units.aim.operators.cached_products import CachedProduct, cached_products
from compiler_core.units.aim.operators.elements import ModelElements, model_elements
from compiler_core.units.aim.operators.products import (
    DENSE,
    ModelProduct,
    node_products,
    product_alone,
)
from compiler_core.units.aim.operators.recurrent import CELLS, cell_shape
from compiler_core.units.aim.schedule.schedule import Schedule
from compiler_core.units.aim.simulate.numbers import to_bits


@dataclass(frozen=True, eq=False)
class ProductLayer:
    """A launch of an operator: a product, in one of its steps.

    Attributes:
        operator: What it reads and writes.
        number: Of the product in its segment.
        product: What it computes.
        work: What it belongs to.
    """

    operator: NodeOperator
    number: int
    product: ModelProduct | ModelElements
    work: Work

    @property
    def task(self) -> Task:
        """The task that its schedule is of."""
        return Task(AimMachine.kind, self.product.workload)

    def placed(self, schedule: Schedule, first_row: int) -> Placed:
        """The product in rows of the banks.

        Raises:
            TypeError: The schedule is for another kind of workload.
        """
        product = self.product
        layout = located(product.workload, schedule, first_row)
        if isinstance(product, ModelElements):
            assert isinstance(layout, ElementLaunch), f"{layout} of elements"
            return PlacedElements(product.node, layout)
        assert isinstance(layout, BankLayout), f"{layout} of a matrix"
        name = " ".join(text for text in (product.node, product.part) if text)
        return PlacedProduct(name, layout, to_bits(product.matrix), to_bits(product.bias))


def node_reason(graph: Graph, node: Node) -> str | None:
    """Why a node is no part of a package; ``None`` where it is."""
    if node.name in cached_products(graph):
        return None
    if node.op in VIEW_OPERATORS and node.op != "Transpose" and node.clip is None:
        return None
    if node.op == "Add":
        if product_of(graph, node) is None:
            return f"Add '{node.name}' is not behind a dense layer of the unit that it alone reads."
        return None
    if node.op == "Mul":
        elements = model_elements(graph, node)
        return elements if isinstance(elements, str) else None
    if node.op not in (*DENSE, *CELLS):
        return f"{node.op} is no product of a matrix in the banks."
    try:
        found = list(node_products(graph, node))
    except ValueError as error:
        return f"{node.op} '{node.name}': {error}."
    if node.clip is not None and not found[0].workload.activations:
        return f"{node.op} '{node.name}': its clamp is not computed there."
    return None


def product_layers(graph: Graph) -> Iterator[ProductLayer]:
    """The launches of a part of a model, in order.

    Raises:
        InputError: A node is none of the unit's.
    """
    views: dict[str, str] = {}
    count = 0
    for node in graph.nodes:
        reason = node_reason(graph, node)
        if reason is not None:
            raise InputError(reason)
        cached = cached_products(graph).get(node.name)
        if cached is not None and cached.product is not node:
            continue  # belongs to the product
        if node.op in VIEW_OPERATORS:
            views[node.output] = views.get(node.inputs[0], node.inputs[0])
            continue
        elements = model_elements(graph, node) if node.op == "Mul" else ""
        if isinstance(elements, ModelElements):
            multiplied = _elements(graph, node, views, count)
            (operator,) = operators_of(multiplied)
            yield ProductLayer(operator, count, elements, multiplied)
            count += 1
            continue
        added = addition_of(graph, node)
        if node.op == "Add":
            continue
        found = [product_alone(product, node) for product in node_products(graph, node)]
        if added is not None:
            found = [replace(p, workload=replace(p.workload, adds=True)) for p in found]
        numbers = tuple(range(count, count + len(found)))
        count += len(found)
        if cached is not None:
            work: Work = _cached(graph, cached, views, numbers[0])
        else:
            make = _cell if node.op in CELLS else _dense
            work = make(graph, node, views, numbers)
        if isinstance(work, DenseWork) and added is not None:
            other = other_operand(added, node)
            other = views.get(other, other)
            relu = added.clip is not None
            work = replace(work, output=added.output, added=other, sum=added.name, rectifies=relu)
        operators = operators_of(work)
        for own, operator in zip(work.launched(), operators, strict=True):
            yield ProductLayer(operator, own, found[own - numbers[0]], work)


def view_works(graph: Graph) -> list[ViewWork]:
    """Tensors that leave a part of a model in another shape than they are computed in."""
    return [
        ViewWork(node.name, _base(graph, node.output), node.output, _shape(graph, node.output))
        for node in graph.nodes
        if node.output in graph.outputs and _base(graph, node.output) != node.output
    ]


def _base(graph: Graph, tensor: str) -> str:
    """What a tensor is a view of; itself where it is none."""
    cached = cached_products(graph)
    while (node := graph.producer(tensor)) is not None:
        if node.op not in VIEW_OPERATORS or node.name in cached:
            break
        tensor = node.inputs[0]
    return tensor


def operators_of(work: Work) -> list[NodeOperator]:
    """What each launch reads and writes: all that the node does, one after another."""
    count = sum(1 for _ in work.launched())
    if count == 1:
        return [NodeOperator(work.name, work.inputs, work.outputs, work.sources)]
    steps = [f"{work.name}/{number}" for number in range(count)]
    return [
        NodeOperator(
            name,
            (*work.inputs, *steps[max(0, number - 1) : number]),
            work.outputs if number == count - 1 else (name,),
            (work.name,),
        )
        for number, name in enumerate(steps)
    ]


def _dense(
    graph: Graph, node: Node, views: Mapping[str, str], numbers: tuple[int, ...]
) -> DenseWork:
    source = views.get(node.inputs[0], node.inputs[0])
    shapes = _shape(graph, node.inputs[0]), _shape(graph, node.output)
    return DenseWork(node.name, source, node.output, *shapes, numbers[0])


def _cell(graph: Graph, node: Node, views: Mapping[str, str], numbers: tuple[int, ...]) -> CellWork:
    # States that are constants are zero.
    read = ["" if name in graph.constants else views.get(name, name) for name in node.inputs]
    source, *_, state, cell = [*read, *[""] * 7][:7]
    sequence, last, last_cell = (*node.outputs, "", "", "")[:3]
    return CellWork(
        node.name,
        source,
        state,
        cell,
        sequence,
        last,
        last_cell,
        cell_shape(graph, node),
        numbers,
    )


def _elements(graph: Graph, node: Node, views: Mapping[str, str], number: int) -> ElementWork:
    left, right = (views.get(name, name) for name in node.inputs)
    return ElementWork(node.name, left, right, node.output, _shape(graph, node.output), number)


def _cached(
    graph: Graph, cached: CachedProduct, views: Mapping[str, str], number: int
) -> CacheWork:
    vectors, past, new, places = (
        views.get(name, name) for name in (cached.vectors, cached.past, cached.new, cached.places)
    )
    *before, product = (node.name for node in cached.nodes)
    return CacheWork(
        product,
        tuple(before),
        vectors,
        past,
        new,
        places,
        cached.output,
        cached.present,
        _shape(graph, cached.vectors),
        _shape(graph, cached.past),
        _shape(graph, cached.new),
        _shape(graph, cached.places) if cached.places else (),
        cached.update,
        cached.axis,
        cached.order,
        number,
    )


def _shape(graph: Graph, tensor: str) -> tuple[int, ...]:
    known: Mapping[str, Any] = graph.types
    return tuple(int(size or 1) for size in known[tensor].shape or ())
