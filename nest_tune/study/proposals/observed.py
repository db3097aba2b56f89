"""What the guided sampler knows of measured trials, as arrays.

======== ==================================================================================
symbol   meaning
======== ==================================================================================
points   ``Point[n]``
targets  ``float64[n, objectives + limits]``: losses, and slack of limits, at most 0 where they hold
feasible ``bool[n]``: chosen from, where no limit is broken
======== ==================================================================================
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nest_tune.study.proposals.front import losses, nondominated
from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.request.goals import scale_of
from nest_tune.study.trial import OuterTrial, Point

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Observed:
    """Measured trials in the order in which they became known.

    Attributes:
        keys: One per trial: equal ones are of equal trials.
        points, targets, feasible: See above.
        objectives: How many of the targets are losses.
        keeps: What has to live as long as the keys are compared.
    """

    keys: tuple[Hashable, ...]
    points: tuple[Point, ...]
    targets: Floats
    feasible: npt.NDArray[np.bool_]
    objectives: int
    keeps: tuple[object, ...] = ()

    @classmethod
    def of(cls, problem: SearchProblem, history: Sequence[OuterTrial]) -> Observed:
        """What a history says."""
        measured = tuple(trial for trial in history if trial.outcome.is_measured)
        default = history[0].metrics if history else {}
        rows: dict[int, tuple[OuterTrial, list[float]]] = problem.memory.setdefault("rows", {})
        scales = [scale_of(limit, default) for limit in problem.limits]
        if problem.memory.get("scales") != scales:
            rows.clear()
            problem.memory["scales"] = scales
        targets = []
        for trial in measured:
            known = rows.get(id(trial))
            if known is None:
                slack = [
                    limit.slack(trial.judged[limit.metric.value], scale)
                    for limit, scale in zip(problem.limits, scales, strict=True)
                ]
                known = rows[id(trial)] = trial, [*losses(trial, problem.objectives), *slack]
            targets.append(known[1])
        columns = len(problem.objectives) + len(problem.limits)
        return cls(
            tuple(map(id, measured)),
            tuple(trial.point for trial in measured),
            np.array(targets, np.float64).reshape(len(targets), columns),
            np.array([t.is_feasible and t.settled for t in measured], np.bool_),
            len(problem.objectives),
            measured,
        )

    def __len__(self) -> int:
        return len(self.points)

    def first(self, count: int) -> Observed:
        """The first so many of them."""
        return Observed(
            self.keys[:count],
            self.points[:count],
            self.targets[:count],
            self.feasible[:count],
            self.objectives,
            self.keeps[:count],
        )

    @property
    def losses(self) -> Floats:
        """``float64[n, objectives]``."""
        return self.targets[:, : self.objectives]

    @property
    def front(self) -> list[int]:
        """Numbers of feasible trials that none dominates, by the first loss."""
        candidates = np.flatnonzero(self.feasible)
        found: list[int] = candidates[nondominated(self.losses[candidates])].tolist()
        return found

    @property
    def ranked(self) -> list[int]:
        """Numbers of all, those that break the limits least first, of these by the first loss."""
        broken = np.maximum(self.targets[:, self.objectives :], 0.0).sum(axis=1)
        found: list[int] = np.lexsort((self.losses[:, 0], broken)).tolist()
        return found
