"""The doubling histogram and the scale of least squared error."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.quantize.exponents import fitting_exponent
from compiler_core.quantize.magnitudes import NO_MAGNITUDES, least_error_exponent


def plain_error(values, exponent):
    rounded = np.clip(np.rint(np.ldexp(values, exponent)), -127, 127)
    return ((np.ldexp(rounded, -exponent) - values) ** 2).sum()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), scales=st.lists(st.integers(-60, 60), min_size=1, max_size=4))
def test_doubling_counts_like_one_histogram(seed, scales):
    rng = np.random.default_rng(seed)
    parts = [np.ldexp(rng.standard_normal(50), scale) for scale in scales]
    streamed = NO_MAGNITUDES
    for part in parts:
        streamed = streamed.with_values(part)
    once = NO_MAGNITUDES.with_values(np.concatenate(parts))
    assert streamed.power == once.power
    np.testing.assert_array_equal(streamed.counts, once.counts)


def test_least_error_clips_an_outlier_and_nothing_else():
    rng = np.random.default_rng(0)
    normal = rng.standard_normal(20000)
    outlier = np.append(normal, [16.5])
    for values, finer in ((rng.uniform(-1.2, 1.2, 20000), 0), (outlier, 1)):
        fitting = fitting_exponent(np.abs(values).max())
        magnitudes = NO_MAGNITUDES.with_values(values)
        chosen = least_error_exponent(magnitudes, fitting, 3)
        plain = min(range(fitting, fitting + 4), key=lambda e, v=values: plain_error(v, e))
        assert chosen == plain == fitting + finer


def test_zeros_cost_nothing():
    assert NO_MAGNITUDES.with_values(np.zeros(9)).squared_error(3) == 0.0
