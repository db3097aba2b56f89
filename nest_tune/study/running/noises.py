"""Noise of configurations, measured on workers while trials go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nest_tune.runners.runner import Answer, Ending
from nest_tune.study.running.cached_calls import Calls
from nest_tune.study.trial import Point
from search_spaces.joint import JointSpace

NOISE = "nest_tune.study.execution.worker:noise"
"""Function of workers."""


class NotYetError(Exception):
    """What a proposal needs to know is being measured: it is asked for again later."""


class Noises:
    """Noise by point, asked for once.

    Args:
        calls: Workers.
        space: Of the points.
        began: Told how many are being measured.
    """

    def __init__(
        self, calls: Calls, space: JointSpace, began: Callable[[int], None] = lambda _: None
    ) -> None:
        self._calls, self._space, self._began = calls, space, began
        self._known: dict[tuple[Point, Point | None, int], float | None] = {}
        self._asked: set[tuple[Point, Point | None, int]] = set()

    @property
    def under_way(self) -> int:
        """How many have been asked for and are not known yet."""
        return len(self._asked) - len(self._known)

    def of(self, points: Sequence[Point], base: Point | None, samples: int) -> list[float] | None:
        """Noise of points on so many samples; with a base by the weights of that. ``None`` where
        one has none.

        Raises:
            NotYetError: Some are not known yet.
        """
        keys = [(point, base, samples) for point in points]
        fresh = [key for key in dict.fromkeys(keys) if key not in self._asked]
        if fresh:
            self._began(len(fresh))
        for key in fresh:
            self._ask(*key)
        if any(key not in self._known for key in keys):
            raise NotYetError
        found = [self._known[key] for key in keys]
        whole = [noise for noise in found if noise is not None]
        return whole if len(whole) == len(found) else None

    def _ask(self, point: Point, base: Point | None, samples: int) -> None:
        key = (point, base, samples)
        self._asked.add(key)

        def answered(answer: Answer) -> None:
            # Nothing is known of what failed or took too long: then it is not used.
            self._known[key] = answer.value if answer.ending is Ending.DONE else None

        payload = {
            "decisions": self._space.decode(point),
            "base": None if base is None or base == point else self._space.decode(base),
            "samples": samples,
        }
        self._calls.start(NOISE, payload, answered)
