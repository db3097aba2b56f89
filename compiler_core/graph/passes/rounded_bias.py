"""Biases that a model rounds to the scale of its integers as it runs.

Quantizers of before 2021 wrote ``ConvInteger(x, w) + floor(b / s)`` with ``s`` found for every
input. Where ``s`` multiplies the sum behind it, the bias of the real operator is ``b``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy.typing as npt

from compiler_core.graph.ir import Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op


class RoundedBias(NamedTuple):
    """What is added to integers.

    Attributes:
        add: The sum.
        real: ``b[O]``.
        scale: The tensor ``s``.
    """

    add: Node
    real: npt.NDArray[Any]
    scale: str


def rounded_bias(rewriter: Rewriter, integers: str) -> RoundedBias | None:
    """The bias that is added to ``integers``, whose only reader adds it; ``None`` for others."""
    if not rewriter.private(integers):
        return None
    (add,) = rewriter.readers(integers)
    if not is_op(add, "Add"):
        return None
    (other,) = [name for name in add.inputs if name != integers]
    for ops in (("Reshape", "Unsqueeze"), ("Cast",), ("Floor", "Round")):
        node = rewriter.producer(other)
        if node is not None and is_op(node, *ops):
            other = node.inputs[0]
        elif "Reshape" not in ops:
            return None
    division = rewriter.producer(other)
    if division is None or not is_op(division, "Div"):
        return None
    real = rewriter.constant(division, 0)
    return None if real is None else RoundedBias(add, real.reshape(-1), division.inputs[1])


def same_product(rewriter: Rewriter, first: str, second: str) -> bool:
    """Whether two tensors are one, or products of the same two."""
    if first == second:
        return True
    made = [rewriter.producer(name) for name in (first, second)]
    if not all(is_op(node, "Mul") for node in made):
        return False
    inputs = [sorted(node.inputs) for node in made if node is not None]
    return inputs[0] == inputs[1]
