"""Ports that are integers, scalars or infinite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.profile import profile_model
from compiler_core.units.cpu.c.bundles.bundle import expected, write_bundle
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.convert.options import Options
from tests.compiler_core.units.cpu.c.cases import Model
from tests.compiler_core.units.cpu.c.made import make_bundle

KINDS = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}


def integer_model(dtype: str) -> onnx.ModelProto:
    """A convolution between integers, as converters of TensorFlow Lite's files write it."""
    random = np.random.default_rng(3)
    zero = 5 if dtype == "int8" else 131
    arrays = {
        "s": np.float32(0.03),
        "z": np.array(zero, dtype),
        "t": np.float32(0.05),
        "w": random.normal(0, 0.4, (4, 2, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["real"]),
        helper.make_node("Conv", ["real", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "t", "z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "integers",
        [helper.make_tensor_value_info("x", KINDS[dtype], [1, 2, 6, 5])],
        [helper.make_tensor_value_info("y", KINDS[dtype], [1, 4, 6, 5])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 19)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("dtype", KINDS)
def test_integers_of_the_caller_are_those_of_the_network(
    dtype: str, precision: str, tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    model = integer_model(dtype)
    graph = simplify(import_model(model))
    low = np.iinfo(dtype).min
    data = np.random.default_rng(1).integers(low, low + 256, (8, 2, 6, 5)).astype(dtype)
    ranges = profile_model(graph, {"x": data}).ranges()
    options = Options(precision=precision)
    net = to_network(graph, ranges, options)
    assert {net.values[name].type.dtype for name in (*net.inputs, *net.outputs)} == {"int8"}
    for row in data:
        (wanted,) = ReferenceEvaluator(model).run(None, {"x": row[None]})
        _, (found,) = expected(net, {"x": row[None]})
        apart = np.abs(net.real(net.outputs[0], found) - wanted.astype(np.float32))
        assert apart.max() <= (1 if precision == "float32" else 3)
    bundle = make_bundle(graph, ranges, "integers", options)
    write_bundle(bundle, tmp_path, [{"x": data[:1]}, {"x": data[1:2]}])
    assert "2 of 2" in check_bundle(tmp_path, "gcc", "-O2")


def test_a_scale_per_channel_of_an_input_is_refused() -> None:
    graph = simplify(import_model(integer_model("int8")))
    node = next(node for node in graph.nodes if node.op == "DequantizeLinear")
    constants = {**graph.constants, node.inputs[1]: np.array([0.1, 0.2], np.float32)}
    changed = replace(graph, constants=constants)
    with pytest.raises(InputError, match="a scale per channel"):
        to_network(changed, {}, Options(precision="float32"))


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean", "ReduceMax"])
@pytest.mark.parametrize("shape", [(3, 6, 5), (2, 5), (7,)])
def test_results_without_axes(op: str, shape: tuple[int, ...]) -> None:
    m = Model(shape)
    graph = m.graph(m.node(op, "x0", keepdims=0))
    net = to_network(graph, {}, Options(precision="float32"))
    sample = {"x0": np.random.default_rng(0).normal(size=shape).astype(np.float32)}
    _, (found,) = expected(net, sample)
    wanted = FloatSession(graph).run(sample)[graph.outputs[0]]
    assert net.real(net.outputs[0], found).shape == ()
    np.testing.assert_allclose(net.real(net.outputs[0], found), wanted, rtol=1e-5)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_blocks_go_to_channels_in_either_order(mode: str) -> None:
    m = Model((1, 3, 4, 6))
    graph = m.graph(m.node("SpaceToDepth", "x0", blocksize=2))
    (node,) = graph.nodes
    ordered = replace(node, attributes={**node.attributes, "mode": mode})
    net = to_network(replace(graph, nodes=(ordered,)), {}, Options(precision="float32"))
    x = np.arange(72, dtype=np.float32).reshape(1, 3, 4, 6)
    _, (found,) = expected(net, {"x0": x})
    blocks = x.reshape(1, 3, 2, 2, 3, 2)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    wanted = blocks.transpose(order).reshape(1, 12, 2, 3)
    np.testing.assert_array_equal(net.real(net.outputs[0], found), wanted)


def test_samples_may_be_infinite(tmp_path: Path, check_bundle: Callable[..., str]) -> None:
    """As masks of attention that the caller gives are."""
    m = Model((2, 3), (2, 3))
    graph = m.graph(m.node("Softmax", m.node("Add", "x0", "x1"), axis=-1))
    bundle = make_bundle(graph, {}, "masked", Options(precision="float32"))
    mask = np.array([[0, -np.inf, 0], [0, 0, -np.inf]], np.float32)
    write_bundle(bundle, tmp_path, [{"x0": np.ones((2, 3), np.float32), "x1": mask}])
    assert "1 of 1" in check_bundle(tmp_path, "gcc", "-O2")
    assert "1 of 1" in check_bundle(tmp_path, "clang", "-O2")


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    m = Model((2, 3))
    bundle = make_bundle(m.graph(m.node("Relu", "x0")), {}, "some", Options(precision="float32"))
    with pytest.raises(InputError, match="holds NaN"):
        write_bundle(bundle, tmp_path, [{"x0": np.full((2, 3), np.nan, np.float32)}])
