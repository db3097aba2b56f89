"""Schedules from files have sizes that can be computed with."""

from __future__ import annotations

import pytest

from compiler_core.errors import InputError
from compiler_core.files.plain import to_plain
from compiler_core.units.vta.documents import DOCUMENTS
from compiler_core.units.vta.schedule.schedule import ConvSchedule


def test_sizes_are_bounded() -> None:
    schedule = ConvSchedule(4, 4, 1, 1)
    plain = to_plain(schedule)
    assert DOCUMENTS.schedule(plain, "s") == schedule
    for name in ("tile_height", "output_slots"):
        with pytest.raises(InputError, match=f"s: {name} is larger than"):
            DOCUMENTS.schedule({**plain, name: 10**80}, "s")
