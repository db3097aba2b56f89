"""Gates of recurrent cells as products: one matrix over the input and the state of a step.

Source: the definitions of LSTM and GRU in the ONNX standard; gates stand in its order (LSTM:
input, output, forget, cell; GRU: update, reset, hidden).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.units.aim.schedule.workload import Activation, MatrixVector

Floats = npt.NDArray[np.float32]
Found = tuple[str, MatrixVector, Floats, Floats, int]
"""Which product, what it computes, its matrix and bias, and how often a run computes it."""

CELLS: Final = ("LSTM", "GRU")
_SIGMOID, _TANH = Activation.SIGMOID, Activation.TANH
_DIRECTIONS = ("forward", "backward")


def cell_products(graph: Graph, node: Node) -> Iterator[Found]:
    """Products of a node, per direction.

    Raises:
        ValueError: Its weights or extents are not known, or its functions are others.
    """
    attributes = node.attributes
    if attributes.get("activations") or attributes.get("clip") is not None:
        raise ValueError("its activations are others than those of the standard")
    if attributes.get("layout", 0):
        raise ValueError("its samples come before its steps")
    given = [graph.constants.get(name) for name in node.inputs[1:3]]
    if any(value is None or value.dtype != np.float32 for value in given):
        raise ValueError("its weights are computed when the model runs: they lie in no bank")
    w, r = (np.asarray(value, np.float32) for value in given)
    known = graph.types.get(node.inputs[0])
    if known is None or known.shape is None or None in known.shape:
        raise ValueError("how many steps and samples it has is not known")
    steps, batch = (int(extent or 0) for extent in known.shape[:2])
    bias = np.zeros((len(w), 2 * w.shape[1]), np.float32)
    has_bias = len(node.inputs) > 3 and bool(node.inputs[3])
    if has_bias:
        value = graph.constants.get(node.inputs[3])
        if value is None:
            raise ValueError("its bias is computed when the model runs")
        bias = np.asarray(value, np.float32)
    for number, (one, other, both) in enumerate(zip(w, r, bias, strict=True)):
        in_w, in_r = np.split(both, 2)
        part = _DIRECTIONS[number] if len(w) > 1 else ""
        make = _lstm if node.op == "LSTM" else _gru
        after_reset = bool(attributes.get("linear_before_reset", 0))
        for name, activations, matrix, added in make(one, other, in_w, in_r, after_reset):
            outputs, inputs = matrix.shape
            work = MatrixVector(outputs, inputs, batch, bias=has_bias, activations=activations)
            full = " ".join(text for text in (part, name) if text)
            yield full, work, np.ascontiguousarray(matrix)[None], added[None], steps


Product = tuple[str, tuple[Activation, ...], Floats, Floats]


def _lstm(w: Floats, r: Floats, in_w: Floats, in_r: Floats, _: bool) -> list[Product]:
    """All gates at once, of the input followed by the state."""
    functions = (_SIGMOID, _SIGMOID, _SIGMOID, _TANH)
    return [("gates", functions, np.concatenate([w, r], axis=1), in_w + in_r)]


def _gru(w: Floats, r: Floats, in_w: Floats, in_r: Floats, after_reset: bool) -> list[Product]:
    """Update and reset gates; then the hidden gate, which needs what the reset gate gave."""
    size = len(w) // 3
    two = slice(0, 2 * size), slice(2 * size, None)
    first, last = two
    gates = np.concatenate([w[first], r[first]], axis=1)
    found: list[Product] = [("gates", (_SIGMOID,), gates, in_w[first] + in_r[first])]
    if after_reset:  # the reset gate multiplies a product that does not need it
        return [*found, ("input", (), w[last], in_w[last]), ("state", (), r[last], in_r[last])]
    hidden = np.concatenate([w[last], r[last]], axis=1)
    return [*found, ("hidden", (_TANH,), hidden, in_w[last] + in_r[last])]
