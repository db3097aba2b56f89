"""Metrics of outputs by name: entry points of the group ``nest_tune.metrics``.

What each compares and how it counts is told beside its name; what computes it is imported when it
is used.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.plugins.registry import Registry, named


@dataclass(frozen=True)
class MetricKind:
    """A metric and what it needs; more is better in all of them.

    Attributes:
        name: Of its entry point, or ``module:function`` of a user's own.
        summary: What it says, in a few words.
        is_labelled: Whether it compares with labels.
        compares: Whether it compares with the outputs of the float model.
        counts: Whether it counts what is right: a share of all values.
        in_decibels: Whether its values are in dB, and so are its limits.
        best: Among how many of the highest scores the label may be.
        figure: ``module:function``, called ``(judge, ours, reference, labels, samples)`` for one
            output, see :meth:`compiler_core.accuracy.exam.Exam.figures`; empty for ``function``.
        function: ``module:function``, called ``(outputs, labels)`` with all outputs that count, see
            :mod:`compiler_core.accuracy.own_metric`; empty for ``figure``.
    """

    name: str
    summary: str = ""
    is_labelled: bool = False
    compares: bool = False
    counts: bool = False
    in_decibels: bool = False
    best: int = 1
    figure: str = ""
    function: str = ""

    @property
    def is_function(self) -> bool:
        """Whether one number is all that it says of all outputs."""
        return bool(self.function)


METRICS: Registry[MetricKind] = Registry("nest_tune.metrics", "metric", named(MetricKind))

if TYPE_CHECKING:
    from compiler_core.accuracy.judge import Judge


class Metric(Enum):
    """Metrics that are measured together wherever schemes are compared."""

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


def is_own(name: str) -> bool:
    """Whether a name is that of a user's metric, ``module:function``."""
    return re.fullmatch(r"[\w.]+:[\w.]+", name) is not None


def metric_kind(name: str) -> MetricKind:
    """A metric by name, or a user's own ``module:function``.

    Raises:
        InputError: There is none of that name; names the nearest.
    """
    if is_own(name):
        return MetricKind(name, "a user's own", function=name)
    return METRICS.get(check_name(name))


def check_name(name: str) -> str:
    """A metric's name.

    Raises:
        InputError: There is none of that name; names the nearest.
    """
    if name not in METRICS.names() and not is_own(name):
        raise InputError(
            f"metric {name!r} is not known; known are {', '.join(METRICS.names())} and "
            "module:function",
            hint=did_you_mean(name, METRICS.names()),
        )
    return name


def is_in_decibels(name: str) -> bool:
    """Whether values of a metric are in dB; not so of one that is not settled yet (empty)."""
    return bool(name) and metric_kind(name).in_decibels


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
    if entry not in ("accuracy", "accuracy_drop") or not metric:
        return entry
    if not metric_kind(metric).compares:
        return entry
    return metric + entry.removeprefix("accuracy")
