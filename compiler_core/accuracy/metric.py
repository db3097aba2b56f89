"""Metrics of outputs: what each compares, what it is called where it is shown."""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import Enum
from typing import TYPE_CHECKING

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean

if TYPE_CHECKING:
    from compiler_core.accuracy.judge import Judge


class Metric(Enum):
    """What is measured; more is better in all of them."""

    TOP1 = "top1"
    """The label has the highest score."""
    TOP5 = "top5"
    """The label is among the five highest scores."""
    AGREEMENT = "agreement"
    """The output says what that of the float model says."""
    SQNR = "sqnr_db"
    """Power of the float model's values over that of their difference."""
    COSINE = "cosine"
    """Mean cosine between the values and those of the float model."""

    @property
    def is_labelled(self) -> bool:
        """Whether it compares with labels; the others compare with the float model."""
        return self in (Metric.TOP1, Metric.TOP5)

    @property
    def counts(self) -> bool:
        """Whether it counts what is right: a share of all values."""
        return self.is_labelled or self is Metric.AGREEMENT

    @property
    def in_decibels(self) -> bool:
        """Whether its values are in dB, and so are its limits."""
        return self is Metric.SQNR


NAMES = tuple(metric.value for metric in Metric)
"""Names of the metrics that come along."""


def is_own(name: str) -> bool:
    """Whether a name is that of a user's metric, ``module:function``."""
    return re.fullmatch(r"[\w.]+:[\w.]+", name) is not None


def check_name(name: str) -> str:
    """A metric's name.

    Raises:
        InputError: There is none of that name; names the nearest.
    """
    if name not in NAMES and not is_own(name):
        raise InputError(
            f"metric {name!r}; allowed are {', '.join(NAMES)} or module:function",
            hint=did_you_mean(name, NAMES),
        )
    return name


def compares(name: str) -> bool:
    """Whether a metric needs the outputs of the float model."""
    return name in NAMES and not Metric(name).is_labelled


def default_metric(judged: Collection[Judge], *, labelled: bool) -> Metric:
    """What is measured where nobody says it.

    Args:
        judged: Of the outputs that count.
        labelled: Whether there are labels.
    """
    from compiler_core.accuracy.judge import Kind  # heavy, and names are wanted without

    if labelled:
        return Metric.TOP1
    if any(judge.kind is Kind.REAL for judge in judged):
        return Metric.SQNR
    return Metric.AGREEMENT


def shown_name(entry: str, metric: str) -> str:
    """What ``accuracy`` and ``accuracy_drop`` are called where they are shown.

    Only comparison with labels, and what a user's own function returns, is accuracy; all other
    entries keep their name.

    Example:
        >>> shown_name("accuracy_drop", "agreement"), shown_name("accuracy", "top5")
        ('agreement_drop', 'accuracy')
    """
    if entry not in ("accuracy", "accuracy_drop") or not compares(metric):
        return entry
    return metric + entry.removeprefix("accuracy")
