"""Integers on the CPU against their plain definition, and the QDQ form against both."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from compiler_core.quantize.affine import activation_type
from compiler_core.quantize.apply import apply_scheme
from compiler_core.quantize.cpu_integers import lower_integers
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.qdq import qdq_model
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.scheme import CpuPrecision, QuantizationScheme, RangeMethod, Scales
from compiler_core.quantize.statistics import TensorRange
from tests.float_runs import run_float


def random(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def conv_graph(plain, channels, opset, clip=None):
    b = plain.GraphBuilder(x=(channels, 6, 5))
    inputs = ["x", b.constant("w", random(7, channels, 3, 3)), b.constant("b", random(7, seed=2))]
    b.add("Conv", inputs, "y", (7, 4, 3), clip=clip)
    return b.build("y", opset=opset)


def plain_levels(x, known):
    return np.clip(np.rint(x / np.float32(known.scale)), *known.limits).astype(np.int64)


@pytest.mark.parametrize("precision", [CpuPrecision.INT8, CpuPrecision.INT8_ACTIVATIONS_16])
@pytest.mark.parametrize("scales", Scales)
@pytest.mark.parametrize(("channels", "opset"), [(3, 17), (3, 8), (300, 17)])
def test_convolution_equals_its_definition(plain, scales, precision, channels, opset):
    """300 channels need sums beyond float32."""
    graph = conv_graph(plain, channels, opset, clip=(0.0, np.inf))
    x = random(6, channels, 6, 5, seed=3)
    ranges = profile_model(graph, {"x": x}).ranges()
    scheme = QuantizationScheme(
        scales, Granularity.TENSOR, RangeMethod.MAX, RangeMethod.MAX, cpu_precision=precision
    )
    parts = lower_integers(graph, ["Conv_y"], ranges, scheme)
    found = run_float(parts.exact, {"x": x})["y"]
    bits = 8 if precision is CpuPrecision.INT8 else 16
    source = activation_type(ranges["x"], scales, RangeMethod.MAX, bits)
    result = activation_type(ranges["y"], scales, RangeMethod.MAX, bits)
    weight = graph.constants["w"].astype(np.float64)
    largest = np.abs(weight).max()
    step = np.float64(np.float32(largest / 127))
    if scales is Scales.POWER_OF_TWO:
        step = 2.0 ** -np.floor(np.log2(127.5 / largest))
    window = ((3, 3), (1, 1), (0, 0, 0, 0), (1, 1))
    integers = np.clip(np.rint(weight / step), -127, 127).astype(np.int64)
    total = plain.sum(plain_levels(x, source), integers, 1, *window)
    bias = np.rint(graph.constants["b"].astype(np.float64) / (source.scale * step))
    total = total + bias.astype(np.int64).reshape(1, -1, 1, 1)
    factor = np.float32(source.scale * step / result.scale)
    low, high = result.limits
    levels = np.clip(np.rint(total.astype(np.float32) * factor), max(low, 0), high)
    np.testing.assert_array_equal(found, levels.astype(np.float32) * np.float32(result.scale))


@pytest.mark.parametrize("granularity", Granularity)
@pytest.mark.parametrize("scales", Scales)
def test_qdq_form_agrees(plain, scales, granularity):
    b = plain.GraphBuilder(x=(9, 6))
    inputs = ["x", b.constant("w", random(6, 8)), b.constant("b", random(8, seed=2))]
    b.add("Dense", inputs, "h", (9, 8), domain="nest", clip=(0.0, np.inf))
    b.add("MatMul", ["h", b.constant("v", random(8, 5, seed=3))], "y", (9, 5))
    graph = b.build("y")
    x = random(16, 9, 6, seed=4)
    profile = profile_model(graph, {"x": x})
    scheme = QuantizationScheme(
        scales, granularity, bias_correction=True, cpu_precision=CpuPrecision.INT8
    )
    on_cpu = {"Dense_h": "cpu", "MatMul_y": "cpu"}
    applied = apply_scheme(graph, on_cpu, profile.ranges(), scheme)
    expected = ReferenceExecutor(applied.quantized).run({"x": x})["y"]
    session = onnxruntime.InferenceSession(qdq_model(applied.quantized).SerializeToString())
    found = session.run(None, {"x": x})[0]
    step = activation_type(profile.ranges()["y"], scales, scheme.activation_range).scale
    assert np.abs(found - expected).max() <= 2.01 * step
    assert (np.abs(found - expected) > 0.5 * step).mean() < 0.02


def plain_result(x, known):
    return plain_levels(x, known).astype(np.float32) * np.float32(known.scale)


@pytest.mark.parametrize("opset", [8, 17])
@pytest.mark.parametrize("scales", Scales)
def test_what_other_operators_write_becomes_integers(plain, scales, opset):
    b = plain.GraphBuilder(x=(6, 8, 8))
    w = b.constant("w", random(6, 6, 1, 1))
    b.add("Conv", ["x", w], "c", (6, 8, 8))
    b.add("Add", ["c", "x"], "a", (6, 8, 8), clip=(0.0, np.inf))
    b.add("MaxPool", ["a"], "p", (6, 4, 4), kernel_shape=(2, 2), strides=(2, 2))
    b.add("Concat", ["p", "p"], "k", (12, 4, 4), axis=1)
    b.add("GlobalAveragePool", ["k"], "y", (12, 1, 1))
    graph = b.build("y", opset=opset)
    x = random(5, 6, 8, 8, seed=7)
    ranges = profile_model(graph, {"x": x}).ranges()
    scheme = QuantizationScheme(
        scales,
        activation_range=RangeMethod.MAX,
        cpu_precision=CpuPrecision.INT8_ALL,
        float_layers=("Conv_c",),
    )
    units = dict.fromkeys((node.name for node in graph.nodes), "cpu")
    applied = apply_scheme(graph, units, ranges, scheme)
    known = {n: activation_type(ranges[n], scales, RangeMethod.MAX) for n in ("a", "k", "y")}
    c = run_float(graph, {"x": x}, ["c"])["c"]
    a = plain_result(np.maximum(c + x, 0), known["a"])
    p = a.reshape(5, 6, 4, 2, 4, 2).max(axis=(3, 5))
    k = plain_result(np.concatenate([p, p], axis=1), known["k"])
    mean = k.mean(axis=(2, 3), keepdims=True, dtype=np.float64)
    found = ReferenceExecutor(applied.quantized).run({"x": x})["y"]
    # The mean is a float sum before it is rounded: it may fall on either side of a tie.
    assert np.abs(found - mean).max() <= 0.5001 * known["y"].scale
    levels = found / np.float32(known["y"].scale)
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    session = onnxruntime.InferenceSession(qdq_model(applied.quantized).SerializeToString())
    exported = session.run(None, {"x": x})[0]
    assert np.abs(exported - found).max() <= 1.01 * known["y"].scale


def test_layers_that_stay_float_and_tensors_of_no_range(plain):
    b = plain.GraphBuilder(x=(4, 2, 2))
    b.add("Add", ["x", b.constant("one", np.ones((1, 4, 1, 1), np.float32))], "a", (4, 2, 2))
    b.add("Mul", ["a", "x"], "y", (4, 2, 2))
    graph = b.build("y")
    x = random(3, 4, 2, 2)
    ranges = profile_model(graph, {"x": x}).ranges()
    scheme = QuantizationScheme(
        activation_range=RangeMethod.MAX,
        cpu_precision=CpuPrecision.INT8_ALL,
        float_layers=("Add_a",),
    )
    units = {"Add_a": "cpu", "Mul_y": "cpu"}

    def run(known):
        applied = apply_scheme(graph, units, known, scheme)
        return ReferenceExecutor(applied.quantized).run({"x": x})["y"]

    rounded = activation_type(ranges["y"], scheme.scales, RangeMethod.MAX)
    np.testing.assert_array_equal(run(ranges), plain_result((x + 1) * x, rounded))
    unknown = {name: found for name, found in ranges.items() if name != "y"}
    np.testing.assert_array_equal(run(unknown), (x + 1) * x)


def test_weights_at_ties_round_as_quantize_linear_does(plain):
    """In float32 ``w / scale`` is a tie, in float64 it is not."""
    w = (np.arange(-127, 128, dtype=np.float32) * np.float32(0.37)).reshape(5, 51)
    w[0, 0] = -w.max()
    halves = (w * np.float32(0.5)).astype(np.float32)
    halves[:, 0] = w[:, 0]
    b = plain.GraphBuilder(x=(51,))
    b.add("MatMul", ["x", b.constant("w", np.ascontiguousarray(halves.T))], "y", (5,))
    graph = b.build("y")
    x = random(4, 51)
    ranges = profile_model(graph, {"x": x}).ranges()
    scheme = QuantizationScheme(
        Scales.ASYMMETRIC,
        Granularity.CHANNEL,
        RangeMethod.MAX,
        RangeMethod.MAX,
        cpu_precision=CpuPrecision.INT8,
    )
    parts = lower_integers(graph, ["MatMul_y"], ranges, scheme)
    stored = [v for v in parts.qdq.constants.values() if v.shape == (51, 5)]
    scale = np.float32(np.abs(halves).max(axis=1) / 127)
    expected = np.rint(halves / scale[:, None]).T
    np.testing.assert_array_equal(stored[0].astype(np.int64) - 128, expected)
    exact = np.rint(halves.astype(np.float64) / scale[:, None].astype(np.float64)).T
    assert (exact != expected).any()


def test_types_of_activations():
    zeros = TensorRange(0.0, 0.0)
    assert activation_type(zeros, Scales.ASYMMETRIC, RangeMethod.MAX).scale == 1.0
    positive = TensorRange(0.5, 25.5)
    asymmetric = activation_type(positive, Scales.ASYMMETRIC, RangeMethod.MAX)
    assert (asymmetric.zero_point, asymmetric.dtype) == (0, "uint8")
    assert asymmetric.scale == pytest.approx(0.1)
    both = activation_type(TensorRange(-1.0, 3.0), Scales.ASYMMETRIC, RangeMethod.MAX)
    assert both.zero_point == 64
    even = activation_type(TensorRange(-1.0, 1.0), Scales.ASYMMETRIC, RangeMethod.MAX)
    assert even.zero_point == 128  # 127.5 to even; of the float32 scale it would be 127
    unsigned = activation_type(positive, Scales.SYMMETRIC_UINT8, RangeMethod.MAX)
    assert (unsigned.dtype, unsigned.limits) == ("uint8", (0, 255))
    signed = activation_type(TensorRange(-1.0, 0.5), Scales.SYMMETRIC_UINT8, RangeMethod.MAX)
    assert signed.dtype == "int8"
    wide = activation_type(positive, Scales.POWER_OF_TWO, RangeMethod.MAX, 16)
    assert (wide.scale, wide.dtype) == (2.0**-10, "int16")
