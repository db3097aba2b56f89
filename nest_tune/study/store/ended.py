"""Why a run of a study ended, and what its row says then."""

from __future__ import annotations

from enum import Enum

from nest_tune.study.store.stored_study import Status


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


def status_after(reason: Ended) -> Status:
    """What a study's row says after a run."""
    stopped = reason in (Ended.STOPPED, Ended.CANCELLED)
    return Status.STOPPED if stopped else Status.DONE
