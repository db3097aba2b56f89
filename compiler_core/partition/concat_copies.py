"""Which copies of a concatenation a placement needs.

A concatenation on the NPU runs no program: its inputs lie in its output. A tensor lies in one
concatenation only, the first of the graph that runs there; every later one reads a copy.
"""

from __future__ import annotations

from collections.abc import Mapping

from compiler_core.partition.costs import CostTable
from compiler_core.partition.groups import GroupGraph

Conditions = Mapping[int, Mapping[int, frozenset[int]]]
"""By group and position among its programs: the groups of which one has to run in the same form."""


def copy_conditions(groups: GroupGraph, costs: CostTable) -> Conditions:
    """When each copy runs; copies that always do, and all other programs, are not in it.

    Args:
        groups: The model.
        costs: Programs of its groups with everything on the NPU, where all copies are needed that
            any placement needs.
    """
    found: dict[int, dict[int, frozenset[int]]] = {}
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
        # The same copies at every place where the concatenation can run.
        ways = list(costs.groups[index].at.values())
        for at, program in enumerate(ways[0].programs if ways else ()):
            if program.name in earlier:
                found.setdefault(index, {})[at] = earlier[program.name]
    return found
