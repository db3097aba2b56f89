"""Labels: which ones an output takes, and how often it is right by them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.judge import Judge, Kind
from compiler_core.accuracy.tally import Tally, by_sample, class_scores, decisions
from compiler_core.errors import InputError

Array = npt.NDArray[Any]

_NO_LABELS = "--metric sqnr_db compares with the float model, module:function is a metric of yours"


def check_labels(judge: Judge, labels: Array, samples: int, best: int = 1) -> None:
    """Refuses labels that say nothing about an output, before anything runs.

    Args:
        judge: Of the output.
        labels: As given.
        samples: ``n``.
        best: Guesses that an output has: 5 for ``top5``.

    Raises:
        InputError: Their shape, type or range is wrong, or the output has no classes.
    """
    places = _places(judge)
    needed = _shown((samples, *places))
    seen = f"labels 'y' are {labels.dtype}{list(labels.shape)}; int64{needed} is needed"
    if labels.dtype.kind not in "iub":
        hint = _by_class(judge, labels, samples) or _as_integers(labels) or _NO_LABELS
        raise InputError(f"{seen}: whole numbers", hint=hint)
    if not labels.ndim or len(labels) != samples or _squeezed(labels.shape[1:]) != places:
        what = "one label per " + ("position of each sample" if places else "sample")
        raise InputError(seen, hint=_by_class(judge, labels, samples) or what)
    if best > 1:
        _check_guesses(judge, best)
    if not labels.size:
        return
    low, high = int(labels.min()), int(labels.max())
    if judge.kind is Kind.REAL and judge.axis is None:
        if not 0 <= low <= high <= 1:
            raise InputError(
                f"labels 'y' reach from {low} to {high}; output {judge.output!r} has one value, "
                "which tells 0 from 1",
                hint=_NO_LABELS,
            )
        return
    if low < 0 or (judge.classes is not None and high >= judge.classes):
        count = "no limit" if judge.classes is None else f"{judge.classes} classes"
        raise InputError(f"labels 'y' reach from {low} to {high}; the model has {count}")


def _by_class(judge: Judge, labels: Array, samples: int) -> str:
    """What to do with labels that have a column per class; empty for others."""
    if labels.ndim != 2 or labels.shape != (samples, judge.classes):
        return ""
    if ((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all():
        return "one-hot labels: y.argmax(axis=1)"
    return f"several classes of one sample are no label: {_NO_LABELS}"


def _as_integers(labels: Array) -> str:
    """What to do with labels that are whole numbers in another type; empty for others."""
    if labels.dtype.kind != "f" or not np.isfinite(labels).all() or (labels % 1).any():
        return ""
    return 'whole numbers as integers: y.astype("int64")'


def _check_guesses(judge: Judge, best: int) -> None:
    guesses = judge.classes
    if judge.kind is Kind.INTEGERS and judge.ranked is None:
        guesses = 1
    if judge.kind is Kind.REAL and judge.axis is None:
        guesses = 2
    if judge.kind is Kind.INTEGERS and judge.ranked is not None:
        guesses = (judge.shape or (best,) * judge.rank)[judge.ranked]
        if guesses >= best:
            return
    if guesses is not None and guesses <= best:
        raise InputError(
            f"metric top{best}: output {judge.output!r} tells {guesses} classes apart, so one of "
            f"{best} guesses says nothing",
            hint="--metric top1",
        )


def correct(judge: Judge, ours: Array, labels: Array, samples: int, best: int = 1) -> Tally:
    """How often an output says what the labels say.

    Args:
        judge: Of the output.
        ours: All samples.
        labels: Checked.
        samples: ``n``.
        best: The label has to be among so many best guesses.
    """
    known = labels.reshape(samples, -1).astype(np.int64)
    if judge.kind is Kind.INTEGERS and judge.ranked is not None:
        rows, before = by_sample(ours, samples, judge.output)
        if prod(rows.shape[1:]) != known.shape[1]:
            guesses = np.moveaxis(rows, judge.ranked + before, -1)[..., :best]
            right = (guesses.reshape(samples, -1, guesses.shape[-1]) == known[..., None]).any(2)
            return _tally(right)
    if judge.kind is Kind.INTEGERS:
        said = decisions(judge, ours, samples)
        return _tally((said.values == known) & said.valid)
    if judge.axis is None:
        rows, _ = by_sample(ours, samples, judge.output)
        flat = rows.reshape(samples, -1)
        return _tally(((flat > judge.threshold) == (known > 0)) & ~np.isnan(flat))
    scores = class_scores(judge, ours, samples)
    valid = ~np.isnan(scores).any(axis=2)
    if best == 1:
        return _tally((scores.argmax(axis=2) == known) & valid)
    # A stable order gives equal scores the rank of the smaller class, as argmax does.
    ranked = np.argsort(-scores.astype(np.float64), axis=2, kind="stable")[..., :best]
    return _tally((ranked == known[..., None]).any(axis=2) & valid)


def _tally(right: npt.NDArray[np.bool_]) -> Tally:
    return Tally(right.sum(axis=1, dtype=np.int64), right.shape[1])


def _places(judge: Judge) -> tuple[int, ...]:
    """Shape of the labels of one sample, without axes of length 1."""
    if judge.shape is None:
        return ()
    dropped = judge.ranked if judge.kind is Kind.INTEGERS else judge.axis
    kept = [size for axis, size in enumerate(judge.shape) if axis != dropped]
    if judge.batched and (dropped is None or dropped > 0):
        kept = kept[1:]
    return _squeezed(tuple(kept))


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _shown(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
