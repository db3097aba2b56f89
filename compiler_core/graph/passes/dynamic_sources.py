"""Real numbers behind integers that a model quantizes as it runs."""

from __future__ import annotations

from dataclasses import replace

from compiler_core.graph.ir import Node, TensorType
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_MOVES = ("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


def dynamic_source(rewriter: Rewriter, tensor: str) -> tuple[Node, str, tuple[Node, ...]] | None:
    """What made integers of real numbers, these in the shape of the integers, and the moves that
    bring them there; ``None`` where no DynamicQuantizeLinear did.

    Args:
        rewriter: Of the graph.
        tensor: Integers, which may have been moved since.
    """
    moves = []
    while is_op(rewriter.producer(tensor), *_MOVES):
        move = rewriter.producer(tensor)
        assert move is not None
        moves.append(move)
        tensor = move.inputs[0]
    source = rewriter.producer(tensor)
    if source is None or not is_op(source, "DynamicQuantizeLinear"):
        return None
    real, made = source.inputs[0], []
    for move in reversed(moves):
        shape = rewriter.shape(move.output)
        if shape is None:
            return None
        name = rewriter.add_tensor(f"{move.output}/real", shape, move.output)
        rewriter.types[name] = TensorType(rewriter.dtype(source.inputs[0]) or "float32", shape)
        own = rewriter.fresh_node(f"{move.name}/real")
        made.append(replace(move, name=own, inputs=(real, *move.inputs[1:]), outputs=(name,)))
        real = name
    return source, real, tuple(made)
