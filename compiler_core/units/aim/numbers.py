"""bfloat16 parts of models: the facet :class:`~compiler_core.units.numbers.Numbers`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.model.layers import node_reason, product_layers, view_works
from compiler_core.units.aim.model.reference import reference_product
from compiler_core.units.aim.model.segment import AimSegment, Placed, PlacedElements, computed
from compiler_core.units.aim.model.work import Floats, Work
from compiler_core.units.aim.operators.additions import pairs
from compiler_core.units.aim.operators.cached_products import cached_products
from compiler_core.units.aim.schedule.default import default_schedule
from compiler_core.units.aim.simulate.numbers import Bits, multiplied, to_bits, to_float


class AimNumbers:
    """See :class:`~compiler_core.units.numbers.Numbers`."""

    def unsupported(self, graph: Graph, node: Node) -> str | None:
        return node_reason(graph, node)

    def together(self, graph: Graph, nodes: Sequence[Node]) -> Iterable[Sequence[str]]:
        states = {own.product.name: own.nodes for own in cached_products(graph).values()}
        cached = (states[node.name] for node in nodes if node.name in states)
        return [*pairs(graph, nodes), *([node.name for node in own] for own in cached)]

    def untuned(self, graph: Graph, machine: AimMachine) -> Computed:
        placed: dict[int, Placed] = {}
        work: dict[str, Work] = {}
        for layer in product_layers(graph):
            work[layer.work.name] = layer.work
            if layer.number not in placed:
                schedule = default_schedule(layer.product.workload, machine)
                placed[layer.number] = layer.placed(schedule, 0)
        products = [placed[number] for number in sorted(placed)]
        work |= {own.name: own for own in view_works(graph)}
        return Computed(products, tuple(work.values()), graph.outputs, machine)

    def reference(self, segment: AimSegment, machine: AimMachine) -> Computed:
        return Computed(segment.products, segment.work, segment.outputs, machine)


NUMBERS = AimNumbers()


class Computed:
    """Operators computed in the numbers of the unit, without programs.

    Args:
        products: By number.
        work: Operators, in order.
        outputs: Tensors to return.
        machine: The unit.
    """

    def __init__(
        self,
        products: Sequence[Placed],
        work: Sequence[Work],
        outputs: Sequence[str],
        machine: AimMachine,
    ) -> None:
        self._products, self._work, self._outputs = products, work, outputs
        self._machine = machine

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, Floats]:
        held = computed(self._work, feeds, self._product)
        return {name: held[name] for name in self._outputs}

    def _product(self, number: int, vectors: Floats, matrix: Bits | None = None) -> Floats:
        own = self._products[number]
        if isinstance(own, PlacedElements):
            assert matrix is not None, "two vectors are multiplied"
            return to_float(multiplied(to_bits(vectors), matrix))
        held = own.matrix if matrix is None else matrix
        return reference_product(own.layout, self._machine, held, own.bias, vectors)
