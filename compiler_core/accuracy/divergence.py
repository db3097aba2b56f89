"""How far the probabilities of an output are from those of the float model: Kullback-Leibler.

======  ==========================================================================
symbol  meaning
======  ==========================================================================
n       samples
p       positions of one sample: tokens, pixels; 1 for a plain classifier
c       classes
======  ==========================================================================

Scores become probabilities by a softmax; what is non-negative and adds up to 1 at every position of
the float model is probabilities already. Source: S. Kullback and R. A. Leibler, On Information and
Sufficiency, 1951.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.judge import ONE_OUTPUT, Judge, Kind
from compiler_core.accuracy.tally import class_scores
from compiler_core.errors import InputError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

MOST_NATS = 100.0
"""Of one position: what is not finite, or excludes what the float model says, counts as so much."""

_BLOCK = 1 << 20
"""Values that are compared at once."""
_IS_ONE = 1e-3


@dataclass(frozen=True, eq=False)
class Divergence:
    """Mean divergence of the positions of each sample, in nats: ``float64[n]``."""

    nats: Floats

    @property
    def value(self) -> float:
        """Their mean below zero, for more is better in all metrics: 0 is the float model itself."""
        return 0.0 - float(self.nats.mean())


def divergence(judge: Judge, ours: Array, theirs: Array, samples: int) -> Divergence:
    """Divergence of the probabilities of ``ours`` from those of ``theirs``.

    Args:
        judge: Of the output: its classes lie along an axis.
        ours: Of the model that is judged.
        theirs: Of the float model.
        samples: How many.

    Raises:
        InputError: The output has no classes, the shapes differ, or a value of the float model is
            not finite.
    """
    if judge.kind is not Kind.CLASSES or judge.axis is None:
        why = judge.reason or f"its values are {judge.kind.value}"
        raise InputError(
            f"metric kl: output {judge.output!r} has no scores of classes: {why}",
            hint=f"{ONE_OUTPUT} judges one output alone; --metric sqnr_db judges real values",
        )
    mine, signal = (class_scores(judge, values, samples) for values in (ours, theirs))
    if mine.shape != signal.shape:
        raise InputError(
            f"output {judge.output!r} has {mine.shape[1]} positions of {mine.shape[2]} classes; "
            f"that of the float model has {signal.shape[1]} of {signal.shape[2]}"
        )
    if not np.isfinite(signal).all():
        raise InputError(f"output {judge.output!r} of the float model is not finite")
    sums = signal.sum(axis=2, dtype=np.float64)
    given = bool((signal >= 0).all() and (np.abs(sums - 1) < _IS_ONE).all())
    found = np.zeros(mine.shape[:2])
    for block in _blocks(*mine.shape):
        found[block] = _nats(_logs(mine[block], given=given), _logs(signal[block], given=given))
    return Divergence(found.mean(axis=1))


def _logs(values: Array, *, given: bool) -> Floats:
    """Logarithms of probabilities."""
    exact = values.astype(np.float64)
    with np.errstate(all="ignore"):
        if given:
            shares = np.maximum(exact, 0.0) / exact.sum(axis=-1, keepdims=True)
            return np.asarray(np.log(shares))
        shifted = exact - exact.max(axis=-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _nats(ours: Floats, theirs: Floats) -> Floats:
    with np.errstate(all="ignore"):
        share = np.exp(theirs)
        terms = np.where(share > 0, share * (theirs - ours), 0.0)
        sums = terms.sum(axis=-1)
    return np.clip(np.where(np.isfinite(sums), sums, MOST_NATS), 0.0, MOST_NATS)


def _blocks(samples: int, positions: int, classes: int) -> Iterator[tuple[slice, slice]]:
    step = max(1, _BLOCK // max(1, classes))
    rows = max(1, step // max(1, positions))
    for start in range(0, samples, rows):
        for first in range(0, positions, step):
            yield slice(start, start + rows), slice(first, first + step)
