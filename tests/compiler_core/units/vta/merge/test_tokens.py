"""Tokens over arrays: those that lists give."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.units.vta.lower.draft import encoded
from compiler_core.units.vta.lower.tokens import COMPUTE, NOTHING, TOKENS_MAX, Step, finished
from compiler_core.units.vta.merge._tokens import token_flags


@st.composite
def programs(draw: st.DrawFn) -> list[Step]:
    steps: list[Step] = []
    for number in range(draw(st.integers(1, 40))):
        module = draw(st.integers(0, 2))

        def needed(other: int, count: int = number) -> int:
            if not 0 <= other <= 2:
                return NOTHING
            known = [n for n in range(count) if steps[n].module == other]
            return draw(st.sampled_from([NOTHING, *known]))

        steps.append(Step(0, module, needed(module - 1), needed(module + 1)))
    return steps


@settings(max_examples=300, deadline=None)
@given(programs())
def test_flags_are_those_of_the_lowering(steps: list[Step]) -> None:
    module = np.array([step.module for step in steps], np.int64)
    needs = np.array([(step.previous, step.following) for step in steps], np.int64)
    flags, most = token_flags(module, needs)
    assert most <= len(steps)
    expected = encoded(finished(steps)).view(np.uint64)[:, 0] & np.uint64(0x78)
    np.testing.assert_array_equal(flags, expected)


def test_the_fullest_edge_is_told() -> None:
    count = TOKENS_MAX + 20
    loads = [Step(0, 0) for _ in range(count)]
    work = [Step(0, COMPUTE, number) for number in range(count)]
    steps = loads + work
    module = np.array([step.module for step in steps], np.int64)
    needs = np.array([(step.previous, step.following) for step in steps], np.int64)
    assert token_flags(module, needs)[1] == count
