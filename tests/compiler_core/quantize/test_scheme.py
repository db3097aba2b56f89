"""Schemes as values, and what a target refuses of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.quantize.apply import apply_scheme
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.ir import FloatSegment, IntegerConv
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.scheme import (
    CalibrationSize,
    CpuPrecision,
    QuantizationScheme,
    RangeMethod,
    Scales,
    WeightRounding,
    read_scheme,
    scheme_document,
)


def random(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def network(plain):
    b = plain.GraphBuilder(x=(3, 8, 8))
    same = {"pads": (1, 1, 1, 1)}
    b.add(
        "Conv", ["x", b.constant("w", random(8, 3, 3, 3))], "a", (8, 8, 8), clip=(0.0, 6.0), **same
    )
    weight = random(8, 1, 3, 3, seed=2) * np.float32(10.0) ** random(8, 1, 1, 1, seed=3)
    inputs = ["a", b.constant("v", weight), b.constant("b", random(8, seed=4))]
    b.add("Conv", inputs, "d", (8, 8, 8), group=8, clip=(0.0, np.inf), **same)
    b.add("Conv", ["d", b.constant("u", random(16, 8, 1, 1, seed=5))], "e", (16, 8, 8))
    b.add("GlobalAveragePool", ["e"], "g", (16, 1, 1))
    b.add("Flatten", ["g"], "f", (16,), axis=1)
    b.add("MatMul", ["f", b.constant("n", random(16, 5, seed=6))], "y", (5,))
    return b.build("y")


schemes = st.builds(
    QuantizationScheme,
    scales=st.sampled_from(Scales),
    granularity=st.sampled_from(Granularity),
    activation_range=st.sampled_from(RangeMethod),
    weight_range=st.sampled_from([RangeMethod.MAX, RangeMethod.MSE]),
    calibration=st.one_of(st.sampled_from(CalibrationSize), st.integers(1, 99)),
    bias_correction=st.booleans(),
    equalization=st.booleans(),
    rescaling=st.booleans(),
    split_inputs=st.booleans(),
    weight_rounding=st.sampled_from(WeightRounding),
    cpu_precision=st.sampled_from(CpuPrecision),
    first_last_float=st.booleans(),
    float_layers=st.lists(st.text(), max_size=3).map(tuple),
)


@given(schemes)
def test_documents_read_back(scheme):
    assert read_scheme(scheme_document(scheme), "here") == scheme
    assert read_scheme(scheme_document(scheme), "here").digest == scheme.digest


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"scale": "symmetric"}, "unknown key 'scale'"),
        ({"scales": "log"}, "scales is 'log'; allowed are 'power-of-two'"),
        ({"calibration": 0}, "calibration of 0 samples"),
        ({"weight_range": "kl"}, "allowed are 'max' and 'mse'"),
        ({"bias_correction": 1}, "true or false"),
        ({"float_layers": "all"}, "a list of names"),
    ],
)
def test_wrong_documents(document, message):
    with pytest.raises(InputError, match=message):
        read_scheme(document, "here")


@pytest.mark.parametrize("available", [1, 2, 7])
def test_calibration_sizes(available):
    sizes = [size.samples(available) for size in CalibrationSize]
    assert sizes == [1, -(-available // 2), available]


def test_every_scheme_keeps_the_signal(network):
    x = random(20, 3, 8, 8, seed=9)
    profile = profile_model(network, {"x": x})
    # The executor runs float segments, too.
    floats = dict.fromkeys((node.name for node in network.nodes), "cpu")
    plain = apply_scheme(network, floats, profile.ranges(), QuantizationScheme())
    expected = ReferenceExecutor(plain.quantized).run({"x": x})["y"]
    assignment = default_assignment(network)
    for scales in Scales:
        for precision in CpuPrecision:
            for method in RangeMethod:
                scheme = QuantizationScheme(
                    scales,
                    Granularity.CHANNEL,
                    method,
                    bias_correction=True,
                    equalization=True,
                    rescaling=True,
                    split_inputs=True,
                    cpu_precision=precision,
                )
                applied = apply_scheme(network, assignment, profile.ranges(), scheme)
                found = ReferenceExecutor(applied.quantized).run({"x": x})["y"]
                noise = ((found - expected) ** 2).sum() / (expected**2).sum()
                assert noise < 0.02, scheme


def test_refusals_name_the_rule(network):
    profile = profile_model(network, {"x": random(4, 3, 8, 8)})
    scheme = QuantizationScheme(Scales.ASYMMETRIC, cpu_precision=CpuPrecision.INT8)
    applied = apply_scheme(network, default_assignment(network), profile.ranges(), scheme)
    assert set(applied.assignment.values()) == {"cpu"}
    assert applied.reasons["Conv_a"].startswith("Padding adds the integer 0")
    assert "no zero point is subtracted" in applied.reasons["Conv_e"]
    (segment,) = applied.quantized.segments
    assert isinstance(segment, FloatSegment)
    assert segment.qdq is not None


def test_per_channel_shifts_and_float_layers(network):
    profile = profile_model(network, {"x": random(4, 3, 8, 8)})
    scheme = QuantizationScheme(granularity=Granularity.CHANNEL, first_last_float=True)
    applied = apply_scheme(network, default_assignment(network), profile.ranges(), scheme)
    assert applied.assignment["Conv_a"] == applied.assignment["MatMul_y"] == "cpu"
    operators = [
        operator
        for segment in applied.quantized.segments
        for operator in getattr(segment, "operators", ())
    ]
    shifts = [
        o.channel_shifts for o in operators if isinstance(o, IntegerConv) and o.name == "Conv_d"
    ]
    assert shifts[0] is not None
    assert 0 <= shifts[0].min() < shifts[0].max() <= 31
    with pytest.raises(InputError, match="no node 'nothing'"):
        apply_scheme(
            network,
            default_assignment(network),
            profile.ranges(),
            replace(scheme, float_layers=("nothing",)),
        )


def test_constant_tensors_zero_channels_and_one_sample(network):
    constants = dict(network.constants)
    constants["w"] = constants["w"].copy()
    constants["w"][3] = 0
    constants["n"] = np.zeros_like(constants["n"])
    graph = replace(network, constants=constants)
    samples = {"x": np.zeros((1, 3, 8, 8), np.float32)}
    profile = profile_model(graph, samples)
    for scales in Scales:
        for precision in CpuPrecision:
            scheme = QuantizationScheme(
                scales,
                Granularity.CHANNEL,
                RangeMethod.KL,
                calibration=CalibrationSize.ONE,
                bias_correction=True,
                equalization=True,
                rescaling=True,
                split_inputs=True,
                cpu_precision=precision,
            )
            ranges = profile.ranges(scheme.calibration)
            applied = apply_scheme(graph, default_assignment(graph), ranges, scheme)
            result = ReferenceExecutor(applied.quantized).run(samples)["y"]
            np.testing.assert_array_equal(result, np.zeros((1, 5)))


@pytest.mark.parametrize("document", ["text", 3, None, ["granularity"]])
def test_decisions_have_names(document: Any) -> None:
    with pytest.raises(InputError, match="decisions by name are needed"):
        read_scheme(document, "here")
