"""Ranges at the edge of what power-of-two scales can express."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.quantize.apply import apply_profile
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.channel_exponents import (
    fitting_channel_exponents,
    least_error_channel_exponents,
)
from compiler_core.quantize.fitting import unbounded_exponent
from compiler_core.quantize.good_enough import shortfall
from compiler_core.quantize.ir import IntegerSegment
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.qdq import qdq_model
from compiler_core.quantize.quality import QualityMeter
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.scheme import QuantizationScheme


def scaled(plain, weights: float, inputs: float):
    """Two convolutions, the first with weights of size ``weights``, and samples."""
    random = np.random.default_rng(0)
    build = plain.GraphBuilder(x=(3, 6, 6))
    last = "x"
    for layer, (size, channels) in enumerate([(weights, 3), (1.0, 4)]):
        weight = size * random.standard_normal((4, channels, 3, 3)) / 6
        name = build.constant(f"w{layer}", weight.astype("f4"))
        last = build.add("Conv", [last, name], f"c{layer}", (4, 6, 6), pads=[1, 1, 1, 1])
    samples = inputs * random.standard_normal((30, 3, 6, 6))
    return build.build(last), {"x": samples.astype("f4")}


@pytest.mark.parametrize("weights", [1e-30, 1e-20, 1e-5, 1e5, 1e20, 1e30])
@pytest.mark.parametrize("inputs", [1e-8, 1.0, 1e6])
def test_any_size_of_weights_keeps_its_values_or_runs_in_float(plain, weights, inputs) -> None:
    graph, samples = scaled(plain, weights, inputs)
    profile = profile_model(graph, samples)
    units = default_assignment(graph)
    found = apply_profile(graph, units, profile, QuantizationScheme())
    (quality,) = QualityMeter(graph, samples).measure(found.quantized)
    assert shortfall(quality) == 0, quality
    assert set(found.unfit) <= set(found.reasons)
    assert {found.placed(units)[name] for name in found.unfit} <= {"cpu"}
    on_npu = any(isinstance(part, IntegerSegment) for part in found.quantized.segments)
    assert on_npu or found.unfit
    session = onnxruntime.InferenceSession(
        qdq_model(found.quantized).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    theirs = session.run(None, samples)[0]
    ours = ReferenceExecutor(found.quantized).run(samples)[graph.outputs[0]]
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=np.abs(ours).max() / 100)


@pytest.mark.parametrize("weights", [1e-20, 1e20])
def test_weights_of_1e20_stay_on_the_npu(plain, weights: float) -> None:
    graph, samples = scaled(plain, weights, 1.0)
    found = apply_profile(
        graph, default_assignment(graph), profile_model(graph, samples), QuantizationScheme()
    )
    assert not found.unfit


def test_what_no_scale_fits_says_why(plain) -> None:
    graph, samples = scaled(plain, 1e-35, 1.0)
    found = apply_profile(
        graph, default_assignment(graph), profile_model(graph, samples), QuantizationScheme()
    )
    assert found.unfit
    assert "1e-3" in found.reasons[found.unfit[0]] or "e-3" in found.reasons[found.unfit[0]]


@given(st.floats(1e-6, 1e6), st.sampled_from([7, 127]))
def test_fitting_exponents_are_the_finest_that_clip_nothing(absmax: float, levels: int) -> None:
    found = unbounded_exponent(absmax, levels)
    assert absmax * 2.0**found <= levels + 0.5 < absmax * 2.0 ** (found + 1)
    weight = np.array([[absmax, -absmax / 3], [0.0, 0.0]])
    assert fitting_channel_exponents(weight, levels).tolist() == [found, 0]
    (least,) = least_error_channel_exponents(weight[:1], 3, levels)
    errors = [
        (np.clip(np.rint(weight[0] * 2.0**e), -levels, levels) * 2.0**-e - weight[0]) ** 2
        for e in range(found, found + 4)
    ]
    assert least == found + int(np.argmin([error.sum() for error in errors]))
