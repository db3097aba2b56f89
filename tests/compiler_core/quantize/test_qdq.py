"""The QDQ model in stock onnxruntime against the reference executor.

Biases hold a quarter unit more in the QDQ model, so that ties round as the integers do: it computes
the same integers, but for averages that the runtime divides itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.calibration import calibrate
from compiler_core.quantize.qdq import qdq_model
from compiler_core.quantize.quantize import quantize
from compiler_core.quantize.reference import ReferenceExecutor
from tests.compiler_core.quantize.one_operator import operator_model


def random(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(model, feeds):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, feeds)


@pytest.fixture
def quantized(plain):
    b = plain.GraphBuilder(x=(9, 8, 3))
    b.add("Transpose", ["x"], "t", (3, 9, 8), perm=(0, 3, 1, 2))
    inputs = ["t", b.constant("w", random(16, 3, 3, 3)), b.constant("b", random(16))]
    b.add("Conv", inputs, "c", (16, 9, 8), pads=(1, 1, 1, 1), clip=(0.0, 6.0))
    b.add("MaxPool", ["c"], "m", (16, 9, 8), kernel_shape=(3, 3), pads=(1, 1, 1, 1))
    b.add("Concat", ["m", "c"], "k", (32, 9, 8), axis=1)
    b.add("Conv", ["k", b.constant("v", random(32, 1, 3, 3))], "d", (32, 7, 6), group=32)
    b.add("Conv", ["d", b.constant("u", random(32, 32, 1, 1))], "e", (32, 7, 6))
    b.add("Add", ["e", "d"], "s", (32, 7, 6), clip=(0.0, np.inf))
    b.add("Sigmoid", ["s"], "g", (32, 7, 6))
    b.add("GlobalAveragePool", ["g"], "a", (32, 1, 1))
    b.add("Flatten", ["a"], "f", (32,), axis=1)
    b.add("MatMul", ["f", b.constant("n", random(32, 5))], "y", (5,))
    graph = b.build("y")
    assignment = default_assignment(graph)
    calibrated = assemble(graph, assignment).calibrated
    ranges = calibrate(graph, {"x": random(16, 9, 8, 3, seed=5)}, calibrated)
    return quantize(graph, assignment, ranges)


def test_each_operator_gives_the_same_integers(quantized):
    tensors = ReferenceExecutor(quantized).run_integer({"x": random(12, 9, 8, 3)}).tensors
    seen = 0
    for segment in quantized.segments:
        for operator in getattr(segment, "operators", ()):
            model = operator_model(operator, quantized.tensors)
            feeds = {value.name: tensors[value.name] for value in model.graph.input}
            (result,) = run(model, feeds)
            expected = tensors[operator.output]
            assert result.dtype == np.int8
            np.testing.assert_array_equal(result, expected)
            seen += 1
    assert seen == 7


def test_whole_model(quantized):
    x = random(12, 9, 8, 3)
    expected = ReferenceExecutor(quantized).run({"x": x})["y"]
    (result,) = run(qdq_model(quantized), {"x": x})
    assert result.shape == expected.shape
    step = 2.0 ** -quantized.tensors["y"].exponent
    assert np.abs(result - expected).max() <= 2 * step
    assert np.abs(result - expected).mean() <= 0.5 * step


def test_old_operator_sets_keep_their_float_segments(plain):
    b = plain.GraphBuilder(x=(4, 6))
    b.add("Clip", ["x"], "h", (4, 6), min=-1.0, max=1.0)
    b.add("Softmax", ["h"], "s", (4, 6), axis=1)
    b.add("MatMul", ["s", b.constant("w", random(6, 5))], "y", (4, 5), clip=(-0.5, 0.25))
    graph = b.build("y", opset=9)
    assignment = {"Clip_h": "cpu", "Softmax_s": "cpu", "MatMul_y": "vta"}
    samples = {"x": random(8, 4, 6)}
    ranges = calibrate(graph, samples, assemble(graph, assignment).calibrated)
    quantized = quantize(graph, assignment, ranges)
    model = qdq_model(quantized)
    assert {item.domain: item.version for item in model.opset_import} == {"": 9, "com.microsoft": 1}
    (result,) = run(model, samples)
    expected = ReferenceExecutor(quantized).run(samples)["y"]
    step = 2.0 ** -quantized.tensors["y"].exponent
    assert np.abs(result - expected).max() <= step


@pytest.mark.parametrize("opset", [13, 20, 21, 23])
def test_every_operator_set_loads_at_the_default_optimization(plain, opset):
    b = plain.GraphBuilder(x=(8, 6))
    b.add("MatMul", ["x", b.constant("v", random(6, 16))], "h", (8, 16), clip=(0.0, np.inf))
    b.add("Sigmoid", ["h"], "s", (8, 16))
    b.add("MatMul", ["s", b.constant("w", random(16, 5))], "y", (8, 5))
    graph = b.build("y", "h", opset=opset)
    assignment = {"MatMul_h": "vta", "Sigmoid_s": "cpu", "MatMul_y": "vta"}
    samples = {"x": random(8, 8, 6)}
    ranges = calibrate(graph, samples, assemble(graph, assignment).calibrated)
    quantized = quantize(graph, assignment, ranges)
    expected = ReferenceExecutor(quantized).run(samples)
    result, _ = run(qdq_model(quantized), samples)
    np.testing.assert_allclose(result, expected["y"], atol=2.0 ** -quantized.tensors["y"].exponent)


def test_outputs_that_are_constants_or_inputs(plain):
    b = plain.GraphBuilder(x=(4,))
    b.constant("k", np.float32([1, 2, 3]))
    b.add("MatMul", ["x", b.constant("w", random(4, 5))], "y", (5,))
    graph = b.build("y", "k", "x")
    graph = replace(graph, dynamic_batch=graph.dynamic_batch - {"k"})
    assignment = default_assignment(graph)
    samples = {"x": random(3, 4)}
    ranges = calibrate(graph, samples, assemble(graph, assignment).calibrated)
    outputs = ReferenceExecutor(quantize(graph, assignment, ranges)).run(samples)
    np.testing.assert_array_equal(outputs["x"], samples["x"])
    np.testing.assert_array_equal(outputs["k"], [1, 2, 3])


def test_weights_of_float_layers_stay_float(plain):
    """onnxruntime quantizes those of a convolution right between its quantization operators."""
    b = plain.GraphBuilder(x=(4, 6, 6))
    b.add("Conv", ["x", b.constant("w", random(8, 4, 1, 1))], "a", (8, 6, 6))
    b.add("Conv", ["a", b.constant("v", random(8, 8, 1, 1, seed=2))], "d", (8, 6, 6))
    b.add("Conv", ["d", b.constant("u", random(5, 8, 1, 1, seed=3))], "y", (5, 6, 6))
    graph = b.build("y")
    assignment = default_assignment(graph) | {"Conv_d": "cpu"}
    x = random(6, 4, 6, 6, seed=4)
    ranges = calibrate(graph, {"x": x}, assemble(graph, assignment).calibrated)
    quantized = quantize(graph, assignment, ranges)
    expected = ReferenceExecutor(quantized).run({"x": x})["y"]
    (result,) = run(qdq_model(quantized), {"x": x})
    assert (result == expected).mean() > 0.99
