"""Operators that hand values on: concatenations, slices, shuffles, padding, nearest neighbours."""

from __future__ import annotations

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.host_arithmetic import HostTrait
from compiler_core.units.cpu.integers.rule import Rule, moves

_MOVING = (
    *("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice"),
    *("SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
)


def _pad(graph: Graph, node: Node) -> HostTrait | str:
    """Zeros are integers whatever the scale; other fillers are not."""
    filler = graph.constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
    if node.attributes.get("value") or (filler is not None and filler.any()):
        return "it pads with another value than 0"
    return moves(graph, node)


def _gather(graph: Graph, node: Node) -> HostTrait | str:
    """Values are looked up at places that are known."""
    if node.inputs[0] in graph.constants:
        return "it looks up constants"
    return moves(graph, node)


OPERATORS: dict[str, Rule] = {**dict.fromkeys(_MOVING, moves), "Pad": _pad, "Gather": _gather}
