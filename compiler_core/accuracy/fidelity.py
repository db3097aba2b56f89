"""How faithful a quantized model is to its float model, as sums over samples: sums of parts add up.

Which labels are right says little on few samples; whether the model says what the float model says,
and how much noise its scores have, says more, and needs no labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from compiler_core.accuracy.judge import Judge, Kind
from compiler_core.accuracy.noise import decibels, noise
from compiler_core.accuracy.tally import agreement

Sums = tuple[float, float, float, float]
"""Of an output: values that agree, values that were compared, power of the float model's values, of
the difference."""

Arrays = Mapping[str, npt.NDArray[Any]]


def sums_of(
    judges: Mapping[str, Judge], ours: Arrays, theirs: Arrays, samples: int, *, labelled: bool
) -> tuple[Sums, ...]:
    """Sums of every output that counts.

    Args:
        judges: Of these outputs.
        ours, theirs: Outputs of the quantized and of the float model.
        samples: How many.
        labelled: Whether labels say that real values stand for classes.

    Raises:
        InputError: Outputs of the float model are not finite, or differ in shape.
    """
    found = []
    for name, judge in judges.items():
        agreeing = compared = 0
        if judge.kind is not Kind.REAL or labelled:
            tally = agreement(judge, ours[name], theirs[name], samples, labelled=labelled)
            agreeing, compared = tally.hits, tally.total
        powers = noise(ours[name], theirs[name], samples, name)
        signal, lost = float(powers.signal.sum()), float(powers.noise.sum())
        found.append((float(agreeing), float(compared), signal, lost))
    return tuple(found)


def added(one: tuple[Sums, ...], other: tuple[Sums, ...]) -> tuple[Sums, ...]:
    """Sums of both parts; none where one has none."""
    if len(one) != len(other):
        return ()
    return tuple(
        (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3])
        for a, b in zip(one, other, strict=True)
    )


def fidelity_of(sums: tuple[Sums, ...]) -> dict[str, float]:
    """``agreement`` and ``sqnr_db`` of the worst output; without agreement where none of them says
    classes."""
    if not sums:
        return {}
    found = {"sqnr_db": min(float(decibels(item[2], item[3])) for item in sums)}
    shares = [item[0] / item[1] for item in sums if item[1]]
    return {"agreement": min(shares), **found} if shares else found
