"""Shares and chances as users write them."""

from __future__ import annotations

import pytest

from compiler_core.errors import InputError
from nest_tune.study.request.shares import parse_holdout, parse_risk, parse_share


@pytest.mark.parametrize(
    ("text", "share"),
    [("0.25", 0.25), ("25%", 0.25), ("0", 0.0), (".5", 0.5), ("0.7 %", 0.007), ("x", None)],
)
def test_shares_are_read(text: str, share: float | None) -> None:
    assert parse_share(text) == share


def test_what_is_no_share_is_a_file() -> None:
    assert parse_holdout("25%", "--holdout") == (0.25, None)
    assert parse_holdout("other.npz", "--holdout") == (0.0, "other.npz")
    for text in ("1", "100%", "3"):
        with pytest.raises(InputError, match="a share below 1"):
            parse_holdout(text, "--holdout")


@pytest.mark.parametrize("text", ["0", "0.6", "60%", "often"])
def test_a_risk_is_a_small_chance(text: str) -> None:
    assert parse_risk("5%", "--risk") == 0.05
    with pytest.raises(InputError, match="at most 50%"):
        parse_risk(text, "--risk")
