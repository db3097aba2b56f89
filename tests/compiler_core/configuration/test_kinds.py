"""Which kind of unit a schedule of a configuration is for."""

from __future__ import annotations

import pytest

from compiler_core.configuration.configuration import parse_configuration
from compiler_core.errors import InputError


def test_schedules_of_unknown_kinds_are_named_with_their_place() -> None:
    text = b'schema = "nest-tune/config/1"\n[schedule.nope_conv-0]\nrows = 1\n'
    with pytest.raises(InputError, match=r"here: schedule\.nope_conv-0: unit kind 'nope' is not"):
        parse_configuration(text, "here")
