"""Masks of scores: minus infinity where an attention does not look, or values in place of others.

Infinities stay in the registers of the loop that makes a Softmax of the scores: its results are
finite wherever a row has one score that is not masked.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.host_arithmetic import HostTrait
from compiler_core.units.cpu.integers.rule import Rule

_LAST_AXIS_OPSET = 13
_NOWHERE = np.zeros((), np.bool_)


def masks_scores(graph: Graph, node: Node) -> bool:
    """Whether constants that are not finite mask scores, and no row of them entirely: the one
    reader is a Softmax whose results others than the caller read."""
    if node.op not in ("Add", "Where") or node.clip is not None or node.output in graph.outputs:
        return False
    readers = graph.consumers(node.output)
    if len(readers) != 1 or readers[0].op != "Softmax" or readers[0].output in graph.outputs:
        return False
    hidden = _hidden(graph, node)
    shape = graph.types[node.output].shape
    axis = int(readers[0].attributes.get("axis", _axis(graph)))
    if hidden is None or shape is None or hidden.ndim > len(shape):
        return False
    if not -len(shape) <= axis < len(shape):
        return False
    rows = hidden.reshape((1,) * (len(shape) - hidden.ndim) + hidden.shape)
    return not rows.all(axis=axis).any()


def _axis(graph: Graph) -> int:
    """A Softmax's, where it does not say."""
    return -1 if graph.opsets.get("", _LAST_AXIS_OPSET) >= _LAST_AXIS_OPSET else 1


def _hidden(graph: Graph, node: Node) -> npt.NDArray[np.bool_] | None:
    """Which results are minus infinity whatever is computed; ``None`` where constants hold NaN or
    infinity, or the condition is computed."""
    known = [graph.constants.get(name) for name in node.inputs]
    if node.op == "Add":
        masks = [_negative(value) for value in known if value is not None]
        return masks[0] if len(masks) == 1 else None
    condition, *values = known
    if condition is None:
        return None
    chosen, other = (_NOWHERE if value is None else _negative(value) for value in values)
    if chosen is None or other is None:
        return None
    try:
        return np.asarray(np.where(condition, chosen, other), np.bool_)
    except ValueError:  # shapes of a hostile model
        return None


def _negative(value: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_] | None:
    """Where a constant is minus infinity; ``None`` where it holds NaN or infinity."""
    numbers = np.asarray(value, np.float32)
    if np.isnan(numbers).any() or np.isposinf(numbers).any():
        return None
    return np.asarray(np.isneginf(numbers), np.bool_)


def _where(graph: Graph, node: Node) -> HostTrait | str:
    if node.inputs[0] not in graph.constants:
        return f"'{node.inputs[0]}' is computed at run time"
    return HostTrait.POINTWISE


OPERATORS: dict[str, Rule] = {"Where": _where}
