"""What a run of a study is told, and tells: its budget, its events, why it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nest_tune.study.store.ended import Ended
from nest_tune.study.trial import OuterTrial
from nest_tune.study.tuning.seam import TunedTask
from nest_tune.tuning.task_search import TaskSearch


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

    def reckoning(self, noises: int) -> None:
        """The noise of so many configurations is being measured, for proposals."""

    def tuning(self, tasks: int, limit: int = 0) -> None:
        """New tasks are being tuned, beside those that are.

        Args:
            tasks: How many.
            limit: Schedules that are looked at for them at most; 0 where nothing says.
        """

    def searching(self, search: TaskSearch) -> None:
        """A batch of schedules of a task has been measured."""

    def tuned(self, tasks: Mapping[str, TunedTask]) -> None:
        """All tasks tuned so far."""

    def finished(self, trial: OuterTrial) -> None:
        """A trial has been stored."""

    def ended(self, reason: Ended) -> None:
        """The run is over."""
