"""A user's parts, one of each seam, as a distribution beside the packages offers them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.metric import MetricKind
from compiler_core.accuracy.noise import Noise
from compiler_core.executable.backends import Reference
from compiler_core.executable.runtimes import RuntimeKind
from nest_tune.runners.runner import (
    Answer,
    Ending,
    RunnerKind,
    RunnerOptions,
    Setup,
    Work,
    kind_of,
    resolve,
)
from nest_tune.samplers.registry import SamplerKind
from nest_tune.samplers.schedules.sampler import Point, Problem
from nest_tune.study.proposals.problem import Asked, SearchProblem
from nest_tune.study.trial import OuterTrial

BACKWARDS = SamplerKind(
    "backwards",
    "the space from its end",
    configurations="plugin_parts:Backwards",
    schedules="plugin_parts:BackwardsSchedules",
)
OUTER_ONLY = SamplerKind(
    "outer-only", "configurations alone", configurations="plugin_parts:Backwards"
)


class Backwards:
    """Configurations from the end of their space."""

    def __init__(self, problem: SearchProblem, history: Sequence[OuterTrial]) -> None:
        del history
        self._points = iter(list(problem.space.enumerate())[::-1])

    def ask(self, number: int, seen: set[Point]) -> Asked | None:
        return next(((p, {"asked": number}) for p in self._points if p not in seen), None)


class BackwardsSchedules:
    """Schedules from the end of their space."""

    def __init__(self, problem: Problem) -> None:
        blocks = list(problem.space.enumerate())
        self._points = [tuple(row) for block in blocks for row in block.tolist()]
        self._told: set[Point] = set()

    def propose(self, count: int) -> list[Point]:
        fresh = [point for point in self._points[::-1] if point not in self._told][:count]
        self._told |= set(fresh)
        return fresh

    def observe(self, measured: list[tuple[Point, int | None]]) -> None:
        self._told |= {point for point, _ in measured}

    def expected_gain(self) -> float:
        return 1.0


INLINE = RunnerKind("inline", "the process of the study", "plugin_parts:Inline")


class Inline:
    """Makes calls while it is waited for."""

    def __init__(self, setup: Setup, options: RunnerOptions) -> None:
        del options
        self._setup = setup
        self._state: Any = None
        self._waiting: list[Work] = []

    def submit(self, work: Work) -> None:
        self._waiting.append(work)

    def wait(self, timeout_s: float) -> list[Answer]:
        del timeout_s
        if self._state is None:
            self._state = resolve(self._setup.function)(self._setup.payload)
        waiting, self._waiting = self._waiting, []
        return [self._call(work) for work in waiting]

    def _call(self, work: Work) -> Answer:
        try:
            value = resolve(work.function)(self._state, work.payload)
        except Exception as error:
            return Answer(work.ticket, Ending.ERROR, error=kind_of(error), message=str(error))
        return Answer(work.ticket, Ending.DONE, value)

    def cancel(self, ticket: int) -> None:
        self._waiting = [work for work in self._waiting if work.ticket != ticket]

    def close(self) -> None:
        self._waiting = []


def stopwatch(package: Path) -> dict[str, float]:
    """A board that takes a microsecond per byte of the package."""
    files = [path for path in package.rglob("*") if path.is_file()]
    return {"latency_ms": sum(path.stat().st_size for path in files) * 1e-3}


SHARE_RIGHT = MetricKind("share-right", "labels hit", function="plugin_parts:share_right")
WORST_ERROR = MetricKind(
    "worst-error",
    "largest difference from the float model, in dB",
    compares=True,
    in_decibels=True,
    figure="plugin_parts:worst_error",
)


def share_right(
    outputs: Mapping[str, npt.NDArray[Any]], labels: npt.NDArray[np.int64] | None
) -> float:
    """Share of labels with the highest score, of the only output."""
    (scores,) = outputs.values()
    return float((scores.argmax(axis=1) == labels).mean())


def worst_error(judge: Any, ours: Any, reference: Any, labels: Any, samples: int) -> Noise:
    """The largest difference of each sample."""
    del judge, labels
    rows = (np.asarray(array, np.float64).reshape(samples, -1) for array in (ours, reference))
    own, theirs = rows
    return Noise((theirs**2).max(axis=1), ((own - theirs) ** 2).max(axis=1))


COUNTING = RuntimeKind("counting", "the reference, and how often", "plugin_parts:Counting")


class Counting(Reference):
    """Counts segments that were run."""

    runs = 0

    def run(self, segment: Any, inputs: Any) -> Any:
        Counting.runs += 1
        return super().run(segment, inputs)
