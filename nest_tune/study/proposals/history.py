"""What the proposal of a trial may know: results of some trials, and that others are under way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from nest_tune.study.trial import OuterTrial, Point, Proposal


@dataclass(frozen=True, eq=False)
class History(Sequence[OuterTrial]):
    """Trials whose results a proposal knows; a sequence of them.

    Attributes:
        trials: In the order in which they became known; the default trial is the first.
        pending: Proposals whose results it does not know, by number, finished or not.
        enqueued: Points that somebody has asked for: what nobody has tried of them comes first.
    """

    trials: tuple[OuterTrial, ...] = ()
    pending: tuple[Proposal, ...] = ()
    enqueued: tuple[Point, ...] = ()

    def __len__(self) -> int:
        return len(self.trials)

    def __iter__(self) -> Iterator[OuterTrial]:
        return iter(self.trials)

    @overload
    def __getitem__(self, at: int) -> OuterTrial: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[OuterTrial, ...]: ...
    def __getitem__(self, at: int | slice) -> OuterTrial | tuple[OuterTrial, ...]:
        return self.trials[at]
