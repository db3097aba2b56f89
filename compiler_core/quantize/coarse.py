"""Coarse grids for what is taken from float runs: their last bits differ from machine to machine.

A real number that scales or shifts integers needs no more than about a dozen bits; with all its
bits, noise in the last one reaches every integer that follows. On a grid it reaches none, but where
a number lies within the noise of the middle between two of them.
"""

from __future__ import annotations

from math import ceil, frexp, ldexp

BITS = 12


def coarse(value: float) -> float:
    """A positive number in 12 significant bits, the next one up: at most 1 / 2048 more.

    One that needs no more bits stays as it is, and so does one that exceeds it by 2^-20 or less.
    """
    mantissa, exponent = frexp(value)
    steps = ldexp(mantissa, BITS)
    return ldexp(ceil(steps - 2.0**-8), exponent - BITS)
