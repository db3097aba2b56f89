"""The reference executor against the plain NumPy definition of every integer operator."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.quantize import exact_segment
from compiler_core.quantize.exact import EXACT_FLOAT32, exact_parts
from compiler_core.quantize.exponents import ACCUMULATOR_LIMIT, accumulator_bound
from compiler_core.quantize.ir import IntegerConcat, IntegerConv, IntegerMaxPool
from compiler_core.quantize.reference import ReferenceExecutor


def output_shape(shape, outputs, kernel, strides, pads, dilations):
    sizes = []
    for axis in range(2):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        sizes.append((shape[2 + axis] + pads[axis] + pads[axis + 2] - reach) // strides[axis] + 1)
    return (1, outputs, *sizes)


@st.composite
def convolutions(draw):
    """A convolution that satisfies the definition's limits, with its shapes."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inputs = groups * draw(st.integers(1, 5))
    outputs = groups * draw(st.integers(1, 4))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 3)))
    dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 2)))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    shape = (1, inputs, reach[0] + draw(st.integers(0, 4)), reach[1] + draw(st.integers(0, 4)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weight = rng.integers(-127, 128, (outputs, inputs // groups, *kernel)).astype(np.int8)
    residual_shift = draw(st.one_of(st.none(), st.integers(0, 23)))
    shift = draw(st.integers(-10, 31))
    bits = draw(st.integers(0, 29))
    bias = rng.integers(-(2**bits), 2**bits, outputs, endpoint=True).astype(np.int32)
    if accumulator_bound(weight, bias, shift, residual_shift) >= ACCUMULATOR_LIMIT:
        bias, shift = bias // 4, max(shift, 0)
        shift = min(shift, 30)
    low, high = sorted(draw(st.tuples(st.integers(-128, 127), st.integers(-128, 127))))
    if draw(st.booleans()):
        low, high = -128, 127
    convolution = IntegerConv(
        name="conv",
        input="x",
        output="y",
        weight=weight,
        bias=bias,
        strides=strides,
        pads=pads,
        dilations=dilations,
        groups=groups,
        shift=shift,
        clip_min=low,
        clip_max=high,
        residual=None if residual_shift is None else "r",
        residual_shift=residual_shift or 0,
    )
    if residual_shift is None and draw(st.booleans()):
        shifts = rng.integers(0, 30, outputs).astype(np.int32)
        convolution = replace(
            convolution, channel_shifts=shifts, shift=int(shifts.max()), bias=bias // 4
        )
    result = output_shape(shape, outputs, kernel, strides, pads, dilations)
    samples = draw(st.integers(1, 3))
    values = {"x": rng.integers(-128, 128, (samples, *shape[1:]))}
    if residual_shift is not None:
        values["r"] = rng.integers(-128, 128, (samples, *result[1:]))
    shapes = {"x": shape, "y": result} | ({"r": result} if residual_shift is not None else {})
    return convolution, shapes, values


@settings(max_examples=60, deadline=None)
@given(case=convolutions())
def test_convolution_equals_its_definition(plain, case):
    convolution, shapes, values = case
    quantized = plain.quantized_of([convolution], shapes, values, ["y"])
    run = ReferenceExecutor(quantized).run_integer(
        {name: value.astype(np.float32) for name, value in values.items()}
    )
    expected = plain.operator(convolution, values)
    np.testing.assert_array_equal(run.tensors["y"], expected)
    np.testing.assert_array_equal(run.outputs["y"], expected.astype(np.float32))


@settings(max_examples=20, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pad=st.integers(0, 1),
    clip=st.sampled_from([(-128, 127), (0, 127), (-128, 5)]),
    seed=st.integers(0, 1000),
)
def test_max_pool_equals_its_definition(plain, kernel, strides, dilations, pad, clip, seed):
    pads = (min(pad, kernel[0] - 1), min(pad, kernel[1] - 1), 0, 0)
    pool = IntegerMaxPool("pool", "x", "y", kernel, strides, pads, dilations, *clip)
    shape = (1, 3, 7, 8)
    shapes = {"x": shape, "y": output_shape(shape, 3, kernel, strides, pads, dilations)}
    x = np.random.default_rng(seed).integers(-128, 128, (2, *shape[1:]))
    run = ReferenceExecutor(plain.quantized_of([pool], shapes, ["x"], ["y"])).run_integer(
        {"x": x.astype(np.float32)}
    )
    np.testing.assert_array_equal(run.tensors["y"], plain.operator(pool, {"x": x}))


def chain(rng):
    """Convolution, pool, concatenation of both, and a dense layer over all of it."""

    def conv(name, source, output, weight, shift, residual=None):
        return IntegerConv(
            name,
            source,
            output,
            weight,
            rng.integers(-500, 500, len(weight)).astype(np.int32),
            (1, 1),
            (weight.shape[2] // 2,) * 4 if weight.shape[2] < 6 else (0, 0, 0, 0),
            (1, 1),
            1,
            shift,
            -128,
            127,
            residual,
            3,
        )

    def weights(*shape):
        return rng.integers(-127, 128, shape).astype(np.int8)

    operators = [
        conv("a", "x", "a", weights(16, 5, 3, 3), 9),
        conv("b", "a", "b", weights(16, 16, 1, 1), 8, residual="a"),
        IntegerMaxPool("p", "a", "p", (3, 3), (1, 1), (1, 1, 1, 1)),
        IntegerConcat("c", ("b", "p"), "c"),
        conv("d", "c", "y", weights(7, 32, 6, 6), 12),
    ]
    image = (1, 16, 6, 6)
    shapes = {"x": (1, 5, 6, 6), "a": image, "b": image, "p": image}
    return operators, shapes | {"c": (1, 32, 6, 6), "y": (1, 7, 1, 1)}


@pytest.mark.parametrize("large", [1 << 22, 8000, 200])
def test_chain_of_operators_and_any_number_of_samples(plain, monkeypatch, large):
    """Of one model, with the last operator multiplied, with all that can be."""
    monkeypatch.setattr(exact_segment, "LARGE", large)
    rng = np.random.default_rng(3)
    operators, shapes = chain(rng)
    x = rng.integers(-128, 128, (37, 5, 6, 6))
    executor = ReferenceExecutor(plain.quantized_of(operators, shapes, ["x"], ["y"]), threads=2)
    run = executor.run_integer({"x": x.astype(np.float32)})
    expected = plain.segment(operators, {"x": x})
    assert set(run.tensors) == set(shapes)
    for name, value in expected.items():
        np.testing.assert_array_equal(run.tensors[name], value)
    for sample in (0, 17, 36):
        alone = executor.run({"x": x[sample : sample + 1].astype(np.float32)})
        np.testing.assert_array_equal(alone["y"], run.outputs["y"][sample : sample + 1])


@pytest.mark.parametrize("large", [1 << 22, 0])
def test_sums_beyond_float32_are_exact(plain, monkeypatch, large):
    """2000 * 127 * 128 and a bias of 2**29 need 30 bits; float32 holds 24."""
    monkeypatch.setattr(exact_segment, "LARGE", large)
    weight = np.full((2, 2000, 1, 1), 127, dtype=np.int8)
    weight[1, ::2] = -126
    bias = np.array([2**29 + 1, -(2**29) - 1], dtype=np.int32)
    convolution = IntegerConv(
        "c", "x", "y", weight, bias, (1, 1), (0,) * 4, (1, 1), 1, 23, -128, 127
    )
    x = np.random.default_rng(0).choice([-128, 127, 126], (4, 2000, 3, 2))
    shapes = {"x": (1, 2000, 3, 2), "y": (1, 2, 3, 2)}
    executor = ReferenceExecutor(plain.quantized_of([convolution], shapes, ["x"], ["y"]))
    run = executor.run_integer({"x": x.astype(np.float32)})
    np.testing.assert_array_equal(run.tensors["y"], plain.operator(convolution, {"x": x}))


@settings(max_examples=60, deadline=None)
@given(case=convolutions(), whole=st.booleans())
def test_products_of_matrices_equal_their_definition(plain, case, whole):
    convolution, shapes, values = case
    kernel = shapes["x"][2:] if whole else (1, 1)
    rng = np.random.default_rng(len(values["x"]))
    weight = rng.integers(-9, 10, (len(convolution.weight), shapes["x"][1], *kernel))
    bias = convolution.bias % 1000
    shapes["y"] = (1, len(weight), *((1, 1) if whole else shapes["x"][2:]))
    dense = replace(
        convolution,
        weight=weight.astype(np.int8),
        bias=bias,
        strides=(1, 1),
        pads=(0, 0, 0, 0),
        dilations=(1, 1),
        groups=1,
        shift=max(convolution.shift, 0) % 12,
        residual_shift=min(convolution.residual_shift, 9),
    )
    if convolution.residual is not None:
        shapes["r"] = shapes["y"]
        values["r"] = rng.integers(-128, 128, (len(values["x"]), *shapes["y"][1:]))
    quantized = plain.quantized_of([dense], shapes, values, ["y"])
    with (
        mock.patch.object(exact_segment, "LARGE", 0),
        mock.patch.object(exact_segment, "_BLOCK", 5),
    ):
        assert exact_segment._is_large(dense, quantized.tensors)
        run = ReferenceExecutor(quantized).run_integer(
            {name: value.astype(np.float32) for name, value in values.items()}
        )
    np.testing.assert_array_equal(run.tensors["y"], plain.operator(dense, values))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), limit=st.sampled_from([2**15, 2**17, EXACT_FLOAT32]))
def test_parts_add_up_and_stay_within_the_bound(seed, limit):
    rng = np.random.default_rng(seed)
    weight = rng.integers(-128, 128, (4, int(rng.integers(1, 40)), 3, 2)).astype(np.int8)
    parts = exact_parts(weight, 128, limit)
    np.testing.assert_array_equal(sum(part.astype(int) for part in parts), weight)
    for part in parts:
        assert np.abs(part.astype(int)).reshape(4, -1).sum(axis=1).max() * 128 <= limit


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "inputs given: none; the model has x"),
        ({"z": np.zeros((1, 1, 2, 2), np.float32)}, "inputs given: z"),
        ({"x": np.zeros((1, 1, 2, 3), np.float32)}, r"shape \(1, 1, 2, 3\); expected \(samples,"),
        ({"x": np.zeros((1, 1, 2, 2))}, "is float64; expected float32"),
        ({"x": np.zeros((0, 1, 2, 2), np.float32)}, "hold 0 samples"),
        ({"x": np.full((1, 1, 2, 2), np.nan, np.float32)}, "'x' holds NaN"),
    ],
)
def test_bad_inputs(plain, inputs, message):
    pool = IntegerMaxPool("p", "x", "y", (2, 2), (1, 1), (0, 0, 0, 0))
    shapes = {"x": (1, 1, 2, 2), "y": (1, 1, 1, 1)}
    executor = ReferenceExecutor(plain.quantized_of([pool], shapes, ["x"], ["y"]))
    with pytest.raises(InputError, match=message):
        executor.run(inputs)


def test_entering_rounds_half_to_even_and_saturates(plain):
    pool = IntegerMaxPool("p", "x", "y", (1, 1), (1, 1), (0, 0, 0, 0))
    shapes = {"x": (1, 1, 1, 6), "y": (1, 1, 1, 6)}
    quantized = plain.quantized_of([pool], shapes, ["x"], ["y"], {"x": 1, "y": 1})
    x = np.array([0.25, 0.75, -0.25, np.inf, -np.inf, -64.3], np.float32).reshape(1, 1, 1, 6)
    run = ReferenceExecutor(quantized).run_integer({"x": x})
    assert run.tensors["x"].reshape(-1).tolist() == [0, 2, 0, 127, -128, -128]
    assert run.outputs["y"].reshape(-1).tolist() == [0.0, 1.0, 0.0, 63.5, -64.0, -64.0]
