"""How long a call may take before it is given up.

What a call takes depends on the model, the data and what else the machine does, none of which a
constant knows: a study on a loaded machine lost trials that an idle one measures. So where nobody
says how long, the calls of this run that have ended say it.
"""

from __future__ import annotations

FIRST_S = 3600.0
"""Of a function that has not ended once in this run."""
LEAST_S = 60.0
TIMES = 20.0
"""The longest call that has ended, so often: reconstruction of weights takes about ten times what
the default takes."""


class Patience:
    """What calls of this run have taken.

    Args:
        said_s: What somebody grants every call; ``None``: by what has ended.
    """

    def __init__(self, said_s: float | None = None) -> None:
        self._said_s = said_s
        self._longest_s = 0.0
        self._ended: set[str] = set()

    def allowed_s(self, function: str) -> float:
        """Seconds for a call of a function that begins now."""
        if self._said_s is not None:
            return self._said_s
        if function not in self._ended:
            return FIRST_S
        return min(FIRST_S, max(LEAST_S, TIMES * self._longest_s))

    def ended(self, function: str, wall_s: float) -> None:
        """Takes note of a call that came to its end in so many seconds."""
        self._ended.add(function)
        self._longest_s = max(self._longest_s, wall_s)
