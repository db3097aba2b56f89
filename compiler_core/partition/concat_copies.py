"""Which copies of a concatenation a placement needs.

A concatenation on the NPU runs no program: its inputs lie in its output. A tensor lies in one
concatenation of a unit only, the first of the graph that runs there; every later one reads a copy.
"""

from __future__ import annotations

from collections.abc import Mapping

from compiler_core.partition.costs import CostTable
from compiler_core.partition.group_graph import GroupGraph

Conditions = Mapping[tuple[int, int], Mapping[int, frozenset[int]]]
"""By group and unit, and position among its programs there: the groups of which one has to run on
the same unit."""


def copy_conditions(groups: GroupGraph, costs: CostTable) -> Conditions:
    """When each copy runs; copies that always do, and all other programs, are not in it.

    Args:
        groups: The model.
        costs: Programs of its groups with everything on the NPU, where all copies are needed that
            any placement needs.
    """
    found: dict[tuple[int, int], dict[int, frozenset[int]]] = {}
    placed: dict[int, set[int]] = {}
    for node in groups.graph.nodes:
        index = groups.group_of[node.name]
        if node.op != "Concat" or groups.groups[index].npu_reason is not None:
            continue
        own: set[int] = set()
        earlier: dict[str, frozenset[int]] = {}
        for position, name in enumerate(node.inputs):
            base = groups.base_of.get(name)
            if base is None:
                continue
            if base not in own:
                earlier[f"{node.name}/copy{position}"] = frozenset(placed.get(base, ()))
            own.add(base)
        for base in own:
            placed.setdefault(base, set()).add(index)
        # The same copies at every place of a unit where the concatenation can run.
        for place, way in costs.groups[index].at.items():
            unit = costs.places[place].unit
            for at, program in enumerate(way.programs):
                if program.name in earlier:
                    found.setdefault((index, unit), {})[at] = earlier[program.name]
    return found
