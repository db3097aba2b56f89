"""Recurrent cells over one step, written out: the same function."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import nest_tune
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.passes.single_steps import SingleSteps
from compiler_core.graph.session import FloatSession

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
ROWS, INPUTS, WIDTH = 2, 5, 3


def model_of(
    op: str, *, directions: int = 1, states: str = "fed", bias: bool = True, steps: int = 1, **known
) -> onnx.ModelProto:
    """A cell with all its results; ``states`` are fed, constant, zero or absent."""
    random = np.random.default_rng(0)
    constants = {
        "w": (directions, GATES[op] * WIDTH, INPUTS),
        "r": (directions, GATES[op] * WIDTH, WIDTH),
        "b": (directions, 2 * GATES[op] * WIDTH),
    }
    arrays = {k: random.standard_normal(s).astype(np.float32) for k, s in constants.items()}
    names = ["h", "c"] if op == "LSTM" else ["h"]
    shape = (directions, ROWS, WIDTH)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (steps, ROWS, INPUTS))]
    if states == "fed":
        inputs += [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in names]
    elif states != "absent":
        value = random.standard_normal(shape) * (states == "constant")
        arrays |= dict.fromkeys(names, value.astype(np.float32))
    fed = names if states != "absent" else []
    outputs = ["y", "y_h", "y_c"][: 1 + len(names)]
    if directions == 2:
        known["direction"] = "bidirectional"
    known["hidden_size"] = WIDTH
    node = helper.make_node(
        op, ["x", "w", "r", "b" if bias else "", "", *fed], outputs, "cell", **known
    )
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    weights = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph([node], "g", inputs, results, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def feed(graph: Graph) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    return {
        name: random.standard_normal(graph.types[name].shape).astype(np.float32)
        for name in graph.inputs
    }


@given(
    op=st.sampled_from(sorted(GATES)),
    directions=st.integers(1, 2),
    states=st.sampled_from(["fed", "constant", "zero", "absent"]),
    bias=st.booleans(),
    late=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_the_same_function(op, directions, states, bias, late):
    known = {"linear_before_reset": 1} if late and op == "GRU" else {}
    graph = import_model(model_of(op, directions=directions, states=states, bias=bias, **known))
    found = SingleSteps().apply(graph)
    assert op not in [node.op for node in found.nodes]
    values = feed(graph)
    expected, results = FloatSession(graph).run(values), FloatSession(found).run(values)
    for name in graph.outputs:
        np.testing.assert_allclose(results[name], expected[name], atol=1e-5)
        assert found.types[name].shape == expected[name].shape


@pytest.mark.parametrize(
    "known",
    [
        {"steps": 2},
        {"clip": 1.0},
        {"activations": ["Sigmoid", "Relu", "Tanh"]},
        {"input_forget": 1},
    ],
)
def test_others_stay(known):
    graph = import_model(model_of("LSTM", **known))
    assert SingleSteps().apply(graph) is graph


def test_steps_that_a_model_leaves_open_are_no_single_step():
    model = model_of("LSTM", states="absent")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "T"
    del model.graph.output[1:]
    graph = import_model(model)
    assert "LSTM" in [node.op for node in simplify(graph).nodes]


def test_products_of_a_step_run_on_the_npu(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    known = {"w": (1, 256, 64), "r": (1, 256, 64)}
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    m (float[1,1,64] x, float[1,1,64] h, float[1,1,64] c)
        => (float[1,1,1,64] y, float[1,1,64] hn, float[1,1,64] cn) {
        y, hn, cn = LSTM <hidden_size = 64> (x, w, r, , , h, c)
    }
    """
    model = onnx.parser.parse_model(text)
    for name, shape in known.items():
        weight = (0.2 * random.standard_normal(shape)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    onnx.save(model, tmp_path / "m.onnx")
    data = {"x": random.standard_normal((12, 1, 64)).astype(np.float32)}
    states = {"hn": "h", "cn": "c"}
    out = tmp_path / "out"
    made = nest_tune.compile(tmp_path / "m.onnx", "vta", out, calibration=data, states=states)
    assert made.macs_share_npu == 1.0
    assert nest_tune.run(out, data, check=True, states=states).bit_exact
