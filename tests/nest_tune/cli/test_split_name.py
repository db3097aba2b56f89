"""``NAME:TRIAL`` where names may hold colons: viewers rename studies to whatever they like."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InputError
from nest_tune.cli.study_options import split_name


def holding(*names: str) -> Any:
    return SimpleNamespace(get=lambda name: name if name in names else None)


@given(st.text(), st.integers(0, 999_999_999))
def test_names_are_found_whole_and_with_a_trial(name: str, number: int) -> None:
    assert split_name(name, holding(name)) == (name, None)
    assert split_name(f"{name}:{number}", holding(name)) == (name, number)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="NAME:TRIAL with a trial number") as told:
        split_name("a:b", holding("a"))
    assert told.value.hint == "a:0"
