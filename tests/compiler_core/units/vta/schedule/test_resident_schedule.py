"""The texts of programs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.configuration.configuration import parse_configuration, read_schedule
from compiler_core.errors import InputError
from compiler_core.files.plain import to_plain
from compiler_core.units.vta.schedule.resident_schedule import (
    MOST_STEPS,
    ResidentSchedule,
    Step,
    StepKind,
    parse_steps,
)

WITH_ROWS = [StepKind.INPUTS, StepKind.TAPS, StepKind.TAPS_BY_ROWS, StepKind.REQUANTIZE]
steps = st.one_of(
    st.just(Step(StepKind.MICRO_OPS)),
    st.builds(
        Step,
        st.sampled_from([kind for kind in StepKind if kind is not StepKind.MICRO_OPS]),
        st.integers(0, 900),
        st.integers(1, 99),
    ),
    st.builds(
        lambda kind, block, low, count: Step(kind, block, 1, (low, low + count)),
        st.sampled_from(WITH_ROWS),
        st.integers(0, 900),
        st.integers(0, 900),
        st.integers(1, 99),
    ),
)


@given(st.lists(steps, min_size=1, max_size=40))
def test_what_is_written_is_read(written: list[Step]) -> None:
    assert parse_steps(" ".join(map(str, written))) == tuple(written)


@given(st.text(alphabet="WIBTMQU0129-[]: ", max_size=24))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_steps(text)
    except InputError:
        return
    assert parse_steps(" ".join(map(str, found))) == found


@pytest.mark.parametrize(
    "text",
    ["", "W", "W0 ", "X1", "W2-1", "W1-1", "B0[0:2]", "I0-1[0:2]", "T3[2:2]", "U1", "T0[1]", "W٣"],
)
def test_what_is_no_step_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="step"):
        parse_steps(text)


def test_endless_programs_are_refused() -> None:
    with pytest.raises(InputError, match=f"at most {MOST_STEPS}"):
        parse_steps(" ".join(["U"] * (MOST_STEPS + 1)))


def test_plain_form_and_digest() -> None:
    schedule = ResidentSchedule("W0 I0", "B0 T0 Q0")
    assert read_schedule("conv2d-0", to_plain(schedule), "here") == schedule
    assert schedule.digest == ResidentSchedule("W0 I0", "B0 T0 Q0").digest
    assert schedule.digest != ResidentSchedule("I0 W0", "B0 T0 Q0").digest
    with pytest.raises(InputError, match="here: step 'Z9'"):
        read_schedule("conv2d-0", {"loads": "W0 I0", "steps": "B0 Z9"}, "here")
    with pytest.raises(InputError, match="here"):
        read_schedule("conv2d-0", {"loads": "W0 I0"}, "here")


def test_slices_are_scheduled_in_tiles() -> None:
    text = """schema = "nest-tune/config/1"
[slicing.depthwise-conv2d-0123456789abcdef]
axis = "channels"
[slicing.depthwise-conv2d-0123456789abcdef.core-0]
loads = "W0 I0"
steps = "B0 T0 Q0"
"""
    with pytest.raises(InputError, match="slices are scheduled in tiles"):
        parse_configuration(text.encode(), "here")
