"""What the reaction to a signal raises in one of Ray's calls."""

from __future__ import annotations

import pytest

from nest_tune.cli.signals import Terminated
from nest_tune.runners.ray_cluster import signals_come_through


def test_what_ends_a_command_is_no_error_of_rays() -> None:
    with pytest.raises(Terminated), signals_come_through():
        raise SystemError("returned a result with an exception set") from Terminated()


def test_other_errors_stay() -> None:
    with pytest.raises(SystemError), signals_come_through():
        raise SystemError("wait") from ValueError("w")
    with pytest.raises(ValueError, match="w"), signals_come_through():
        raise ValueError("w")
