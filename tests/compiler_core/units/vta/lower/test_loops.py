"""Loop compression against plain enumeration of the nest."""

from __future__ import annotations

from collections import Counter
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from compiler_core.units.vta.lower.loops import (
    DST_SHIFT,
    MAX_TABLE,
    SRC_SHIFT,
    WGT_SHIFT,
    Axis,
    LoopNest,
    compress,
)
from compiler_core.units.vta.machine.hardware import HAZARD_DISTANCE

Triple = tuple[int, int, int]

extents = st.integers(1, 5)
spatial = st.tuples(extents, extents, extents)
reduction = st.tuples(extents, extents, extents)


def unpack(word: int) -> Triple:
    return (
        word & (1 << SRC_SHIFT) - 1,
        word >> SRC_SHIFT & (1 << WGT_SHIFT - SRC_SHIFT) - 1,
        word >> WGT_SHIFT,
    )


def executions(nest: LoopNest) -> list[Triple]:
    """(dst, src, wgt) in the order in which the hardware runs them."""
    base = unpack(nest.base << DST_SHIFT)
    result = []
    for outer, inner in product(range(nest.iter_out), range(nest.iter_in)):
        for word in nest.offsets:
            dst, src, wgt = unpack(word)
            result.append(
                (
                    base[0] + dst + outer * nest.dst_out + inner * nest.dst_in,
                    base[1] + src + outer * nest.src_out + inner * nest.src_in,
                    base[2] + wgt + outer * nest.wgt_out + inner * nest.wgt_in,
                )
            )
    return result


@given(spatial, reduction)
def test_compressed_nest_runs_every_iteration_once(
    spatial: tuple[int, int, int], reduction: tuple[int, int, int]
) -> None:
    rows, columns, channels = spatial
    taps_h, taps_w, depth = reduction
    axes = (
        Axis(depth, 0, 50, taps_h * taps_w),
        Axis(taps_h, 0, 7, taps_w),
        Axis(taps_w, 0, 1, 1),
        Axis(rows, columns, 7, 0),
        Axis(channels, rows * columns, 0, depth * taps_h * taps_w),
        Axis(columns, 1, 1, 0),
    )
    expected = Counter(
        tuple(
            sum(i * axis[field] for i, axis in zip(point, axes, strict=True)) for field in (1, 2, 3)
        )
        for point in product(*(range(axis.extent) for axis in axes))
    )
    nests = compress(axes)
    assert Counter(e for nest in nests for e in executions(nest)) == expected
    for nest in nests:
        assert len(nest.offsets) <= MAX_TABLE
        assert nest.executions == len(executions(nest))
        targets = [dst for dst, _, _ in executions(nest)]
        for position, dst in enumerate(targets):
            assert dst not in targets[max(0, position - HAZARD_DISTANCE + 1) : position]


def test_one_instruction_where_loops_suffice() -> None:
    (nest,) = compress((Axis(14, 28, 30, 0), Axis(28, 1, 1, 0)))
    assert (nest.iter_out * nest.iter_in, nest.offsets) == (14 * 28, (0,))


def test_single_accumulator_is_spread_over_instructions() -> None:
    nests = compress((Axis(6, 0, 1, 1),))
    assert [nest.executions for nest in nests] == [1] * 6
