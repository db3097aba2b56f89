"""The replay runner: it computes nothing, so that only what storage holds has an answer.

A study looks into its storage before it asks a runner. What reaches this one was never computed for
these files by this compiler, and gets an error that says so. A study that was started from an empty
database runs again to the same trials, under another name, without the simulator.
"""

from __future__ import annotations

from nest_tune.runners.runner import Answer, Ending, RunnerOptions, Setup, Work

MISSING = "MissingRecord"
"""Kind of the error of what is not in storage."""


def make(setup: Setup, options: RunnerOptions) -> ReplayRunner:
    """A runner without workers."""
    del setup, options
    return ReplayRunner()


class ReplayRunner:
    """See :class:`~nest_tune.runners.runner.Runner`."""

    def __init__(self) -> None:
        self._waiting: list[Work] = []

    def submit(self, work: Work) -> None:
        self._waiting.append(work)

    def wait(self, timeout_s: float) -> list[Answer]:
        del timeout_s
        waiting, self._waiting = self._waiting, []
        return [
            Answer(
                work.ticket,
                Ending.ERROR,
                error=MISSING,
                message=f"runner replay: storage has no result of {work.function.partition(':')[2]}"
                " for this candidate, these files and this version",
            )
            for work in waiting
        ]

    def cancel(self, ticket: int) -> None:
        self._waiting = [work for work in self._waiting if work.ticket != ticket]

    def close(self) -> None:
        self._waiting.clear()
