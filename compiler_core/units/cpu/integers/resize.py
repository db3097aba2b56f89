"""Resize and Upsample: nearest neighbours are moved, others are weighted in registers."""

from __future__ import annotations

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.host_arithmetic import HostTrait
from compiler_core.units.cpu.integers.rule import Rule


def _resize(graph: Graph, node: Node) -> HostTrait | str:
    for name in node.inputs[1:]:
        if name and name not in graph.constants:
            return f"'{name}' is computed at run time"
    nearest = node.text("mode", "nearest") == "nearest"
    return HostTrait.MOVES if nearest else HostTrait.COMPUTES


OPERATORS: dict[str, Rule] = {"Resize": _resize, "Upsample": _resize}
