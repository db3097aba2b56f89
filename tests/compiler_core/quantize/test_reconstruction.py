"""Layers found anew over calibration samples: windows, bits that stay, and what it gains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.accuracy.float_model import float_outputs
from compiler_core.errors import InputError
from compiler_core.graph.ir import TensorType
from compiler_core.quantize import reconstruction
from compiler_core.quantize.apply import apply_profile, apply_scheme
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.ir import IntegerConv
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.profile_file import read_profile, write_profile
from compiler_core.quantize.reconstruction import windows
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.scheme import QuantizationScheme, WeightRounding
from compiler_core.quantize.text import quantized_digest

NEAREST = QuantizationScheme(granularity=Granularity.CHANNEL)
GPTQ = replace(NEAREST, weight_rounding=WeightRounding.GPTQ)


def random(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def images(count, seed):
    """Neighbouring channels are alike, as in real data: that is what rounding can make use of."""
    base = random(count, 1, 8, 8, seed=seed)
    return np.concatenate(
        [base + 0.3 * random(count, 1, 8, 8, seed=seed + n) for n in (1, 2, 3)], 1
    )


@pytest.fixture
def network(plain):
    """A residual network with a depthwise convolution, a pool, a concatenation and a float part."""
    b = plain.GraphBuilder(x=(3, 8, 8))
    same = {"pads": (1, 1, 1, 1)}
    relu = (0.0, np.inf)

    def conv(source, name, outputs, inputs, size=3, seed=0, **more):
        weight = b.constant(f"{name}_w", random(outputs, inputs, size, size, seed=seed) / size)
        bias = b.constant(f"{name}_b", random(outputs, seed=seed + 50))
        b.add("Conv", [source, weight, bias], name, **more)
        return name

    conv("x", "a", 16, 3, seed=2, shape=(16, 8, 8), clip=relu, **same)
    conv("a", "d", 16, 1, seed=3, shape=(16, 8, 8), group=16, clip=(0.0, 6.0), **same)
    conv("d", "e", 16, 16, 1, seed=4, shape=(16, 8, 8))
    b.add("Add", ["e", "a"], "s", (16, 8, 8), clip=relu)
    b.add("MaxPool", ["s"], "p", (16, 4, 4), kernel_shape=(2, 2), strides=(2, 2))
    conv("p", "f", 16, 16, seed=5, shape=(16, 4, 4), clip=relu, **same)
    b.add("Concat", ["p", "f"], "c", (32, 4, 4), axis=1)
    b.add("Tanh", ["c"], "t", (32, 4, 4))
    conv("t", "g", 16, 32, seed=6, shape=(16, 2, 2), strides=(2, 2), **same)
    b.add("GlobalAveragePool", ["g"], "m", (16, 1, 1))
    b.add("Flatten", ["m"], "v", (16,), axis=1)
    b.add("MatMul", ["v", b.constant("n", random(16, 5, seed=7))], "y", (5,))
    return b.build("y")


def convolutions(applied):
    return [
        operator
        for part in applied.quantized.segments
        for operator in getattr(part, "operators", ())
        if isinstance(operator, IntegerConv)
    ]


@settings(deadline=None, max_examples=40)
@given(
    samples=st.integers(1, 3),
    groups=st.integers(1, 2),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    dilations=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    most=st.sampled_from([1, 5, 10_000]),
)
def test_windows_are_what_the_kernel_sees(samples, groups, kernel, strides, pads, dilations, most):
    weight = np.ones((groups * 2, 2, *kernel), np.int8)
    operator = IntegerConv(
        "c", "x", "y", weight, np.zeros(groups * 2, np.int32), strides, pads, dilations, groups,
        0, -128, 127,
    )  # fmt: skip
    values = random(samples, groups * 2, 7, 6)
    padded = np.pad(values, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    seen = [
        [
            [
                padded[n, c, y + i * dilations[0], x + j * dilations[1]]
                for c in range(groups * 2)
                for i in range(kernel[0])
                for j in range(kernel[1])
            ]
            for y in range(0, padded.shape[2] - (kernel[0] - 1) * dilations[0], strides[0])
            for x in range(0, padded.shape[3] - (kernel[1] - 1) * dilations[1], strides[1])
        ]
        for n in range(samples)
    ]
    every = np.asarray(seen)  # [samples, places, C * kh * kw]
    places = every.shape[1]
    kept = min(places, -(-most // samples))
    every = every[:, np.arange(kept) * places // kept]
    expected = every.reshape(samples * kept, groups, -1).transpose(1, 2, 0)
    np.testing.assert_array_equal(windows(values, operator, most), expected)


def test_it_gains_on_samples_it_has_not_seen(network):
    profile = profile_model(network, {"x": images(64, 20)})
    x = images(64, 40)
    expected = float_outputs(network, {"x": x}, ["y"])["y"]
    units = default_assignment(network)
    noise = {}
    for scheme in (NEAREST, replace(NEAREST, bias_correction=True), GPTQ):
        applied = apply_profile(network, units, profile, scheme)
        found = ReferenceExecutor(applied.quantized).run({"x": x})["y"]
        noise[scheme] = ((found - expected) ** 2).sum() / (expected**2).sum()
    *others, gptq = noise.values()
    assert gptq < 0.9 * min(others)


def test_exponents_and_shifts_stay(network):
    profile = profile_model(network, {"x": images(16, 20)})
    units = default_assignment(network)
    plain, found = (apply_profile(network, units, profile, scheme) for scheme in (NEAREST, GPTQ))
    assert found.quantized.tensors == plain.quantized.tensors
    changed = 0
    for one, other in zip(convolutions(plain), convolutions(found), strict=True):
        assert one.shift == other.shift
        np.testing.assert_array_equal(one.channel_shifts, other.channel_shifts)
        assert other.weight.min() >= -127
        changed += bool((one.weight != other.weight).any())
    assert changed == 6  # every layer with weights, and no pool, copy or addition


def test_the_walk_computes_what_the_executor_computes(network, monkeypatch):
    x = images(6, 20)
    profile = profile_model(network, {"x": x})
    seen = {}
    found = reconstruction._Walk._found

    def spy(walk, step, operator):
        seen[step.name] = walk._integer.operators[operator.input].copy(), operator.input
        return found(walk, step, operator)

    monkeypatch.setattr(reconstruction._Walk, "_found", spy)
    applied = apply_profile(network, default_assignment(network), profile, GPTQ)
    run = ReferenceExecutor(applied.quantized).run_integer({"x": x})
    assert len(seen) == 6
    for values, name in seen.values():
        np.testing.assert_array_equal(values, run.tensors[name])


def test_a_fixed_batch_changes_nothing(network):
    pairs = {
        name: known if name in network.constants else TensorType(known.dtype, (2, *known.shape[1:]))
        for name, known in network.types.items()
    }
    fixed = replace(network, types=pairs, dynamic_batch=frozenset())
    x = images(6, 20)
    for one, other in zip(
        *(
            convolutions(
                apply_profile(
                    graph, default_assignment(graph), profile_model(graph, {"x": x}), GPTQ
                )
            )
            for graph in (network, fixed)
        ),
        strict=True,
    ):
        np.testing.assert_array_equal(one.weight, other.weight)
        np.testing.assert_array_equal(one.bias, other.bias)


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_few_samples(network, samples):
    profile = profile_model(network, {"x": images(samples, 20)})
    applied = apply_profile(network, default_assignment(network), profile, GPTQ)
    x = images(20, 40)
    found = ReferenceExecutor(applied.quantized).run({"x": x})["y"]
    expected = float_outputs(network, {"x": x}, ["y"])["y"]
    assert ((found - expected) ** 2).sum() < 0.05 * (expected**2).sum()


def test_large_kernels_keep_their_weights(network, monkeypatch):
    profile = profile_model(network, {"x": images(16, 20)})
    units = default_assignment(network)
    monkeypatch.setattr(reconstruction, "LARGEST_KERNEL", 0)
    plain, found = (apply_profile(network, units, profile, scheme) for scheme in (NEAREST, GPTQ))
    pairs = list(zip(convolutions(plain), convolutions(found), strict=True))
    assert all((one.weight == other.weight).all() for one, other in pairs)
    assert any((one.bias != other.bias).any() for one, other in pairs)


def test_large_kernels_take_no_matrices_of_moments(network, monkeypatch):
    found, own = [], reconstruction.moments_of

    def moments(*windows, **options):
        found.append(own(*windows, **options))
        return found[-1]

    monkeypatch.setattr(reconstruction, "moments_of", moments)
    monkeypatch.setattr(reconstruction, "LARGEST_KERNEL", 0)
    profile = profile_model(network, {"x": images(16, 20)})
    apply_profile(network, default_assignment(network), profile, GPTQ)
    assert found
    assert all(item.squares.size == item.products.size == 0 for item in found)


def test_integers_stay_where_new_ones_would_overflow(network, monkeypatch):
    profile = profile_model(network, {"x": images(16, 20)})
    units = default_assignment(network)
    monkeypatch.setattr(reconstruction, "ACCUMULATOR_LIMIT", 1)
    plain, found = (apply_profile(network, units, profile, scheme) for scheme in (NEAREST, GPTQ))
    assert quantized_digest(found.quantized) == quantized_digest(plain.quantized)


def test_only_as_many_samples_as_memory_should_hold(network, monkeypatch):
    samples = {"x": images(16, 20)}
    profile = profile_model(network, samples)
    plain = apply_profile(network, default_assignment(network), profile, NEAREST).quantized
    monkeypatch.setattr(reconstruction, "_ELEMENTS", 16 * 8 * 8 * 4)
    chosen = reconstruction._even_subset(plain, samples)
    np.testing.assert_array_equal(chosen["x"], samples["x"][::4])


def test_a_profile_from_a_file_is_not_enough(network, tmp_path):
    profile = profile_model(network, {"x": images(4, 20)})
    write_profile(tmp_path / "profile.npz", profile)
    known = read_profile(tmp_path / "profile.npz")
    units = default_assignment(network)
    with pytest.raises(InputError, match="takes calibration samples"):
        apply_profile(network, units, known, GPTQ)
    with pytest.raises(InputError, match="takes calibration samples"):
        apply_scheme(network, units, profile.ranges(), GPTQ)
