"""Proposals of precision by layer for generated sources: plans of least cost, see
:mod:`nest_tune.study.choice.precision_plans`.

What layers cost in a precision is known when the default and a guess of all layers in it have been
measured, the one in fewer bits at least; what each damages is measured then, on few samples, by the
noise of the whole with that layer alone in the other precision. More bits may damage less than the
usual ones do: what counts is how much more than the gentlest precision of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from math import isfinite

import numpy as np

from nest_tune.study.choice.last_step import MOVE, OF
from nest_tune.study.choice.precision_plans import (
    Floats,
    LayerFormats,
    PrecisionCosts,
    next_plan,
    plans,
)
from nest_tune.study.choice.repair import accuracy_limit
from nest_tune.study.execution.source_bench import COST, SourceBench
from nest_tune.study.proposals.problem import Asked
from nest_tune.study.proposals.source_parts import FormPart, PrecisionPart
from nest_tune.study.request.goals import TrialMetric
from nest_tune.study.store.ground import Ground
from nest_tune.study.trial import OuterTrial, Point
from nest_tune.study.tuning.seam import TunedTask

Noises = Callable[[Point, Sequence[Point]], list[float] | None]
"""Noise of a point and of others; ``None`` where it cannot be known."""

_COUNTED = (TrialMetric.INSTRUCTIONS, TrialMetric.CYCLES, TrialMetric.LATENCY_MS)
_STORED = (TrialMetric.CONSTANT_BYTES, TrialMetric.FLASH_BYTES)


class PrecisionMoves:
    """What is tried in the place of a sampler's proposal.

    Args:
        ground: What the study stands on; of generated sources.
        bench: Of it.
        tasks: Of the study, by name.
        noises: Measures noise.
    """

    def __init__(
        self,
        ground: Ground,
        bench: SourceBench,
        tasks: Callable[[], Mapping[str, TunedTask]],
        noises: Noises,
    ) -> None:
        self._ground, self._bench, self._tasks, self._noises = ground, bench, tasks, noises
        self._problem = ground.problem
        self._known: list[LayerFormats] | None = None
        self._columns: list[tuple[int, OuterTrial]] = []
        self._start: Point = ()

    def __call__(self, trials: Sequence[OuterTrial], seen: set[Point]) -> Asked | None:
        """A point, and why it is tried; ``None`` where the sampler is to be asked.

        Args:
            trials: That the proposal may know.
            seen: Points of all earlier proposals.
        """
        where = self._where
        if where is None or self._ground.settings.evaluation is None:
            return None
        at, part = where
        by_point = {trial.point: trial for trial in trials if trial.tuned == self._problem.tuned}
        usual = by_point.get(self._problem.space.default)
        fewer = by_point.get(self._all_in(1, at, part))
        if usual is None or fewer is None or not (usual.metrics and fewer.metrics):
            return None
        if self._known is None:
            self._columns = [(0, usual), (1, fewer)]
            for column in range(2, part.columns):
                trial = by_point.get(self._all_in(column, at, part))
                if trial is not None and trial.metrics:
                    self._columns.append((column, trial))
            self._known = self._plans(at, part)
        good, proposed = {}, set()
        for plan in self._known:
            point = self._placed(self._chosen(plan), at)
            if point in seen:
                proposed.add(plan.block)
            trial = by_point.get(point)
            if trial is not None and trial.outcome.is_measured:
                good[plan.block] = self._is_accurate(trial)
        found = next_plan(self._known, good, proposed)
        if found is None:
            return None
        point = self._placed(self._chosen(found), at)
        if not self._problem.space.is_legal(point):
            return None
        return point, {MOVE: "least cost for its damage", OF: usual.number}

    @cached_property
    def _where(self) -> tuple[slice, PrecisionPart] | None:
        """Where precisions stand in a point, and their part; ``None`` where integers alone, from
        which all plans would follow, are of no use."""
        space = self._problem.space
        if any(isinstance(part, FormPart) for part in space.parts):
            return None
        for part, block in zip(space.parts, space.blocks, strict=True):
            if isinstance(part, PrecisionPart) and part.choices:
                return block, part
        return None

    def _all_in(self, column: int, at: slice, part: PrecisionPart) -> Point:
        default = self._problem.space.default
        return (*default[: at.start], *part.all_in(column), *default[at.stop :])

    def _chosen(self, plan: LayerFormats) -> Point:
        """Precision per layer of a plan, which knows positions among those that are planned."""
        return tuple(self._columns[position][0] for position in plan.block)

    def _placed(self, block: Point, at: slice) -> Point:
        return (*self._start[: at.start], *block, *self._start[at.stop :])

    def _is_accurate(self, trial: OuterTrial) -> bool:
        limit = accuracy_limit(self._problem)
        if limit is None:
            return True
        judged = trial.judged.get(limit.metric.value)
        return judged is not None and limit.excess(judged) <= 0

    def _plans(self, at: slice, part: PrecisionPart) -> list[LayerFormats]:
        damage = self._damage(at, part)
        if damage is None:
            return []
        usual, measured = self._columns[0][1], [trial for _, trial in self._columns]
        rows = np.array([choice.weights for choice in part.choices], float)
        counted = self._costs(part)

        def table_of(metric: TrialMetric) -> tuple[Floats, float] | None:
            """What layers take of a metric, and what the rest of the network takes."""
            name = metric.value
            if any(name not in trial.metrics for trial in measured):
                return None
            if metric in _STORED:
                totals = np.array([trial.metrics[name] for trial in measured], float)
                table = np.outer(rows / max(1.0, float(rows.sum())), totals - totals[1])
            elif metric in _COUNTED and counted is not None:
                costs, total = counted
                table = costs * (usual.metrics[name] / max(total, 1e-9))
            else:
                return None
            return table, usual.metrics[name] - float(table[:, 0].sum())

        goal = table_of(self._problem.cost)
        if goal is None:
            return []
        uses, limits = [], []
        for limit in self._problem.limits:
            told = table_of(limit.metric)
            if told is not None and isfinite(limit.high):
                uses.append(told[0])
                limits.append(limit.high - told[1])
        return plans(PrecisionCosts(goal[0], damage, tuple(uses), tuple(limits)))

    def _damage(self, at: slice, part: PrecisionPart) -> Floats | None:
        """Noise that each layer adds in a precision to that of its gentlest one, under the way of
        ranges with the least noise of all layers in fewer bits."""
        default = self._problem.space.default
        whole = self._all_in(1, at, part)
        ways = [whole]
        for axis in range(len(default)):
            if not at.start <= axis < at.stop:
                parameter = self._problem.space.parameters[axis]
                values = [v for v in range(len(parameter)) if v != default[axis]]
                ways += [(*whole[:axis], value, *whole[axis + 1 :]) for value in values]
        noises = self._noises(whole, ways[1:])
        if noises is None:
            return None
        best = ways[min(range(len(ways)), key=lambda number: (noises[number], number))]
        self._start = (*best[: at.start], *default[at], *best[at.stop :])
        single = [
            (*self._start[:axis], part.all_in(column)[axis - at.start], *self._start[axis + 1 :])
            for column, _ in self._columns[1:]
            for axis in range(at.start, at.stop)
        ]
        found = self._noises(self._start, single)
        if found is None:
            return None
        added = np.array([found[0]] * len(part.choices) + found[1:])
        table = added.reshape(len(self._columns), -1).T
        return np.asarray(table - table.min(axis=1, keepdims=True))

    def _costs(self, part: PrecisionPart) -> tuple[Floats, float] | None:
        """What each layer was measured to take in every precision that is planned, and the whole
        network in the usual one, as the emulator or the clock counts."""
        columns, totals = [], []
        for column, _ in self._columns:
            block = part.all_in(column)
            costs = dict.fromkeys((choice.node for choice in part.choices), 0.0)
            totals.append(0.0)
            for task in self._bench.candidate({PrecisionPart.name: part.decode(block)}).tasks:
                known = self._tasks().get(task.name)
                if known is None:
                    return None
                totals[-1] += float(known.schedule[COST])
                if task.node in costs:
                    costs[task.node] += float(known.schedule[COST])
            columns.append(np.array(list(costs.values())))
        return np.stack(columns, axis=1), totals[0]
