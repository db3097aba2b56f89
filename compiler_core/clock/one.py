"""Times calls by the clock: not deterministic, and every result says how far the repeats were
apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np

MIN_REPEATS = 5
_WARM_UPS = 2


@dataclass(frozen=True)
class Timing:
    """Repeats of one measurement, in microseconds.

    Attributes:
        median_us: Their median.
        low_us, high_us: Their quartiles.
        repeats: How many.
    """

    median_us: float
    low_us: float
    high_us: float
    repeats: int

    @property
    def spread(self) -> float:
        """Distance of the quartiles as a share of the median."""
        return (self.high_us - self.low_us) / self.median_us if self.median_us else 0.0


def measure(run: Callable[[], object], *, repeats: int, budget_s: float) -> Timing:
    """Times a call: two warm-ups, then repeats until there are enough or the budget is spent.

    At least :data:`MIN_REPEATS` are made, whatever the budget.
    """
    for _ in range(_WARM_UPS):
        run()
    times: list[int] = []
    deadline = perf_counter_ns() + round(budget_s * 1e9)
    while len(times) < repeats and (len(times) < MIN_REPEATS or perf_counter_ns() < deadline):
        start = perf_counter_ns()
        run()
        times.append(perf_counter_ns() - start)
    low, median, high = (float(value) / 1e3 for value in np.percentile(times, (25, 50, 75)))
    return Timing(median, low, high, len(times))
