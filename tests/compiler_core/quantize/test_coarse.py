"""Numbers of twelve bits."""

from __future__ import annotations

from math import frexp

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.quantize.coarse import BITS, coarse
from compiler_core.quantize.input_equalization import factors_of

sizes = st.floats(1e-30, 1e30)


@given(sizes)
def test_it_is_the_next_one_up(value: float) -> None:
    found = coarse(value)
    assert value * (1 - 2.0**-19) <= found <= value * (1 + 2.0 ** (1 - BITS))
    assert (frexp(found)[0] * 2**BITS).is_integer()
    assert coarse(found) == found


@given(sizes, st.floats(-(2.0**-21), 2.0**-21))
def test_noise_does_not_lift_a_number_of_the_grid(value: float, noise: float) -> None:
    on_grid = coarse(value)
    assert coarse(on_grid * (1 + noise)) == on_grid


@given(st.lists(sizes, min_size=1, max_size=9))
def test_factors_bring_sizes_between_a_half_and_one(values: list[float]) -> None:
    scaled = np.array(values) * factors_of(np.array(values))
    assert ((scaled > 0.5) & (scaled <= 1)).all()
