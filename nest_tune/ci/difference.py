"""One number that is not what a lock says, how it is told, and how much of it is let pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from nest_tune.figures import change as change_text

Value = str | int | float | None

_DIGEST = 64


@dataclass(frozen=True)
class Difference:
    """One number that is not what the lock says.

    Attributes:
        metric: Name.
        expected, measured: By the lock, and now; ``None`` where there is none.
        where: Layer, or the whole model.
    """

    metric: str
    expected: Value
    measured: Value
    where: str

    @property
    def percent(self) -> float | None:
        """How much more it is now, in per cent; ``None`` where that means nothing."""
        old, new = self.expected, self.measured
        if isinstance(old, str) or isinstance(new, str) or not old or new is None:
            return None
        return 100 * (new - old) / abs(old)

    @property
    def change(self) -> str:
        """:attr:`percent` for people; empty where there is none."""
        if self.percent is None:
            return ""
        return change_text(self.percent / 100, 2)

    def texts(self) -> tuple[str, str]:
        """Expected and measured: as few digits as tell them apart, six at least."""
        old, new = self.expected, self.measured
        for digits in (6, 9, 12, 17):
            shown = _text(old, digits), _text(new, digits)
            if shown[0] != shown[1]:
                return shown
        return _text(old, 17), _text(new, 17)

    def __str__(self) -> str:
        expected, measured = self.texts()
        change = f" ({self.change})" if self.change else ""
        return f"{self.where}: {self.metric} is {measured}, was {expected}{change}"


def _text(value: Value, digits: int) -> str:
    if value is None:
        return "missing"
    if isinstance(value, bool | str):
        text = str(value)
        return f"{text[:16]}…" if len(text) == _DIGEST else text
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.{digits}g}"


def parse_tolerances(texts: Iterable[str], known: Iterable[str]) -> dict[str, float]:
    """``METRIC=2%`` as shares by metric.

    Args:
        texts: As on the command line; the last of one metric counts.
        known: Metrics that there are.

    Raises:
        InputError: One is of another form, or there is no such metric.
    """
    names = tuple(known)
    found = {}
    for text in texts:
        name, sign, amount = text.partition("=")
        try:
            share = float(amount.removesuffix("%")) / (100 if amount.endswith("%") else 1)
        except ValueError:
            share = -1.0
        if not sign or not 0 <= share < 1:
            raise InputError(
                f"--tolerance {text}: METRIC=2% is needed, from 0% to less than 100%",
                hint="nest-tune ci check LOCK --tolerance latency_ms=2%",
            )
        if name not in names:
            raise InputError(
                f"--tolerance {text}: no metric {name!r}; there are {', '.join(names)}",
                hint=did_you_mean(name, names),
            )
        found[name] = share
    return found


def within(difference: Difference, tolerances: Mapping[str, float]) -> bool:
    """Whether a number differs by no more than its metric may."""
    percent = difference.percent
    most = tolerances.get(difference.metric)
    return percent is not None and most is not None and abs(percent) <= 100 * most
