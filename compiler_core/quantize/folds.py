"""Parts of the calibration samples, each with the ranges that all other parts have.

What a scheme loses on a part whose ranges were found on the others is a little more than what it
will lose on samples that nobody has seen: ranges of three quarters are nearly those of all.
Every part is profiled once; ranges of several parts are joined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import choose
from compiler_core.quantize.calibration import Samples, gather
from compiler_core.quantize.profile import Profile, activations
from compiler_core.quantize.scheme import CalibrationSize
from compiler_core.quantize.sensitivity import layer_macs
from compiler_core.quantize.statistics import ChannelStatistics, TensorRange

FOLDS = 4
_MOST_RUNS = 32
"""Runs from which on ranges of the first half, which are known, are nearly those of all."""
_MOST_WORK = 1 << 34
"""Multiplications of all runs that another profile and four measurements may take: about 8 s."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One part of the samples.

    Attributes:
        runs: Numbers of its runs of the model.
        ranges: Statistics of all other runs, by tensor.
        samples: The samples of those other runs.
    """

    runs: range
    ranges: Mapping[str, TensorRange]
    samples: Samples


def folds(graph: Graph, profile: Profile, *, threads: int = 1) -> list[Fold]:
    """Parts of the samples of a profile: :data:`FOLDS` as even as can be, or as many as there are
    runs; only the second half where these are many or take long; none without samples or with one
    run.

    Args:
        graph: The float graph, simplified.
        profile: Of that graph.
        threads: Threads of onnxruntime.
    """
    samples, runs = profile.first(), profile.samples // profile.batch
    if samples is None or runs < 2:
        return []
    macs = sum(layer_macs(graph).values())
    if runs > _MOST_RUNS or runs * macs > _MOST_WORK:
        half = CalibrationSize.HALF
        used = half.samples(profile.samples, profile.batch) // profile.batch
        known = profile.first(half)
        assert known is not None  # all samples are
        return [Fold(range(used, runs), profile.ranges(half), known)]
    count = min(FOLDS, runs)
    ends = [number * runs // count for number in range(count + 1)]
    parts = [range(first, last) for first, last in pairwise(ends)]
    found = [_statistics(graph, samples, part, profile.batch, threads) for part in parts]
    return [
        Fold(
            part,
            _joined([(len(parts[at]), found[at]) for at in range(count) if at != number]),
            choose(graph, samples, [run for run in range(runs) if run not in part]),
        )
        for number, part in enumerate(parts)
    ]


def _statistics(
    graph: Graph, samples: Samples, part: range, batch: int, threads: int
) -> dict[str, TensorRange]:
    size, own = len(part) * batch, choose(graph, samples, part)
    return gather(graph, own, activations(graph), [size], threads=threads)[size]


def _joined(
    parts: Sequence[tuple[int, Mapping[str, TensorRange]]],
) -> dict[str, TensorRange]:
    """Statistics of several parts together, each with its size."""
    sizes = [size for size, _ in parts]
    return {name: _range([known[name] for _, known in parts], sizes) for name in parts[0][1]}


def _range(parts: Sequence[TensorRange], sizes: Sequence[int]) -> TensorRange:
    if not all(part.bounded for part in parts):
        return TensorRange.UNBOUNDED
    positive, negative = parts[0].positive, parts[0].negative
    for part in parts[1:]:
        if positive is not None and part.positive is not None:
            positive = positive.joined(part.positive)
        if negative is not None and part.negative is not None:
            negative = negative.joined(part.negative)
    channels = {
        axis: ChannelStatistics(
            np.min([part.channels[axis].low for part in parts], axis=0),
            np.max([part.channels[axis].high for part in parts], axis=0),
            np.average([part.channels[axis].mean for part in parts], axis=0, weights=sizes),
        )
        for axis in parts[0].channels
    }
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    return TensorRange(low, high, positive, negative, channels)
