"""Key-value caches that stay in the banks: the facet
:class:`~compiler_core.units.residents.Residents`."""

from __future__ import annotations

from collections.abc import Sequence

from compiler_core.graph.ir import Graph
from compiler_core.units.aim.operators.cached_products import cached_products
from compiler_core.units.residents import Resident


class AimResidents:
    """See :class:`~compiler_core.units.residents.Residents`."""

    def residents(self, graph: Graph) -> Sequence[Resident]:
        every = {own.product.name: own for own in cached_products(graph).values()}
        return [
            Resident(tuple(node.name for node in own.nodes), own.past, own.present)
            for own in every.values()
        ]


RESIDENTS = AimResidents()
