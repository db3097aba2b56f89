"""The value of a metric as it is stored and compared: exact where values are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.fidelity import Sums, added
from compiler_core.accuracy.figures import Figures, estimate, worst
from compiler_core.accuracy.intervals import Estimate, paired_difference, paired_share_difference
from compiler_core.accuracy.tally import Tally

_DIGITS = 12
"""Digits behind the point that a difference of two measured values keeps: the noise of its
subtraction lies below them."""


@dataclass(frozen=True)
class Score:
    """Value of a metric.

    Attributes:
        value: Of the output that decides; more is better.
        samples: That it was measured on.
        hits: What was right by sample, of metrics that count, one entry per output, with commas
            between. One bit per sample, the first one highest, as hex; where a sample has several
            positions, their number, a colon, and four bytes per sample. Two measurements on the
            same samples are compared sample by sample: their difference is known far better than
            either of them.
        fidelity: Agreement and noise against the float model, as sums, see
            :mod:`compiler_core.accuracy.fidelity`; empty where they were not measured.
        low, high: Its 95 % confidence interval; ``None`` of a user's own metric.
    """

    value: float
    samples: int
    hits: str = ""
    low: float | None = None
    high: float | None = None
    fidelity: tuple[Sums, ...] = ()

    def __post_init__(self) -> None:
        """What was read from JSON is what it was."""
        object.__setattr__(self, "fidelity", tuple(map(tuple, self.fidelity)))


def score_of(found: Mapping[str, Figures], samples: int) -> Score:
    """The score of the worst output."""
    decides = found[worst(found)]
    counted = [figures for figures in found.values() if isinstance(figures, Tally)]
    interval = estimate(decides)
    hits = ",".join(map(_packed, counted))
    return Score(decides.value, samples, hits, interval.low, interval.high)


def counted(tallies: Sequence[Tally]) -> Score:
    """The score of a metric that counts, from what it says of each output."""
    return score_of({str(index): tally for index, tally in enumerate(tallies)}, tallies[0].samples)


def tallies_of(score: Score) -> tuple[Tally, ...]:
    """What a counting metric says of each sample, by output; empty for other metrics."""
    if not score.hits:
        return ()
    return tuple(_unpacked(text, score.samples) for text in score.hits.split(","))


def spliced(score: Score, rows: Sequence[int], other: Score, rest: Sequence[int]) -> Score:
    """Scores of two parts of the samples as that of all.

    Args:
        score, other: Of a metric that counts.
        rows, rest: Which samples each was measured on; together all.
    """
    found = []
    for one, two in zip(tallies_of(score), tallies_of(other), strict=True):
        right = np.zeros(len(rows) + len(rest), np.int64)
        right[list(rows)], right[list(rest)] = one.right, two.right
        found.append(Tally(right, one.positions))
    return replace(counted(found), fidelity=added(score.fidelity, other.fidelity))


def drop(reference: Score, own: Score) -> float:
    """What is lost against ``reference`` on the same samples, by the output that loses most.

    Where values are counted, their counts are subtracted and the difference is divided once: a
    drop of 3 in 300 is 0.01 and no last digit more.
    """
    pairs = list(zip(tallies_of(reference), tallies_of(own), strict=False))
    if pairs and all(one.total == two.total for one, two in pairs):
        return max((one.hits - two.hits) / one.total for one, two in pairs)
    return round(reference.value - own.value, _DIGITS)


def drop_interval(reference: Score, own: Score) -> Estimate | None:
    """:func:`drop` with its 95 % interval, paired: sample by sample. That no sample differs says
    only that few do; nothing is lost for certain where the outputs are those of the float model.

    Returns:
        ``None`` where the metric does not count, or the two are of different samples.
    """
    pairs = list(zip(tallies_of(reference), tallies_of(own), strict=False))
    if not pairs or any((a.samples, a.total) != (b.samples, b.total) for a, b in pairs):
        return None
    one, two = max(pairs, key=lambda pair: pair[0].hits - pair[1].hits)
    found = _paired(one, two)
    if _computes_the_float_model(own) and not found.value:
        found = Estimate(0.0, 0.0, 0.0)
    return Estimate(drop(reference, own), found.low, found.high)


def _paired(one: Tally, two: Tally) -> Estimate:
    """Difference of the values of two tallies of the same samples."""
    difference = one.right - two.right
    if one.positions == 1 or not difference.any():
        gained, lost = int((difference > 0).sum()), int((difference < 0).sum())
        return paired_share_difference(gained, lost, one.samples)
    return paired_difference(one.shares, two.shares)


def _computes_the_float_model(score: Score) -> bool:
    """Whether no output differs from the float model's by anything, as far as it was measured."""
    return bool(score.fidelity) and not any(lost for *_, lost in score.fidelity)


def all_right(score: Score) -> Score:
    """The best that there can be on the samples of ``score``, of a metric that counts."""
    return counted([Tally(np.full(t.samples, t.positions), t.positions) for t in tallies_of(score)])


def hopeful_difference(one: Score, other: Score, deviations: float) -> float:
    """How much better than ``other`` the value of ``one`` may be on all samples, as far as the
    samples of both can tell.

    Args:
        one, other: Measured on the same samples.
        deviations: Standard deviations of benefit of the doubt.
    """
    difference = one.value - other.value
    count = one.samples
    mine, theirs = tallies_of(one), tallies_of(other)
    if not mine or [t.positions for t in mine] != [t.positions for t in theirs]:
        return difference + deviations * abs(one.value) / sqrt(count)
    changed = max(
        float(((a.right - b.right) ** 2).sum()) / (a.positions**2 * count)
        for a, b in zip(mine, theirs, strict=True)
    )
    return difference + deviations * sqrt(max(changed - difference**2, 1 / count) / count)


def _packed(tally: Tally) -> str:
    if tally.positions == 1:
        return np.packbits(tally.right.astype(bool)).tobytes().hex()
    return f"{tally.positions}:{tally.right.astype('<u4').tobytes().hex()}"


def _unpacked(text: str, samples: int) -> Tally:
    positions, colon, packed = text.rpartition(":")
    data: npt.NDArray[Any] = np.frombuffer(bytes.fromhex(packed), np.uint8)
    if colon:
        return Tally(data.view("<u4").astype(np.int64), int(positions))
    return Tally(np.unpackbits(data, count=samples).astype(np.int64))
