"""What a study measured in the end: the float model's costs, accuracy on what only reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compiler_core.accuracy.score import Score, drop, drop_interval
from nest_tune.study.store.stored_document import damaged


@dataclass(frozen=True)
class Reported:
    """An accuracy that nobody chose by.

    Attributes:
        value, interval: Of the accuracy; no interval for a user's own metric.
        drop, drop_interval: Against the float model on the same samples, paired; no interval where
            nothing is counted.
        samples: How many.
    """

    value: float
    interval: tuple[float, float] | None
    drop: float
    drop_interval: tuple[float, float] | None
    samples: int


@dataclass(frozen=True)
class Closed:
    """What was measured in the end.

    Attributes:
        float_costs: Metrics of the float model with everything on the CPU of the target.
        float_reported: Accuracy of the float model on what only reports; ``None`` where nothing
            does.
        reported: Of trials, by number.
        earlier: Measurements by the clock that other studies, or runs before this one, had left in
            the storage.
    """

    float_costs: Mapping[str, float] = field(default_factory=dict)
    float_reported: Reported | None = None
    reported: Mapping[int, Reported] = field(default_factory=dict)
    earlier: int = 0


def closed_of(document: Mapping[str, Any], where: str) -> Closed:
    """What the document of a study holds of it; nothing where it has not ended.

    Raises:
        InputError: It is damaged.
    """
    found = document.get("closing")
    if found is None:
        return Closed()
    try:
        costs = {str(name): float(value) for name, value in found.get("float", {}).items()}
        holdout, earlier = found.get("holdout"), int(found.get("earlier", 0))
        if holdout is None:
            return Closed(costs, earlier=earlier)
        floats = Score(**holdout["float"])
        trials = {int(n): Score(**score) for n, score in holdout["trials"].items()}
        reported = {number: _reported(floats, score) for number, score in trials.items()}
        return Closed(costs, _reported(floats, floats), reported, earlier)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(f"{where}: closing") from error


def _reported(floats: Score, own: Score) -> Reported:
    paired = drop_interval(floats, own)
    return Reported(
        own.value,
        None if own.low is None or own.high is None else (own.low, own.high),
        drop(floats, own),
        None if paired is None else (paired.low, paired.high),
        own.samples,
    )
