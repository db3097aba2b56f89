"""Shares and chances as users write them, and what of the evaluation data is kept out."""

from __future__ import annotations

import re
from decimal import Decimal

from compiler_core.errors import InputError

_SHARE = re.compile(r"([0-9]*\.?[0-9]+)\s*(%?)")


def parse_share(text: str) -> float | None:
    """``0.25`` or ``25%`` as a number; ``None`` for anything else."""
    match = _SHARE.fullmatch(text.strip())
    if match is None:
        return None
    return float(Decimal(match[1]).scaleb(-2 if match[2] else 0))


def parse_holdout(text: str, where: str) -> tuple[float, str | None]:
    """What only reports: a share of the evaluation data, or a file.

    Raises:
        InputError: The share is 1 or more.
    """
    share = parse_share(text)
    if share is None:
        return 0.0, text
    if share >= 1:
        raise InputError(
            f"{where} {text}: a share below 1, or a file, is needed", hint="--holdout 0.25"
        )
    return share, None


def parse_risk(text: str, where: str) -> float:
    """A chance above 0 and at most a half.

    Raises:
        InputError: It is none.
    """
    share = parse_share(text)
    if share is None or not 0 < share <= 0.5:
        raise InputError(f"{where} {text}: above 0 and at most 50% is needed", hint="--risk 5%")
    return share
