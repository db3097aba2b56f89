"""Operators written to a package and read back are the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compiler_core.errors import InputError
from compiler_core.files.plain import from_plain, to_plain
from compiler_core.quantize.ir import IntegerConcat, IntegerConv, IntegerMaxPool, IntegerOperator
from compiler_core.tensor.operator_file import Operators, operator_entries, read_operators

CONV = IntegerConv(
    name="c",
    input="x",
    output="y",
    weight=np.arange(-60, 60, dtype=np.int8).reshape(4, 2, 3, 5),
    bias=np.array([1, -(2**30), 3, 4], np.int32),
    strides=(1, 2),
    pads=(1, 0, 2, 3),
    dilations=(2, 1),
    groups=2,
    shift=-3,
    clip_min=-7,
    clip_max=99,
    residual="r",
    residual_shift=5,
    sources=("conv", "relu"),
)
OPERATORS: tuple[IntegerOperator, ...] = (
    CONV,
    replace(
        CONV, name="d", shift=0, residual=None, channel_shifts=np.array([0, 31, 7, 8], np.int32)
    ),
    IntegerMaxPool("p", "y", "z", (2, 3), (1, 1), (0, 1, 0, 1), clip_min=3, sources=("pool",)),
    IntegerConcat("k", ("y", "z"), "w", ("concat",)),
)


def test_round_trip() -> None:
    document, constants = operator_entries(OPERATORS)
    document = from_plain(Operators, to_plain(document), "operators")
    for ours, theirs in zip(OPERATORS, read_operators(document, constants, "op"), strict=True):
        assert type(ours) is type(theirs)
        for name, value in vars(ours).items():
            assert np.array_equal(value, getattr(theirs, name)), name


@pytest.mark.parametrize("size", [0, 1, 17])
def test_offsets_outside_the_constants_are_refused(size: int) -> None:
    document, constants = operator_entries(OPERATORS[:1])
    with pytest.raises(InputError, match="operator 'c': constants at bytes"):
        read_operators(document, constants[:size], "op")
