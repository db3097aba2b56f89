"""Tokens over arrays: those that lists give."""

from __future__ import annotations

import random
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.units.vta.lower import tokens
from compiler_core.units.vta.lower.draft import encoded
from compiler_core.units.vta.lower.tokens import (
    COMPUTE,
    LOAD,
    NOTHING,
    TOKENS_MAX,
    BareInstruction,
    finished,
)
from compiler_core.units.vta.merge._tokens import token_flags


@st.composite
def programs(draw: st.DrawFn) -> list[BareInstruction]:
    steps: list[BareInstruction] = []
    for number in range(draw(st.integers(1, 40))):
        module = draw(st.integers(0, 2))

        def needed(other: int, count: int = number) -> int:
            if not 0 <= other <= 2:
                return NOTHING
            known = [n for n in range(count) if steps[n].module == other]
            return draw(st.sampled_from([NOTHING, *known]))

        steps.append(BareInstruction(0, module, needed(module - 1), needed(module + 1)))
    return steps


def flags_of(steps: list[BareInstruction], most: int) -> npt.NDArray[np.uint64]:
    module = np.array([step.module for step in steps], np.int64)
    needs = np.array([(step.previous, step.following) for step in steps], np.int64)
    return token_flags(module, needs, most)


def flags_by_lists(steps: list[BareInstruction], most: int) -> npt.NDArray[np.uint64]:
    with mock.patch.object(tokens, "TOKENS_MAX", most):
        return encoded(finished(steps)).view(np.uint64)[:, 0] & np.uint64(0x78)


@settings(max_examples=300, deadline=None)
@given(programs(), st.sampled_from([1, 2, 3, 6, TOKENS_MAX]))
def test_flags_are_those_of_the_lowering(steps: list[BareInstruction], most: int) -> None:
    np.testing.assert_array_equal(flags_of(steps, most), flags_by_lists(steps, most))


@pytest.mark.parametrize("seed", range(4))
def test_no_more_tokens_lie_between_two_modules_than_are_counted(seed: int) -> None:
    draw = random.Random(seed)
    ahead = TOKENS_MAX + 20
    steps: list[BareInstruction] = []
    for number in range(4 * ahead):
        # LOADs run far ahead of the computations that need them, one for one.
        load = number < ahead or draw.random() < 0.5
        done = sum(step.module == COMPUTE for step in steps)
        loads = [at for at, step in enumerate(steps) if step.module == LOAD]
        steps.append(
            BareInstruction(0, LOAD)
            if load or done >= len(loads)
            else BareInstruction(0, COMPUTE, loads[done])
        )
    found = flags_of(steps, TOKENS_MAX)
    np.testing.assert_array_equal(found, flags_by_lists(steps, TOKENS_MAX))
    assert not np.array_equal(found, flags_of(steps, 10 * ahead))
