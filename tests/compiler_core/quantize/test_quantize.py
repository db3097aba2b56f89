"""From ranges to integers: calibration, exponents, limits of the operators, text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.calibration import calibrate
from compiler_core.quantize.exponents import (
    ACCUMULATOR_LIMIT,
    accumulator_bound,
    fitting_exponent,
)
from compiler_core.quantize.ir import IntegerConcat, IntegerMaxPool
from compiler_core.quantize.quantize import integer_clip, quantize
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.statistics import TensorRange
from compiler_core.quantize.text import quantized_digest, quantized_text
from tests.float_runs import run_float


def quantized_with(graph, samples):
    assignment = default_assignment(graph)
    ranges = calibrate(graph, samples, assemble(graph, assignment).calibrated)
    return quantize(graph, assignment, ranges)


def operators_of(quantized):
    return [
        operator
        for segment in quantized.segments
        if hasattr(segment, "operators")
        for operator in segment.operators
    ]


def random(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def residual_graph(plain, *, weight=1.0, bias=1.0):
    b = plain.GraphBuilder(x=(16, 5, 5))
    for name, seed in (("w", 2), ("v", 3)):
        b.constant(name, random(16, 16, 3, 3, seed=seed) * np.float32(weight))
    b.constant("b", random(16, seed=4) * np.float32(bias))
    same = {"pads": (1, 1, 1, 1)}
    image = (16, 5, 5)
    b.add("Conv", ["x", "w", "b"], "c", image, clip=(0.0, np.inf), **same)
    b.add("Conv", ["c", "v", "b"], "d", image, **same)
    b.add("Add", ["d", "x"], "s", image)
    b.add("MaxPool", ["s"], "m", image, kernel_shape=(3, 3), **same)
    b.add("Concat", ["m", "c"], "k", (32, 5, 5), axis=1)
    b.add("Relu", ["k"], "y", (32, 5, 5))
    return b.build("y")


def check_limits(quantized):
    """What the operators' docstrings promise."""
    tensors = quantized.tensors
    for operator in operators_of(quantized):
        output = tensors[operator.output]
        if isinstance(operator, IntegerConcat):
            assert {tensors[name].exponent for name in operator.inputs} == {output.exponent}
            continue
        source = tensors[operator.input]
        assert -128 <= operator.clip_min <= operator.clip_max <= 127
        if isinstance(operator, IntegerMaxPool):
            assert source.exponent == output.exponent
            continue
        assert -31 <= operator.shift <= 31
        shift = None
        if operator.residual is not None:
            shift = operator.residual_shift
            assert 0 <= shift <= 24
            accumulator = operator.shift + output.exponent
            assert tensors[operator.residual].exponent == accumulator - shift
        bound = accumulator_bound(operator.weight, operator.bias, operator.shift, shift)
        assert bound < ACCUMULATOR_LIMIT


@pytest.mark.parametrize(
    ("absmax", "exponent"),
    [(0.0, 0), (1.0, 6), (127.0, 0), (127.5, 0), (127.6, -1), (128.0, -1), (0.99, 7), (63.75, 1)],
)
def test_fitting_exponent(absmax, exponent):
    assert fitting_exponent(absmax) == exponent


@given(st.floats(1e-12, 1e12))
def test_fitting_exponent_fits_and_is_the_finest(absmax):
    exponent = fitting_exponent(absmax)
    assert absmax * 2.0**exponent <= 127.5 < absmax * 2.0 ** (exponent + 1)


def test_signal_survives(plain):
    graph = residual_graph(plain)
    samples = {"x": random(32, 16, 5, 5)}
    quantized = quantized_with(graph, samples)
    check_limits(quantized)
    expected = run_float(graph, samples)["y"]
    noise = ReferenceExecutor(quantized).run(samples)["y"] - expected
    assert 10 * np.log10((expected**2).mean() / (noise**2).mean()) > 20


@settings(max_examples=40, deadline=None)
@given(
    weight=st.floats(-30, 30),
    bias=st.floats(-30, 30),
    ranges=st.lists(st.floats(-12, 12), max_size=9),
)
def test_limits_hold_for_any_magnitudes(plain, weight, bias, ranges):
    graph = residual_graph(plain, weight=10.0**weight, bias=10.0**bias)
    assignment = default_assignment(graph)
    names = assemble(graph, assignment).calibrated
    sizes = dict.fromkeys(names, 1.0) | dict(zip(names, (10.0**r for r in ranges), strict=False))
    found = {name: TensorRange(-size, size) for name, size in sizes.items()}
    try:
        quantized = quantize(graph, assignment, found)
    except InputError as error:
        refusal = error.message
    else:
        check_limits(quantized)
        return
    assert "no power-of-two scales fit" in refusal


def test_zero_weights_zero_channels_and_constant_tensors(plain):
    b = plain.GraphBuilder(x=(2, 3, 3))
    weight = random(4, 2, 1, 1)
    weight[1] = 0
    b.add("Conv", ["x", b.constant("w", weight)], "a", (4, 3, 3))
    zeros = b.constant("z", np.zeros((2, 4, 1, 1), np.float32))
    b.add("Conv", ["a", zeros, b.constant("b", np.float32([0.5, -3.0]))], "y", (2, 3, 3))
    graph = b.build("y")
    samples = {"x": np.zeros((1, 2, 3, 3), np.float32)}
    quantized = quantized_with(graph, samples)
    check_limits(quantized)
    assert quantized.tensors["x"].exponent == 0
    result = ReferenceExecutor(quantized).run(samples)["y"]
    np.testing.assert_array_equal(result[0, :, 0, 0], [0.5, -3.0])


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_activations_that_are_not_finite(plain, value):
    graph = residual_graph(plain)
    x = random(20, 16, 5, 5)
    x[11, 3, 2, 1] = value
    with pytest.raises(InputError, match="'x' is not finite for calibration samples 8 to 15"):
        quantized_with(graph, {"x": x})


def test_missing_and_infinite_ranges(plain):
    graph = residual_graph(plain)
    assignment = default_assignment(graph)
    with pytest.raises(InputError, match="tensor 'x' has no range"):
        quantize(graph, assignment, {})
    names = assemble(graph, assignment).calibrated
    with pytest.raises(InputError, match="'x' has range nan to 1"):
        quantize(graph, assignment, dict.fromkeys(names, TensorRange(float("nan"), 1.0)))


def test_calibration_is_the_range_over_all_batches(plain):
    graph = residual_graph(plain)
    x = random(21, 16, 5, 5)
    found = calibrate(graph, {"x": x}, ["x", "c", "y"])
    expected = run_float(graph, {"x": x}, ["c", "y"]) | {"x": x}
    for name, value in expected.items():
        assert found[name].low == pytest.approx(value.min(), abs=1e-5)
        assert found[name].high == pytest.approx(value.max(), abs=1e-5)
    assert calibrate(graph, {"x": x[:1]}, ["x"])["x"].absmax == np.abs(x[:1]).max()


@pytest.mark.parametrize(
    ("clip", "exponent", "expected"),
    [
        (None, 3, (-128, 127)),
        ((0.0, np.inf), 3, (0, 127)),
        ((0.0, 6.0), 4, (0, 96)),
        ((0.0, 6.0), 5, (0, 127)),
        ((0.0, 6.0), -3, (0, 1)),
        ((-1.0, 1.0), 2, (-4, 4)),
        ((-np.inf, -2.0), 1, (-128, -4)),
    ],
)
def test_integer_clip(clip, exponent, expected):
    assert integer_clip(clip, exponent) == expected


def test_text_and_digest(plain):
    b = plain.GraphBuilder(x=(2, 3, 3))
    b.add("Conv", ["x", b.constant("w", np.ones((1, 2, 1, 1), np.float32))], "c", (1, 3, 3))
    b.add("Sigmoid", ["c"], "y", (1, 3, 3))
    graph = b.build("y")
    ranges = {"x": TensorRange(-1.0, 1.0), "c": TensorRange(-2.0, 2.0)}
    quantized = quantize(graph, default_assignment(graph), ranges)
    assert quantized_text(quantized) == (
        "segment 00-vta vta int8\n"
        "  in  x:[1,2,3,3]@6\n"
        "  conv Conv_c x:[1,2,3,3]@6 -> c:[1,1,3,3]@5 weight=[1, 2, 1, 1]#3330e5ba53cb"
        " bias=#df3f619804a9 groups=1 shift=7 strides=[1, 1] pads=[0, 0, 0, 0]"
        " dilations=[1, 1] clip=[-128,127] sources=Conv_c\n"
        "  out c:[1,1,3,3]@5\n"
        "segment 01-cpu cpu float\n"
        "  Sigmoid Sigmoid_y c -> y\n"
        "view c split=[1, 1, 3, 3] permutation=[0, 1, 2, 3]\n"
        "view x split=[1, 2, 3, 3] permutation=[0, 1, 2, 3]\n"
    )
    other = quantize(graph, default_assignment(graph), {**ranges, "c": TensorRange(-9.0, 2.0)})
    again = quantize(graph, default_assignment(graph), ranges)
    assert quantized_digest(quantized) == quantized_digest(again) != quantized_digest(other)
