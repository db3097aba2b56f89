"""What a run of a study is told, and tells: its budget, its events, why it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from nest_tune.study.store.stored_study import Status
from nest_tune.study.trial import OuterTrial
from nest_tune.study.tuning.seam import TunedTask
from nest_tune.tuning.task_search import TaskSearch


class Ended(Enum):
    """Why a run of a study ended."""

    TRIALS = "trials"
    TIME = "time"
    EXHAUSTED = "exhausted"
    IDEAL = "ideal"
    STOPPED = "stopped"
    CANCELLED = "cancelled"

    @property
    def sentence(self) -> str:
        """For people."""
        return _SENTENCES[self]


_SENTENCES = {
    Ended.TRIALS: "the budget of trials is spent",
    Ended.TIME: "the budget of time is spent",
    Ended.EXHAUSTED: "every point of the space has been tried, so the front is the true one",
    Ended.IDEAL: "no configuration can be better, so nothing is left to gain",
    Ended.STOPPED: "it was asked to stop",
    Ended.CANCELLED: "it was cancelled",
}


@dataclass(frozen=True)
class Budget:
    """When to stop.

    Attributes:
        trials: Outer trials, with those of earlier runs.
        timeout_s: Of this run; looked at between batches.
    """

    trials: int
    timeout_s: float | None = None


class Observer:
    """Told what happens; does nothing by itself."""

    def began(self, trials: Sequence[OuterTrial], budget: Budget) -> None:
        """A run begins with trials from earlier ones."""

    def noted(self, note: str) -> None:
        """Something that is to be known of what is measured."""

    def tuning(self, tasks: int) -> None:
        """New tasks are being tuned."""

    def searching(self, search: TaskSearch) -> None:
        """A batch of schedules of a task has been measured."""

    def tuned(self, tasks: Mapping[str, TunedTask]) -> None:
        """All tasks tuned so far."""

    def finished(self, trial: OuterTrial) -> None:
        """A trial has been stored."""

    def ended(self, reason: Ended) -> None:
        """The run is over."""


def status_after(reason: Ended) -> Status:
    """What a study's row says after a run."""
    stopped = reason in (Ended.STOPPED, Ended.CANCELLED)
    return Status.STOPPED if stopped else Status.DONE
