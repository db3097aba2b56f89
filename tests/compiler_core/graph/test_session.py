"""Sessions whose large weights lie outside of their models: the same bits, in less memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto

from compiler_core.errors import InputError
from compiler_core.graph.exporter import LARGE_BYTES, export_onnx
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.session import FloatSession


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) / 30).astype(np.float32)


@pytest.fixture
def network(graph_of):
    return graph_of(
        """(float[n, 64, 8, 8] x) => (float[n, 600] z) {
            c = Conv <pads = [1, 1, 1, 1]> (x, kernel)
            h = Relu (c)
            p = GlobalAveragePool (h)
            f = Flatten (p)
            y = MatMul (f, matrix)
            z = Add (y, bias)
        }""",
        kernel=_random(512, 64, 3, 3),
        matrix=_random(512, 600, seed=1),
        bias=_random(600, seed=2),
    )


@pytest.mark.parametrize("optimize", [True, False])
def test_bits_are_those_of_weights_inside(network, monkeypatch, optimize) -> None:
    x = _random(5, 64, 8, 8, seed=3)
    found = FloatSession(network, optimize=optimize).run({"x": x})
    monkeypatch.setattr("compiler_core.graph.exporter.LARGE_BYTES", 1 << 40)
    plain = FloatSession(network, optimize=optimize).run({"x": x})
    np.testing.assert_array_equal(found["z"], plain["z"])


def test_large_weights_are_only_named(network) -> None:
    outside: dict[str, np.ndarray] = {}
    model = export_onnx(network, outside=outside)
    assert set(outside) == {"kernel", "matrix"}
    assert len(model.SerializeToString()) < LARGE_BYTES / 8
    whole = export_onnx(network)
    assert {item.name for item in whole.graph.initializer} >= {"kernel", "matrix", "bias"}
    assert not any(item.external_data for item in whole.graph.initializer)


def test_words_of_the_runtime_that_are_no_text_are_told(onnx_model) -> None:
    model = onnx_model(
        """(float[1, 1, 4, 4] x) => (float[1, 1, 8, 8] y) {
            y = Resize <mode = "nearest"> (x, , scales)
        }""",
        scales=np.array([1, 1, 2, 2], np.float32),
    )
    graph = import_model(model)
    (node,) = graph.nodes
    bad = replace(node, attributes={**node.attributes, "mode": b"\xff\xfe"})
    # Early patch releases of Python 3.11 lose such words, and the kind of error is told.
    with pytest.raises(InputError, match=r"cannot run graph 'g': (.*mode attribute is|Fail$)"):
        FloatSession(replace(graph, nodes=(bad,)))


def test_results_that_numpy_has_no_type_for_are_an_input_error() -> None:
    nodes = (
        Node("c", "Cast", ("x",), ("b",), {"to": TensorProto.BFLOAT16}),
        Node("d", "Cast", ("b",), ("y",), {"to": TensorProto.FLOAT}),
    )
    known = {name: TensorType("float32", (1, 4)) for name in "xy"}
    graph = Graph(
        "m", ("x",), ("y",), nodes, {}, {**known, "b": TensorType("bfloat16", (1, 4))}, {"": 17}
    )
    x = np.ones((1, 4), np.float32)
    with pytest.raises(InputError, match="bfloat16"):
        FloatSession(graph, ["b"], optimize=False).run({"x": x})
    np.testing.assert_array_equal(FloatSession(graph).run({"x": x})["y"], x)
