"""Layers of a model as tasks: the facet :mod:`compiler_core.units.facets.source_tasks`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler_core.graph.ir import Graph
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.cpu.c.bundles.targets import load_board
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.convert.options import Options
from compiler_core.units.cpu.c.schedules.workload import workload_of
from compiler_core.units.cpu.c.tasks.machine import UNIT_NAME, kernel_machine
from compiler_core.units.facets.source_tasks import CoreUnit, SourceTask

INT4, INT16 = "int4", "int16"


class CSourceTasks:
    """Layers of generated C."""

    def core(self, target: str) -> CoreUnit:
        """See :class:`compiler_core.units.facets.source_tasks.SourceTasks`."""
        board = load_board(target)
        return CoreUnit(UNIT_NAME, board.name, kernel_machine(board))

    def tasks(
        self, graph: Graph, ranges: Mapping[str, TensorRange], precisions: Mapping[str, str]
    ) -> Sequence[SourceTask]:
        """See :class:`compiler_core.units.facets.source_tasks.SourceTasks`."""
        options = Options(
            weight_bits={node: 4 for node, said in precisions.items() if said == INT4},
            int16_layers=frozenset(node for node, said in precisions.items() if said == INT16),
        )
        network = to_network(graph, ranges, options)
        found = ((item.name, workload_of(network, item)) for item in network.operators)
        return tuple(SourceTask(name, work) for name, work in found if work is not None)


SOURCE_TASKS = CSourceTasks()
