"""What one metric says of one output, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.divergence import Divergence, divergence
from compiler_core.accuracy.intervals import Estimate, mean, share, sqnr
from compiler_core.accuracy.judge import Judge
from compiler_core.accuracy.labels import correct
from compiler_core.accuracy.noise import Noise, cosines, joined_noise, noise
from compiler_core.accuracy.tally import Tally, agreement, joined

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Angles:
    """Cosines by sample: ``float64[n]``."""

    cosines: npt.NDArray[np.float64]

    @property
    def value(self) -> float:
        """Their mean."""
        return float(self.cosines.mean())


Figures = Tally | Noise | Angles | Divergence
"""What one metric says of one output, sample by sample."""


def top1(
    judge: Judge, ours: Array, reference: Array | None, labels: Array | None, samples: int
) -> Tally:
    """Which labels have the highest score."""
    del reference
    assert labels is not None
    return correct(judge, ours, labels, samples, 1)


def top5(
    judge: Judge, ours: Array, reference: Array | None, labels: Array | None, samples: int
) -> Tally:
    """Which labels are among the five highest scores."""
    del reference
    assert labels is not None
    return correct(judge, ours, labels, samples, 5)


def agreeing(
    judge: Judge, ours: Array, reference: Array | None, labels: Array | None, samples: int
) -> Tally:
    """Which decisions are those of the float model."""
    assert reference is not None
    return agreement(judge, ours, reference, samples, labelled=labels is not None)


def noisy(
    judge: Judge, ours: Array, reference: Array | None, labels: Array | None, samples: int
) -> Noise:
    """Powers of the float model's values and of the difference."""
    del labels
    assert reference is not None
    return noise(ours, reference, samples, judge.output, judge.parts)


def angles(
    judge: Judge, ours: Array, reference: Array | None, labels: Array | None, samples: int
) -> Angles:
    """Cosines between the values and those of the float model."""
    del labels
    assert reference is not None
    return Angles(cosines(ours, reference, samples, judge.output))


def diverging(
    judge: Judge, ours: Array, reference: Array | None, labels: Array | None, samples: int
) -> Divergence:
    """Divergences of the probabilities from those of the float model."""
    del labels
    assert reference is not None
    return divergence(judge, ours, reference, samples)


def joined_figures(parts: Sequence[Mapping[str, Figures]]) -> dict[str, Figures]:
    """Figures of blocks of samples, one after another, as one."""
    return {name: _joined([part[name] for part in parts]) for name in parts[0]}


def _joined(parts: Sequence[Figures]) -> Figures:
    if isinstance(parts[0], Tally):
        return joined([part for part in parts if isinstance(part, Tally)])
    if isinstance(parts[0], Noise):
        return joined_noise([part for part in parts if isinstance(part, Noise)])
    if isinstance(parts[0], Divergence):
        return Divergence(np.concatenate([p.nats for p in parts if isinstance(p, Divergence)]))
    return Angles(np.concatenate([part.cosines for part in parts if isinstance(part, Angles)]))


def worst(found: Mapping[str, Figures]) -> str:
    """The output that decides: the one with the lowest value, of equal ones the first."""
    return min(found, key=lambda name: found[name].value)


def estimate(figures: Figures) -> Estimate:
    """A value with its interval."""
    if isinstance(figures, Tally):
        return share(figures)
    if isinstance(figures, Divergence):
        return mean(0.0 - figures.nats)
    return sqnr(figures) if isinstance(figures, Noise) else mean(figures.cosines)
