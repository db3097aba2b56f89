"""Values of an output compared one by one: which are right, counted for every sample.

======  ==========================================================================
symbol  meaning
======  ==========================================================================
n       samples
p       positions of one sample: pixels, tokens, anchors; 1 for a plain classifier
c       classes
======  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.judge import ONE_OUTPUT, Judge, Kind
from compiler_core.errors import InputError

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Tally:
    """What was right, by sample.

    Attributes:
        right: ``int64[n]``, each at most ``positions``.
        positions: Values of one sample that were compared.
    """

    right: npt.NDArray[np.int64]
    positions: int = 1

    @property
    def samples(self) -> int:
        """How many."""
        return len(self.right)

    @property
    def hits(self) -> int:
        """Right values of all samples."""
        return int(self.right.sum())

    @property
    def total(self) -> int:
        """Values of all samples."""
        return self.samples * self.positions

    @property
    def value(self) -> float:
        """Share that is right: a quotient of counts, rounded once."""
        return self.hits / self.total

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Share that is right, by sample: ``float64[n]``."""
        shares: npt.NDArray[np.float64] = self.right / self.positions
        return shares


def joined(parts: Sequence[Tally]) -> Tally:
    """Tallies of further samples of the same output as one."""
    return Tally(np.concatenate([part.right for part in parts]), parts[0].positions)


def by_sample(array: Array, samples: int, output: str) -> tuple[Array, int]:
    """An output with the samples along its first axis.

    Args:
        array: As runs of the model, one after another along the first axis, give it.
        samples: How many there are.
        output: Its name, for the message of an error.

    Returns:
        The array, and how many axes stand before those of one run: 0 where the first one is the
        samples', 1 where each sample has several entries along it.

    Raises:
        InputError: The entries are not those of so many samples: some give more than others.
    """
    if array.ndim and len(array) == samples:
        return array, 0
    if array.ndim and len(array) and len(array) % samples == 0:
        return array.reshape(samples, len(array) // samples, *array.shape[1:]), 1
    raise InputError(
        f"output {output!r} is {array.dtype}{list(array.shape)}: no values of {samples} samples, "
        "for their number differs from sample to sample",
        hint=f"{ONE_OUTPUT} judges another output",
    )


def chosen_samples(
    outputs: Mapping[str, Array], samples: int, rows: npt.NDArray[np.int64]
) -> dict[str, Array]:
    """Some of the samples of outputs, laid out as all of them are.

    Args:
        outputs: By name.
        samples: How many there are.
        rows: Which to take.

    Raises:
        InputError: As :func:`by_sample`.
    """
    return {
        name: by_sample(array, samples, name)[0][rows].reshape(
            len(rows) * (len(array) // samples), *array.shape[1:]
        )
        for name, array in outputs.items()
    }


def agreement(
    judge: Judge, ours: Array, theirs: Array, samples: int, *, labelled: bool = False
) -> Tally:
    """How often ``ours`` says what ``theirs`` says.

    Args:
        judge: Of the output; not of real values.
        ours: Of the quantized model, all samples.
        theirs: Of the float model, of the same shape.
        samples: ``n``.
        labelled: Whether labels say that real values stand for classes.

    Raises:
        InputError: The output holds real values, the shapes differ, or a score of the float model
            is NaN.
    """
    if judge.kind is Kind.REAL and not labelled:
        raise not_counted(judge)
    return agreement_with(judge, ours, decisions(judge, theirs, samples), samples)


def agreement_with(judge: Judge, ours: Array, theirs: OutputDecisions, samples: int) -> Tally:
    """The same where what the float model says is known.

    Raises:
        InputError: As :func:`agreement`.
    """
    return _equal(decisions(judge, ours, samples), theirs, judge)


def not_counted(judge: Judge) -> InputError:
    """What is said where agreement of real values is asked for."""
    return InputError(
        f"output {judge.output!r} cannot be judged by agreement: {judge.reason}",
        hint=f"--metric sqnr_db measures its noise; {ONE_OUTPUT} judges another output",
    )


@dataclass(frozen=True, eq=False)
class OutputDecisions:
    """What an output says at each position.

    Attributes:
        values: ``int64`` or ``float64[n, p]``: classes, or whole numbers.
        valid: ``bool[n, p]``: whether it says anything; NaN does not.
    """

    values: Array
    valid: npt.NDArray[np.bool_]


def decisions(judge: Judge, array: Array, samples: int) -> OutputDecisions:
    """Classes with the highest score, of equal ones the first; the integers themselves; of values
    that stand for themselves whether they lie above the threshold."""
    if judge.kind is Kind.INTEGERS or judge.axis is None:
        rows, _ = by_sample(array, samples, judge.output)
        flat = rows.reshape(samples, -1)
        if judge.kind is Kind.REAL:
            return OutputDecisions(flat > judge.threshold, np.logical_not(np.isnan(flat)))
        values = flat.astype(np.int64) if flat.dtype.kind == "b" else flat
        return OutputDecisions(
            values, np.asarray(np.logical_not(np.isnan(values.astype(np.float64))))
        )
    scores = class_scores(judge, array, samples)
    return OutputDecisions(scores.argmax(axis=2), np.logical_not(np.isnan(scores).any(axis=2)))


def class_scores(judge: Judge, array: Array, samples: int) -> Array:
    """Scores as ``[n, p, c]``."""
    rows, before = by_sample(array, samples, judge.output)
    assert judge.axis is not None
    moved = np.moveaxis(rows, judge.axis + before, -1)
    return moved.reshape(samples, -1, moved.shape[-1])


def _equal(ours: OutputDecisions, theirs: OutputDecisions, judge: Judge) -> Tally:
    if ours.values.shape != theirs.values.shape:
        raise InputError(
            f"output {judge.output!r} has {ours.values.shape[1]} values per sample; that of the "
            f"float model has {theirs.values.shape[1]}"
        )
    if not theirs.valid.all():
        raise InputError(f"output {judge.output!r} of the float model is not finite")
    same = (ours.values == theirs.values) & ours.valid
    return Tally(same.sum(axis=1, dtype=np.int64), same.shape[1])
