"""What a compile takes down about its quantization: how good it is, and why it is what it is.

These are values of lock files and reports: they say what was measured when the scheme was chosen,
so that a compile that needs no calibration data any more can still tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Quality:
    """How close a quantized model is to the float model on calibration data.

    Attributes:
        output: Its worst output.
        sqnr_db: Power of the float values of that output over that of their error.
        samples: That it was measured on.
        agreement: Share of positions with the same top class, or of equal integers; left out for
            outputs that hold neither.
    """

    output: str
    sqnr_db: float
    samples: int
    agreement: float | None = None


TAKEN = "taken"
"""Outcome of a rung that was."""


@dataclass(frozen=True)
class Rung:
    """A scheme of the ladder that was looked at.

    Attributes:
        outcome: Whether it was taken, or why not.
        quality: Where it was measured.
    """

    outcome: str
    quality: Quality | None = None


@dataclass(frozen=True)
class Ladder:
    """How the untuned default was found.

    Attributes:
        taken: Name of the rung.
        good_enough: Whether it is; else it is the best of all.
        rungs: Those that were looked at, in order, by name.
        latency_ms, first_latency_ms: Of the rung that was taken and of the first one, where the
            first one was left and both were compiled.
    """

    taken: str
    good_enough: bool
    rungs: Mapping[str, Rung] = field(default_factory=dict)
    latency_ms: float | None = None
    first_latency_ms: float | None = None
