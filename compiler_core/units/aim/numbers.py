"""bfloat16 parts of models: the facet :class:`~compiler_core.units.numbers.Numbers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.model.layers import node_reason, product_layers
from compiler_core.units.aim.model.reference import reference_product
from compiler_core.units.aim.model.segment import AimSegment, PlacedProduct, host_numbers
from compiler_core.units.aim.schedule.default import default_schedule
from compiler_core.units.aim.schedule.schedule import ProductSchedule

Floats = npt.NDArray[np.float32]


class AimNumbers:
    """See :class:`~compiler_core.units.numbers.Numbers`."""

    def unsupported(self, graph: Graph, node: Node) -> str | None:
        return node_reason(graph, node)

    def untuned(self, graph: Graph, machine: AimMachine) -> Products:
        placed = []
        for layer in product_layers(graph):
            schedule = default_schedule(layer.product.workload, machine)
            assert isinstance(schedule, ProductSchedule)  # of a product
            placed.append(layer.placed(schedule, 0))
        return Products(placed, graph.outputs, machine)

    def reference(self, segment: AimSegment, machine: AimMachine) -> Products:
        return Products(segment.products, segment.outputs, machine)


NUMBERS = AimNumbers()


class Products:
    """Products computed in the numbers of the unit, without programs.

    Args:
        products: In order.
        outputs: Tensors to return.
        machine: The unit.
    """

    def __init__(
        self, products: Sequence[PlacedProduct], outputs: Sequence[str], machine: AimMachine
    ) -> None:
        self._products, self._outputs, self._machine = products, outputs, machine

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, Floats]:
        held = dict(feeds)
        for product in self._products:
            vectors = host_numbers(held[product.input], product.input_shape)
            found = reference_product(
                product.layout, self._machine, product.matrix, product.bias, vectors
            )
            held[product.output] = found.reshape(product.output_shape)
        return {name: held[name] for name in self._outputs}
