"""Extents of what recurrent operators read, as the standard defines them.

=========  ==========================  =========================================
input      shape                       where
=========  ==========================  =========================================
X          [steps, batch, inputs]      the first two the other way round where
                                       ``layout`` is 1
W          [directions, g * h, inputs] ``g`` gates, ``h`` values of the state
R          [directions, g * h, h]
B          [directions, 2 * g * h]
lengths    [batch]
state      [directions, batch, h]      that of the cell, too; ``layout`` as of X
P          [directions, 3 * h]         of LSTM
=========  ==========================  =========================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from compiler_core.graph.ir import Graph, Node

GATES: Final = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""By operator."""
ACTIVATIONS: Final = {
    "LSTM": ("sigmoid", "tanh", "tanh"),
    "GRU": ("sigmoid", "tanh"),
    "RNN": ("tanh",),
}
"""Functions of one direction by operator, where a node names no others; names in small letters."""
_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_BOTH = "bidirectional"

Shape = tuple[int | None, ...]


def recurrent_contradiction(node: Node, shape_of: Callable[[str], Shape | None]) -> str | None:
    """What of a recurrent node's inputs contradicts another or the definition; ``None`` where
    nothing does, as far as shapes are known.

    Args:
        node: LSTM, GRU or RNN of the standard.
        shape_of: Shape of a tensor, ``None`` where it is not known.
    """
    shapes = {
        what: shape
        for what, name in zip(_INPUTS, node.inputs, strict=False)
        if name and (shape := shape_of(name)) is not None
    }
    names = dict(zip(_INPUTS, node.inputs, strict=False))
    for what, wanted in _wanted(node, shapes).items():
        shape = shapes.get(what)
        if shape is not None and not _fits(shape, wanted):
            return (
                f"node {node.name!r} ({node.op}): {what} {names[what]!r} has shape "
                f"{_text(shape)}; {_text(wanted)} is needed"
            )
        if what == "X" and shape is not None and 0 in shape:
            # onnxruntime ends the process where a GRU takes no step.
            return (
                f"node {node.name!r} ({node.op}): X {names[what]!r} has shape {_text(shape)}: "
                "there is nothing to compute"
            )
    return None


def optional_input(node: Node, place: int) -> str:
    """The name at an input that may be left out; empty where it is."""
    return node.inputs[place] if len(node.inputs) > place else ""


def shape_reader(graph: Graph) -> Callable[[str], Shape | None]:
    """Shapes of a graph's tensors, constants among them."""

    def shape_of(name: str) -> Shape | None:
        if name in graph.constants:
            return tuple(graph.constants[name].shape)
        known = graph.types.get(name)
        return None if known is None else known.shape

    return shape_of


def _wanted(node: Node, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    gates = GATES[node.op]
    directions = 2 if node.text("direction", "forward") == _BOTH else 1
    size = node.attributes.get("hidden_size") or _at(shapes.get("R"), 2, 3)
    first = bool(node.attributes.get("layout", 0))
    source = shapes.get("X")
    batch, inputs = _at(source, 0 if first else 1, 3), _at(source, 2, 3)
    wide = None if size is None else gates * size
    state = (batch, directions, size) if first else (directions, batch, size)
    return {
        "X": (None, None, None),
        "W": (directions, wide, inputs),
        "R": (directions, wide, size),
        "B": (directions, None if wide is None else 2 * wide),
        "sequence_lens": (batch,),
        "initial_h": state,
        "initial_c": state,
        "P": (directions, None if size is None else 3 * size),
    }


def _at(shape: Shape | None, axis: int, rank: int) -> int | None:
    return shape[axis] if shape is not None and len(shape) == rank else None


def _fits(shape: Shape, wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        size is None or other is None or size == other
        for size, other in zip(shape, wanted, strict=True)
    )


def _text(shape: Shape) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"
