"""Which unit runs which node when nobody has searched: everything that the NPU can run."""

from __future__ import annotations

from compiler_core.graph.ir import Graph
from compiler_core.quantize.assemble import CPU, NPU
from compiler_core.targets.vta.operators import unsupported


def default_assignment(graph: Graph) -> dict[str, str]:
    """``"vta"`` for every node that the VTA supports, ``"cpu"`` for the others, by node name."""
    return {node.name: NPU if unsupported(graph, node) is None else CPU for node in graph.nodes}


def cpu_reasons(graph: Graph) -> dict[str, str]:
    """Why each unsupported node stays on the CPU, by node name."""
    found = ((node.name, unsupported(graph, node)) for node in graph.nodes)
    return {name: reason for name, reason in found if reason is not None}
