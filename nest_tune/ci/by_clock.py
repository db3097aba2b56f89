"""Latencies by the clock in lock files: held by a test of distributions, never by equality.

A lock holds the repeats of its model and, of the same rounds, those of the float model. A check
makes new ones and asks with the test of Mann and Whitney whether they are longer by more than the
tolerance. What slows both models alike is the machine's: so the ratio to the float model decides,
and latencies themselves where the machine is the same and was not loaded. On another machine of the
same kind ratios are compared; on one of another kind nothing can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from compiler_core.accuracy.metric import shown_name
from compiler_core.clock.machine import ClockMachine
from compiler_core.clock.statistics import chance_of_slower
from compiler_core.compile.compile import CompiledModel
from compiler_core.compile.host_timing import time_on_host
from compiler_core.configuration.lock import LockedClock
from compiler_core.executable.report import ClockTiming
from nest_tune.ci.difference import Difference

LATENCY, RATIO = "latency_ms", "latency_ratio"
TOLERANCE = 0.05
"""How much longer something may take where nothing else is asked for."""
LEAST = 30
"""Repeats that a lock and a check have."""
RISK = 0.01
"""Chance that a check fails though nothing is slower than it may be."""

_BUDGET_S = 600.0
_DIGITS = 6


@dataclass(frozen=True)
class ClockCheck:
    """What a comparison by the clock found.

    Attributes:
        differences: What takes longer than it may.
        compared: Names of what was compared.
        notes: What could not be compared and why, and what speaks against the measurement.
        is_kind: Whether this machine is of the kind of the lock's: others round otherwise.
    """

    differences: tuple[Difference, ...]
    compared: tuple[str, ...]
    notes: tuple[str, ...]
    is_kind: bool = True


def with_enough_repeats(compiled: CompiledModel) -> CompiledModel:
    """A compile, timed anew where there are fewer repeats than a lock needs.

    Raises:
        InputError: The model cannot be run any more.
    """
    clock = compiled.metrics.by_clock
    if clock is None or len(clock.samples_ms) >= LEAST:
        return compiled
    times = time_on_host(compiled.source, compiled.executable, rounds=LEAST, budget_s=_BUDGET_S)
    metrics = replace(compiled.metrics, latency_ms=times.latency_ms, by_clock=times.clock)
    return replace(compiled, metrics=metrics)


def locked_clock(compiled: CompiledModel) -> LockedClock | None:
    """What a lock keeps of a compile by the clock; ``None`` of one that was simulated."""
    clock = compiled.metrics.by_clock
    if clock is None or clock.machine is None:
        return None
    rows = [
        tuple(float(f"{ms:.{_DIGITS}g}") for ms in samples)
        for samples in (clock.samples_ms, clock.float_samples_ms)
    ]
    return LockedClock(clock.machine, *rows)


def compare_clock(
    locked: LockedClock | None, now: ClockTiming, tolerance: float, where: str
) -> ClockCheck:
    """Holds new repeats against those of a lock.

    Args:
        locked: Of the lock; ``None`` where that is older.
        now: Of a compile on this machine, or on the board of the target.
        tolerance: Share by which a median may be longer.
        where: What differences are told of.
    """
    machine = now.machine
    notes = [f"by the clock: {warning}" for warning in now.warnings]
    if locked is None or machine is None or len(locked.samples_ms) < LEAST:
        notes.append(
            f"{LATENCY} is not compared: the lock has fewer than {LEAST} repeats; --update keeps "
            "today's"
        )
        return ClockCheck((), (), tuple(notes))
    if not machine.is_like(locked.machine):
        notes.append(
            f"{LATENCY} is not compared: locked on {locked.machine.text}; this is {machine.text}, "
            f"of another kind ({_unlike(locked.machine, machine)}), where even the ratio to the "
            "float model is another one"
        )
        return ClockCheck((), (), tuple(notes), is_kind=False)
    names, found = [RATIO], []
    ratios = _ratios(locked.samples_ms, locked.float_samples_ms)
    if longer(_ratios(now.samples_ms, now.float_samples_ms), ratios, tolerance):
        found.append(Difference(RATIO, float(np.median(ratios)), now.ratio, where))
    if machine.digest != locked.machine.digest:
        notes.append(
            f"{LATENCY}: the ratio to the float model is compared, for it was locked on another "
            f"machine: {locked.machine.text}; this is {machine.text}"
        )
        return ClockCheck(tuple(found), tuple(names), tuple(notes))
    names.append(LATENCY)
    if longer(now.samples_ms, locked.samples_ms, tolerance):
        before, after = (float(np.median(row)) for row in (locked.samples_ms, now.samples_ms))
        if found or not now.warnings:
            found.append(Difference(LATENCY, before, after, where))
        else:
            notes.append(
                f"{LATENCY} is {after:.4g} ms, was {before:.4g} ms, but the ratio to the float "
                "model is not larger: the machine was slower, not the model"
            )
    return ClockCheck(tuple(found), tuple(names), tuple(notes))


def without_accuracy(
    differences: Sequence[Difference], metric: str
) -> tuple[list[Difference], tuple[str, ...]]:
    """Differences on a machine of another kind, whose integer kernels may round or saturate
    otherwise: those of the accuracy are told and no fault.

    Args:
        differences: All.
        metric: Of accuracy.
    """
    names = {shown_name(entry, metric) for entry in ("accuracy", "accuracy_drop")}
    kept = [item for item in differences if item.metric not in names]
    told = (item for item in differences if item.metric in names)
    return kept, tuple(
        f"{item}: on a machine of another kind, whose kernels round otherwise" for item in told
    )


def longer(now: Sequence[float], before: Sequence[float], tolerance: float) -> bool:
    """Whether new repeats are longer than old ones by more than a share of them, beyond chance."""
    allowed = np.asarray(before, np.float64) * (1.0 + tolerance)
    return chance_of_slower(now, allowed) < RISK


def _ratios(ours: Sequence[float], floats: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(ours, floats, strict=True)]


def _unlike(one: ClockMachine, other: ClockMachine) -> str:
    names = {
        "architecture": (one.architecture, other.architecture),
        "instructions": (one.flags, other.flags),
        "runtime": (one.runtime, other.runtime),
        "threads": (one.threads, other.threads),
    }
    return ", ".join(name for name, (a, b) in names.items() if a != b)
