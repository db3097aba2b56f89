"""Weights in blocks of output channels are what they are as a whole."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.quantize import blocks
from compiler_core.quantize.blocks import (
    largest_magnitude,
    lost_taps,
    rounded,
    row_blocks,
    scaled,
    signed_sums,
)
from compiler_core.quantize.channel_exponents import least_error_channel_exponents
from compiler_core.quantize.magnitudes import NO_MAGNITUDES


@given(st.data())
def test_blocks_change_nothing(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(*[st.integers(1, 5)] * 4))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    seed = data.draw(st.integers(0, 99))
    random = np.random.default_rng(seed)
    weight = (random.standard_normal(shape) * 10.0 ** random.integers(-9, 4)).astype(dtype)
    exponents = random.integers(-5, 20, shape[0])
    levels = data.draw(st.sampled_from([7, 127]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_BLOCK", data.draw(st.integers(1, 200)))
        patch.setattr("compiler_core.quantize.magnitudes._BLOCK", data.draw(st.integers(1, 50)))
        rows = [np.arange(shape[0])[part] for part in row_blocks(weight)]
        assert np.concatenate(rows).tolist() == list(range(shape[0]))
        found = rounded(weight, exponents, levels)
        taps = lost_taps(weight, found, exponents)
        least = least_error_channel_exponents(weight, 3, levels)
        histogram = NO_MAGNITUDES.with_values(weight)
    wide, by = weight.astype(np.float64), exponents.reshape(-1, 1, 1, 1)
    whole = np.clip(np.rint(np.ldexp(wide, by)), -levels, levels)
    np.testing.assert_array_equal(found, whole)
    np.testing.assert_array_equal(taps, (wide - np.ldexp(whole, -by)).sum(axis=(2, 3)))
    positive, negative = signed_sums(found)
    flat = whole.reshape(shape[0], -1)
    assert positive.tolist() == np.maximum(flat, 0).sum(axis=1).tolist()
    assert negative.tolist() == np.minimum(flat, 0).sum(axis=1).tolist()
    assert largest_magnitude(weight) == np.abs(weight).max()
    np.testing.assert_array_equal(least, least_error_channel_exponents(wide, 3, levels))
    plain = NO_MAGNITUDES.with_values(wide)
    assert histogram.power == plain.power
    np.testing.assert_array_equal(histogram.counts, plain.counts)
    assert histogram.counts.sum() == np.count_nonzero(weight)


def test_what_is_made_of_large_weights_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.random.default_rng(0).standard_normal((1024, 1024, 1, 1)).astype(np.float32)
    monkeypatch.setattr(blocks, "_BLOCK", 1 << 14)
    monkeypatch.setattr("compiler_core.quantize.magnitudes._BLOCK", 1 << 14)
    tracemalloc.start()
    try:
        integers = rounded(weight, 5, 127)
        signed_sums(integers)
        NO_MAGNITUDES.with_values(weight)
        least_error_channel_exponents(weight, 3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < weight.nbytes


@given(
    st.lists(st.floats(width=64), min_size=1, max_size=6),
    st.lists(st.integers(-1080, 1080), min_size=1, max_size=6),
)
def test_powers_of_two_are_those_of_ldexp_to_the_last_bit(values, exponents):
    array, powers = np.array(values), np.array(exponents)[:, None]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(scaled(array, powers), np.ldexp(array, powers))
        np.testing.assert_array_equal(scaled(array, exponents[0]), np.ldexp(array, exponents[0]))
