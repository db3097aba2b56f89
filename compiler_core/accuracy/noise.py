"""Values of an output compared as real numbers: the power of their noise, the angle to the signal.

Each sample has its own figures, so that samples can be drawn again for an interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.joined_parts import Part
from compiler_core.accuracy.tally import by_sample
from compiler_core.errors import InputError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

MOST_DB = 200.0
"""SQNR of equal values, where the noise is zero."""

APART = 10.0
"""Values of parts that are so many times as large drown the noise of others."""

_BLOCK = 1 << 22
"""Values that are compared at once."""
_POWERS = ("signal", "noise")


@dataclass(frozen=True, eq=False)
class Noise:
    """Powers by sample.

    Attributes:
        signal: ``float64[n]``, sum of the squares of the float model's values.
        noise: ``float64[n]``, that of the differences; infinite where a value is not finite.
        values: Of one sample.
        parts: The same of each tensor that the output is joined of; empty for only one.
    """

    signal: Floats
    noise: Floats
    values: int = 0
    parts: tuple[Noise, ...] = ()

    @property
    def value(self) -> float:
        """Signal to quantization noise over all samples, in dB; of parts whose values are of other
        sizes that of the worst."""
        return float(min(_decibels(group) for group in self.groups))

    @property
    def worst(self) -> Noise:
        """Powers of what decides :attr:`value`."""
        return min(self.groups, key=_decibels)

    @property
    def part_groups(self) -> list[list[int]]:
        """Numbers of parts whose values are about as large, the largest first. Parts of zeros are
        with the smallest."""
        found, largest = [list[int]()], 0.0
        sizes = [part.size for part in self.parts]
        for number in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
            if found[-1] and 0 < sizes[number] < largest / APART:
                found.append([])
            if not found[-1]:
                largest = sizes[number]
            found[-1].append(number)
        return found

    @property
    def groups(self) -> list[Noise]:
        """Those parts together; itself, where all are of one size."""
        numbers = self.part_groups
        if len(numbers) == 1:
            return [self]
        return [_together([self.parts[number] for number in group]) for group in numbers]

    @property
    def size(self) -> float:
        """Root of the mean square of the float model's values."""
        return float(np.sqrt(self.signal.sum() / max(1, len(self.signal) * self.values)))


def _decibels(noise: Noise) -> float:
    return float(decibels(noise.signal.sum(), noise.noise.sum()))


def _together(parts: Sequence[Noise]) -> Noise:
    signal, lost = (np.sum([getattr(p, name) for p in parts], axis=0) for name in _POWERS)
    return Noise(signal, lost, sum(part.values for part in parts))


def joined_noise(blocks: Sequence[Noise]) -> Noise:
    """Noise of further samples of the same output as one."""
    signal, lost = (np.concatenate([getattr(b, name) for b in blocks]) for name in _POWERS)
    parts = zip(*(block.parts for block in blocks), strict=True)
    return Noise(signal, lost, blocks[0].values, tuple(map(joined_noise, parts)))


def noise(
    ours: Array, theirs: Array, samples: int, output: str, parts: Sequence[Part] = ()
) -> Noise:
    """Noise of ``ours`` against ``theirs``.

    Args:
        ours, theirs: An output of all samples.
        samples: How many.
        output: Its name.
        parts: That it is joined of, see :mod:`compiler_core.accuracy.joined_parts`.

    Raises:
        InputError: The shapes differ, or a value of the float model is not finite.
    """
    rows = _rows(ours, theirs, samples, output)
    lost, power = np.zeros(samples), np.zeros(samples)
    for block in _blocks(*rows[0].shape):
        mine, signal = _exact(rows[0][block], rows[1][block], output)
        with np.errstate(over="ignore", invalid="ignore"):
            lost[block[0]] += ((mine - signal) ** 2).sum(axis=1)
            power[block[0]] += (signal**2).sum(axis=1)
    lost = np.where(np.isfinite(lost), lost, np.inf)
    pairs = zip(
        part_arrays(ours, samples, output, parts),
        part_arrays(theirs, samples, output, parts),
        strict=True,
    )
    each = tuple(noise(mine, other, samples, output) for mine, other in pairs)
    return Noise(power, lost, rows[0].shape[1], each)


def part_arrays(array: Array, samples: int, output: str, parts: Sequence[Part]) -> list[Array]:
    """The parts of an output, samples along their first axis; none where it is not laid out so."""
    if not parts:
        return []
    rows, before = by_sample(array, samples, output)
    found = []
    for part in parts:
        index = [slice(None)] * rows.ndim
        for axis, start, stop in part:
            if not 0 < axis + before < rows.ndim or stop > rows.shape[axis + before]:
                return []
            index[axis + before] = slice(start, stop)
        found.append(rows[tuple(index)])
    return found


def cosines(ours: Array, theirs: Array, samples: int, output: str) -> Floats:
    """Cosine between the values of each sample: ``float64[n]``. Of two zero vectors it is 1, of one
    zero vector 0.

    Raises:
        InputError: As :func:`noise`.
    """
    rows = _rows(ours, theirs, samples, output)
    bad, same = np.zeros(samples, bool), np.ones(samples, bool)
    most = np.zeros((2, samples))
    for block in _blocks(*rows[0].shape):
        mine, signal = _exact(rows[0][block], rows[1][block], output)
        at = block[0]
        bad[at] |= np.logical_not(np.isfinite(mine).all(axis=1))
        same[at] &= np.asarray(mine == signal).all(axis=1)
        for side, values in enumerate((mine, signal)):
            largest = np.abs(values).max(axis=1, initial=0.0)
            most[side, at] = np.maximum(most[side, at], largest)
    # Scaled to 1 first: squares of very small or large values leave the range of floats.
    scale = np.where((most > 0) & np.isfinite(most), most, 1)[:, :, None]
    products, squares = np.zeros(samples), np.zeros((2, samples))
    for block in _blocks(*rows[0].shape):
        mine, signal = _exact(rows[0][block], rows[1][block], output)
        at = block[0]
        one = np.where(bad[at, None], 0.0, mine) / scale[0, at]
        other = signal / scale[1, at]
        products[at] += (one * other).sum(axis=1)
        squares[:, at] += (one**2).sum(axis=1), (other**2).sum(axis=1)
    lengths = np.sqrt(squares[0]) * np.sqrt(squares[1])
    found = np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1), 0.0)
    return np.where(same & ~bad, 1.0, np.clip(found, -1.0, 1.0))


def decibels(signal: npt.ArrayLike, noise_power: npt.ArrayLike) -> Floats:
    """Ratio of two powers in dB, between ±:data:`MOST_DB`."""
    power, lost = np.asarray(signal, np.float64), np.asarray(noise_power, np.float64)
    smallest = 1e-300
    found = 10 * (np.log10(np.maximum(power, smallest)) - np.log10(np.maximum(lost, smallest)))
    return np.clip(np.where(lost > 0, found, MOST_DB), -MOST_DB, MOST_DB)


def _blocks(samples: int, values: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of samples, and of values where one sample has many, so small that what is made of
    them is, too."""
    step, width = max(1, _BLOCK // max(1, values)), max(1, min(values, _BLOCK))
    for start in range(0, samples, step):
        for first in range(0, max(1, values), width):
            yield slice(start, start + step), slice(first, first + width)


def _rows(ours: Array, theirs: Array, samples: int, output: str) -> tuple[Array, Array]:
    """Both as ``[samples, values]``, in their own types."""
    one, other = (by_sample(a, samples, output)[0].reshape(samples, -1) for a in (ours, theirs))
    if one.shape != other.shape:
        raise InputError(
            f"output {output!r} has {one.shape[1]} values per sample; that of the float model "
            f"has {other.shape[1]}"
        )
    return one, other


def _exact(ours: Array, theirs: Array, output: str) -> tuple[Floats, Floats]:
    mine, signal = ours.astype(np.float64), theirs.astype(np.float64)
    if not np.isfinite(signal).all():
        raise InputError(f"output {output!r} of the float model is not finite")
    return mine, signal
