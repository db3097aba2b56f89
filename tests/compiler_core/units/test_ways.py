"""Names of ways are such that plans can name their places."""

from __future__ import annotations

import pytest

from compiler_core.errors import InputError
from compiler_core.units.names import unit_of
from compiler_core.units.ways import Way


@pytest.mark.parametrize("suffix", ["", "0", "12", "-rows", "3-left"])
def test_a_place_is_known_by_its_suffix(suffix: str) -> None:
    place = f"unit{Way(suffix).suffix}"
    assert unit_of(place, ["unit", "other"]) == unit_of(f"{place}:bfloat16", ["unit"]) == "unit"


@pytest.mark.parametrize("suffix", ["-left0", "left", "100", "-Rows", "-"])
def test_what_no_plan_could_name_is_refused(suffix: str) -> None:
    assert unit_of(f"unit{suffix}", ["unit"]) is None
    with pytest.raises(InputError, match="plans could not name such a place"):
        Way(suffix)
