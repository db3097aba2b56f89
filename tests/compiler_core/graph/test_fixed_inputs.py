"""Inputs that hold a value: the smaller model computes what the whole one does with it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from compiler_core.errors import InputError
from compiler_core.graph.fixed_inputs import with_fixed_inputs
from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify


def chosen(rate_shape=()):
    """A model whose input ``rate`` decides between two layers, as voice detectors have it."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    rate = helper.make_tensor_value_info("rate", TensorProto.INT64, rate_shape)
    gain = helper.make_tensor_value_info("gain", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    branches = []
    for scale in (1.0, 2.0):
        weight = onnx.numpy_helper.from_array((scale * np.eye(4)).astype("f4"), f"w{scale}")
        out = helper.make_tensor_value_info(f"o{scale}", TensorProto.FLOAT, [1, 4])
        layer = helper.make_node("MatMul", ["x", weight.name], [out.name])
        branches.append(helper.make_graph([layer], f"b{scale}", [], [out], [weight]))
    high = onnx.numpy_helper.from_array(np.array(16000, np.int64).reshape(rate_shape), "high")
    nodes = [
        helper.make_node("Equal", ["rate", "high"], ["is_high"]),
        helper.make_node(
            "If", ["is_high"], ["h"], then_branch=branches[0], else_branch=branches[1]
        ),
        helper.make_node("Mul", ["h", "gain"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "voice", [x, rate, gain], [y], [high])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def ran(model, **feeds):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {name: np.asarray(value) for name, value in feeds.items()})[0]


@settings(max_examples=20, deadline=None)
@given(rate=st.sampled_from([8000, 16000]), gain=st.floats(-4, 4, width=32))
def test_a_fixed_input_is_as_if_it_were_fed(rate, gain):
    model = chosen()
    before = model.SerializeToString(deterministic=True)
    fixed = with_fixed_inputs(model, {"rate": rate, "gain": gain})
    assert model.SerializeToString(deterministic=True) == before
    assert [item.name for item in fixed.graph.input] == ["x"]
    x = np.arange(4, dtype=np.float32)[None]
    fed = np.full((1, 4), gain, np.float32)
    np.testing.assert_array_equal(ran(fixed, x=x), ran(model, x=x, rate=np.int64(rate), gain=fed))


def test_what_follows_from_a_fixed_input_is_folded():
    graph = simplify(import_model(with_fixed_inputs(chosen(), {"rate": 8000})))
    assert "If" not in {node.op for node in graph.nodes}
    assert graph.inputs == ("x", "gain")
    assert "If" in {node.op for node in simplify(import_model(chosen())).nodes}


def test_a_value_per_element_and_a_default_that_may_be_overridden():
    fixed = with_fixed_inputs(chosen(), {"gain": [1, 2, 3, 4]})
    x = np.ones((1, 4), np.float32)
    found = ran(fixed, x=x, rate=np.int64(16000))
    np.testing.assert_array_equal(found, [[1, 2, 3, 4]])
    model = chosen()
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 4), "f4"), "gain"))
    fixed = with_fixed_inputs(model, {"gain": 3})
    np.testing.assert_array_equal(ran(fixed, x=x, rate=np.int64(16000)), 3 * x)
    assert [item.name for item in fixed.graph.initializer].count("gain") == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rates": 1}, "'rates' is fixed to a value, which is no input; inputs: x, rate, gain"),
        ({"rate": 0.5}, "input 'rate' holds int64; 0.5 is none"),
        ({"rate": "high"}, "input 'rate' holds int64; 'high' is text"),
        ({"rate": 2**70}, "input 'rate' holds int64"),
        ({"rate": float("nan")}, "input 'rate' holds int64; nan is none"),
        ({"gain": [1, 2, 3]}, "input 'gain' has shape [1, 4]; 3 values are given"),
        ({"x": 0, "rate": 1, "gain": 1}, "input 'gain' is the only one"),
    ],
)
def test_values_that_an_input_does_not_take_are_refused(values, said):
    with pytest.raises(InputError) as raised:
        with_fixed_inputs(chosen(), values)
    assert raised.value.message.startswith(said)
