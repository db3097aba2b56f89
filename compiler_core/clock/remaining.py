"""How far a count of steps is, and about how long the rest of it takes."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

_SHARE = 0.1


class Remaining:
    """Tells now and then: after a tenth of the steps each.

    Args:
        total: Steps.
        tell: Told how far it is.
        clock: In seconds.
    """

    def __init__(
        self, total: int, tell: Callable[[str], None], clock: Callable[[], float] = perf_counter
    ) -> None:
        self._total, self._tell, self._clock = total, tell, clock
        self._begun, self._told = clock(), 0

    def __call__(self, done: int, what: str) -> None:
        """Says that so many steps are done, if it is time.

        Args:
            done: Steps, of the total.
            what: Begins the line.
        """
        if not done or done >= self._total or done - self._told < _SHARE * self._total:
            return
        self._told = done
        left = (self._clock() - self._begun) / done * (self._total - done)
        self._tell(f"{what} {done} of {self._total}, about {max(1, round(left))} s left")
