"""Sizes of spaces as text: they may have thousands of digits, more than any float reaches."""

from __future__ import annotations

import math

_WHOLE_BELOW = 10**12
_DIGITS_MAX = 300


def shown_count(count: int) -> str:
    """All digits of a count that people read as such; else three of them and the exponent."""
    if count < _WHOLE_BELOW:
        return f"{count:,}"
    exponent = int((count.bit_length() - 1) * math.log10(2))
    if count >= 10 ** (exponent + 1):
        exponent += 1
    leading = count // 10 ** (exponent - 2)
    return f"{leading // 100}.{leading % 100:02}e+{exponent:02}"


def plain_count(count: int) -> int | str:
    """A count for a JSON document: a number, as text where other programs could not read it."""
    return count if count < 10**_DIGITS_MAX else shown_count(count)
