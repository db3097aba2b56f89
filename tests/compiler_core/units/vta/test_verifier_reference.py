"""The verifier against plain checks that run every loop and compare accesses pair by pair."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.units.vta.verify import Finding, FindingClass, verify
from compiler_core.units.vta.verify._bitmap import touched_elements
from tests.compiler_core.units.vta.reference_verifier import (
    GEOMETRY,
    Expected,
    ReferenceVerifier,
    random_dram,
    random_program,
)

STATED = ("elements from", "bytes from")
CLASSES = {
    FindingClass.SRAM_OUT_OF_RANGE,
    FindingClass.DRAM_OUT_OF_RANGE,
    FindingClass.DEADLOCK,
    FindingClass.TOKEN_LEFT_OVER,
    FindingClass.FINISH_NOT_ORDERED,
    FindingClass.DATA_RACE,
    FindingClass.HARDWARE_RULE,
    FindingClass.UNINITIALISED_READ,
}


def as_expected(item: Finding) -> Expected:
    if item.finding_class is FindingClass.DEADLOCK:
        return Expected("deadlock", "error", -1, "")
    # Which store wrote a computed micro-op is said besides, and not compared.
    stated = any(words in item.demanded for words in STATED) and "micro-ops" not in item.resource
    assert item.instruction is not None
    return Expected(
        item.finding_class.value,
        item.severity.value,
        item.instruction,
        item.resource,
        item.demanded if stated else "",
    )


def compare(seed: int) -> set[Expected]:
    rng = random.Random(seed)
    dram, program = random_dram(rng), random_program(rng)
    findings = verify(program, GEOMETRY, dram)
    assert {item.finding_class for item in findings} <= CLASSES
    expected = ReferenceVerifier(program, dram).run()
    actual = {as_expected(item) for item in findings}
    if any(item.finding_class == "deadlock" for item in expected):
        # What is left over beside a deadlock is said without a run and not compared.
        actual = {item for item in actual if item.finding_class != "token_left_over"}
    assert actual == expected
    return expected


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_findings_equal_the_plain_reference(seed: int) -> None:
    compare(seed)


def test_the_random_programs_reach_every_rule() -> None:
    reached: Counter[tuple[str, str]] = Counter()
    clean = 0
    for seed in range(400):
        expected = compare(seed)
        clean += not any(item.severity == "error" for item in expected)
        reached.update({(item.finding_class, item.resource) for item in expected})
    for rule in (
        *(("data_race", resource) for resource in ("inp SRAM", "wgt SRAM", "acc SRAM", "DRAM")),
        ("sram_out_of_range", "uop SRAM"),
        ("sram_out_of_range", "acc SRAM"),
        ("deadlock", ""),
        ("token_left_over", "compute->store tokens"),
        ("finish_not_ordered", "load module"),
        ("finish_not_ordered", "store module"),
        *(("hardware_rule", r) for r in ("acc SRAM", "micro-op dst", "micro-ops in DRAM")),
        *(("uninitialised_read", f"{memory} SRAM") for memory in ("inp", "wgt", "acc", "uop")),
    ):
        assert reached[rule] > 0, rule
    assert clean > 0


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=5),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_touched_elements_equal_enumeration(
    indices: list[int], loops: tuple[int, int], factors: tuple[int, int]
) -> None:
    bits = np.full(4, 2**64 - 1, np.uint64)
    low, high = touched_elements(bits, np.array(indices, np.int32), loops, factors)
    expected = {
        u + o * factors[0] + i * factors[1]
        for u in indices
        for o in range(loops[0])
        for i in range(loops[1])
    }
    assert {e for e in range(256) if int(bits[e // 64]) >> e % 64 & 1} == expected
    assert (low, high) == (min(expected), max(expected))


@pytest.mark.parametrize("step", [1, 2, 63, 64, 65, 127])
def test_progressions_cross_word_borders(step: int) -> None:
    bits = np.zeros(32, np.uint64)
    length = (2048 - 5) // step
    touched_elements(bits, np.array([3], np.int32), (length, 1), (step, 7))
    members = {e for e in range(2048) if int(bits[e // 64]) >> e % 64 & 1}
    assert members == {3 + k * step for k in range(length)}
