"""Times several candidates together, so that they can be told apart: warmed up until nothing
changes, then in rounds of one repeat each, in an order that changes from round to round.

What slows a machine for a while slows all candidates of a round, so that ratios within a round tell
more than medians of candidates that were timed one after the other. Before each timed run comes one
that is not timed and brings back what the candidates in between have driven out of the caches; not
so where a run is long beside that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from compiler_core.clock.conditions import Clock, Conditions, MachineClock, conditions
from compiler_core.clock.statistics import (
    Interval,
    drifts,
    is_steady,
    median_interval,
    ratio_interval,
)
from compiler_core.errors import InputError

MIN_ROUNDS = 7
"""Made whatever the budget: fewer give no interval at 95 %."""

_WINDOW, _LONG_WINDOW = 5, 3
_MOST_WINDOWS = 12
_SHORTEST_NS = 50_000
"""What is shorter is run several times in one timing: a timing itself takes some hundred ns."""
_LONG_NS = 50_000_000
"""What is longer fills its caches in no time that counts, and is repeated less often."""
_DRIFT = 0.03

Run = Callable[[], object]


@dataclass(frozen=True)
class Together:
    """Candidates that were timed together.

    Attributes:
        samples_us: Microseconds of one run by candidate, one per round, in the order of rounds.
        conditions: How much of the machine the measurement had.
        restless: Candidates whose warm-up did not come to rest.
    """

    samples_us: Mapping[str, tuple[float, ...]]
    conditions: Conditions
    restless: tuple[str, ...] = field(default=())

    @property
    def rounds(self) -> int:
        """How many."""
        return len(next(iter(self.samples_us.values())))

    def latency_us(self, name: str) -> Interval:
        """Median of a candidate and its interval."""
        return median_interval(self.samples_us[name])

    def ratio(self, name: str, to: str) -> Interval:
        """Median of the ratios of two candidates in a round, and its interval."""
        return ratio_interval(self.samples_us[name], self.samples_us[to])

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why times are worth less than they might be, for people."""
        found = [self.conditions.warning] if self.conditions.is_loaded else []
        found += [f"{name}: its times did not come to rest" for name in self.restless]
        found += [
            f"{name}: its times drifted while they were measured"
            for name, samples in self.samples_us.items()
            if drifts(samples, _DRIFT)
        ]
        return tuple(found)


def measure_together(
    candidates: Mapping[str, Run],
    *,
    repeats: int = 30,
    budget_s: float = 10.0,
    threads: int = 1,
    clock: Clock | None = None,
    seed: int = 0,
) -> Together:
    """Times candidates in interleaved rounds.

    Args:
        candidates: What runs each once, by name. Their threads should be :func:`pinned
            <compiler_core.clock.pinning.pinned>`.
        repeats: Rounds.
        budget_s: After so much time no round begins, but :data:`MIN_ROUNDS` are made; warm-up has
            as much.
        threads: That a candidate's run has; for what is said of a loaded machine.
        clock: Of this machine, if not given.
        seed: Of the orders within rounds.

    Raises:
        InputError: There is no candidate.
    """
    if not candidates:
        raise InputError("nothing to measure: no candidates")
    clock = clock or MachineClock()
    share_s = budget_s / len(candidates)
    warmed = {name: _warm_up(run, share_s, clock) for name, run in candidates.items()}
    restless = [name for name, found in warmed.items() if not found.rests]
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    order, random = list(candidates), Random(seed)
    before, deadline = clock.reading(), clock.now_ns() + round(budget_s * 1e9)
    made = 0
    while made < max(repeats, MIN_ROUNDS) and (made < MIN_ROUNDS or clock.now_ns() < deadline):
        random.shuffle(order)
        for name in order:
            if not warmed[name].is_long:
                candidates[name]()
            samples[name].append(_timed_us(candidates[name], warmed[name].times, clock))
        made += 1
    found = conditions(before, clock.reading(), threads, os.cpu_count() or 1)
    kept = {name: tuple(values) for name, values in samples.items()}
    return Together(kept, found, tuple(restless))


@dataclass(frozen=True)
class _Warm:
    """A candidate after its warm-up: how often it is run in one timing, whether its times came to
    rest, and whether one run is long."""

    times: int
    rests: bool
    is_long: bool


def _warm_up(run: Run, budget_s: float, clock: Clock) -> _Warm:
    run()
    first = _timed_us(run, 1, clock)
    times = max(1, round(_SHORTEST_NS / 1e3 / max(first, 1e-3)))
    deadline = clock.now_ns() + round(budget_s * 1e9)
    is_long = first * 1e3 > _LONG_NS
    window = _LONG_WINDOW if is_long else _WINDOW
    before = [_timed_us(run, times, clock) for _ in range(window)]
    for _ in range(_MOST_WINDOWS):
        now = [_timed_us(run, times, clock) for _ in range(window)]
        if is_steady(before, now):
            return _Warm(times, True, is_long)
        if clock.now_ns() >= deadline:
            break
        before = now
    return _Warm(times, False, is_long)


def _timed_us(run: Run, times: int, clock: Clock) -> float:
    """Microseconds of one run; 1 ns where the clock did not move."""
    start = clock.now_ns()
    for _ in range(times):
        run()
    return max(clock.now_ns() - start, 1) / 1e3 / times
