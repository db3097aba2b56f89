"""What the proposal of a trial sees.

In a *windowed* study trial n sees the default trial and exactly the results of the trials up to
n - w: no barrier, and the same trials in whatever order they finish. In an *asynchronous* one it
sees whatever has finished, w trials being in flight at most; what it saw first is kept with it, so
that the study can be repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from nest_tune.study.request.settings import DEFAULT_WINDOW
from nest_tune.study.trial import OuterTrial, Proposal

SAW = "saw"
"""Attribute of a trial of an asynchronous study: numbers of the trials whose results its proposal
saw and the one before it did not, in the order in which they finished."""


class Sight(Protocol):
    """Decides what a proposal sees."""

    in_order: bool
    """Whether nothing depends on the order in which trials finish."""

    def saw(self, number: int, finished: Collection[int], flying: int) -> tuple[int, ...] | None:
        """Numbers of the trials that a proposal sees, in the order in which they became known;
        ``None`` where it has to wait."""
        ...

    def noted(self, number: int) -> tuple[int, ...] | None:
        """What is kept with a proposal of what it saw."""
        ...

    def finished(self, number: int) -> None:
        """Takes note of a trial that has finished."""
        ...


class Windowed:
    """See the module.

    Args:
        window: w.
    """

    in_order = True

    def __init__(self, window: int = DEFAULT_WINDOW) -> None:
        self._window = window

    def saw(self, number: int, finished: Collection[int], flying: int) -> tuple[int, ...] | None:
        del flying
        wanted = range(1, number - self._window + 1)
        if number and (0 not in finished or any(n not in finished for n in reversed(wanted))):
            return None
        return (0, *wanted) if number else ()

    def noted(self, number: int) -> None:
        del number

    def finished(self, number: int) -> None:
        """Only numbers count."""


class Asynchronous:
    """See the module.

    Args:
        window: w.
        known: What is stored of finished trials and of proposals of this study.
    """

    in_order = False

    def __init__(self, window: int, known: Mapping[int, OuterTrial | Proposal]) -> None:
        self._window = window
        self._order: list[int] = []
        self._steps: dict[int, tuple[int, ...]] = {}
        self._fresh: list[int] = []
        for number in sorted(known):
            step = tuple(known[number].attributes.get(SAW, ()))
            self._steps[number] = step
            self._order += step
        # In which order these have finished nobody has seen.
        seen = set(self._order)
        self._fresh = [
            n for n in sorted(known) if isinstance(known[n], OuterTrial) and n not in seen
        ]

    def saw(self, number: int, finished: Collection[int], flying: int) -> tuple[int, ...] | None:
        if number in self._steps:
            return self._until(number)
        if number and (0 not in finished or flying >= self._window):
            return None
        self._steps[number], self._fresh = tuple(self._fresh), []
        self._order += self._steps[number]
        return tuple(self._order)

    def _until(self, number: int) -> tuple[int, ...]:
        return tuple(n for at in range(number + 1) for n in self._steps.get(at, ()))

    def noted(self, number: int) -> tuple[int, ...]:
        return self._steps[number]

    def finished(self, number: int) -> None:
        self._fresh.append(number)


class Repeated(Asynchronous):
    """An asynchronous study that sees what another one saw.

    Args:
        window: Where the other one ended.
        known: Of this study.
        followed: Trials of the other one by number.
    """

    def __init__(
        self,
        window: int,
        known: Mapping[int, OuterTrial | Proposal],
        followed: Mapping[int, OuterTrial | Proposal],
    ) -> None:
        super().__init__(window, known)
        self._followed = {n: tuple(trial.attributes.get(SAW, ())) for n, trial in followed.items()}

    def saw(self, number: int, finished: Collection[int], flying: int) -> tuple[int, ...] | None:
        step = self._followed.get(number)
        if step is None or number in self._steps:
            return super().saw(number, finished, flying)
        if not set(step) <= set(finished):
            return None
        self._steps[number] = step
        self._order += step
        self._fresh = [n for n in self._fresh if n not in step]
        return tuple(self._order)
