"""Models whose weights are made by a generator: a language model with an LSTM, one block of a
decoder at one token, and small dense layers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh


def _saved(
    nodes: list[Any], x: tuple[int, ...], y: tuple[int, ...], weights: dict[str, Any]
) -> Any:
    graph = oh.make_graph(
        nodes,
        "g",
        [oh.make_tensor_value_info("x", 1, x)],
        [oh.make_tensor_value_info("y", 1, y)],
        [onnx.numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in weights.items()],
    )
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)


def _matrix(rng: np.random.Generator, *shape: int) -> Any:
    return rng.normal(size=shape, scale=shape[-1] ** -0.5)


def lstm_model(size: int, words: int, *, steps: int = 2) -> Any:
    """A language model: an LSTM over the steps, and a layer over all words behind the last one.

    One step is written out as two dense layers; an operator that recurs takes two or more."""
    rng = np.random.default_rng(0)
    weights = {
        "w": _matrix(rng, 1, 4 * size, size), "r": _matrix(rng, 1, 4 * size, size),
        "b": np.zeros((1, 8 * size)), "out": _matrix(rng, size, words),
    }  # fmt: skip
    nodes = [
        oh.make_node("LSTM", ["x", "w", "r", "b"], ["", "h"], "cell", hidden_size=size),
        oh.make_node("Flatten", ["h"], ["f"], "flat", axis=2),
        oh.make_node("MatMul", ["f", "out"], ["y"], "words"),
    ]
    return _saved(nodes, (steps, 1, size), (1, words), weights)


def dense_model(sizes: tuple[int, ...]) -> Any:
    """Dense layers with Relu between them, at one row."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], {}, "x"
    for number, (inputs, outputs) in enumerate(pairwise(sizes)):
        weights[f"w{number}"] = _matrix(rng, inputs, outputs)
        weights[f"b{number}"] = rng.normal(size=outputs)
        end = number == len(sizes) - 2
        names = [last, f"w{number}", f"b{number}"]
        nodes.append(oh.make_node("Gemm", names, ["y" if end else f"h{number}"], f"n{number}"))
        if not end:
            nodes.append(oh.make_node("Relu", [f"h{number}"], [f"a{number}"], f"r{number}"))
            last = f"a{number}"
    return _saved(nodes, (1, sizes[0]), (1, sizes[-1]), weights)
