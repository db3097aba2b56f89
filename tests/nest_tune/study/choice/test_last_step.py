"""Before a study ends every decision of the chosen trial is looked at once more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.accuracy.score import counted
from compiler_core.accuracy.tally import Tally
from nest_tune.study.choice.chance import chosen_of
from nest_tune.study.choice.last_step import MOVE, OF, changed_back, last_step
from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.request.goals import parse_constraint, parse_objective
from nest_tune.study.trial import Outcome, OuterTrial, Point
from search_spaces.joint import JointSpace
from search_spaces.parameter import Parameter

SIZES = (3, 2, 4, 2, 2)


class Table:
    """A part whose cost is a sum of single decisions."""

    name = "partition"
    parameters = tuple(
        Parameter(f"p{axis}", tuple(range(size)), ordered=False) for axis, size in enumerate(SIZES)
    )
    default: Point = (0,) * len(SIZES)

    def __init__(self, seed: int = 0) -> None:
        self._costs = [
            np.random.default_rng([seed, n]).random(size) for n, size in enumerate(SIZES)
        ]

    def decode(self, point: Point) -> list[int]:
        return list(point)

    def is_legal(self, _point: Point) -> bool:
        return True

    def estimate(self, point: Point) -> float:
        return 1.0 + sum(float(table[i]) for table, i in zip(self._costs, point, strict=True))

    def guesses(self) -> Sequence[Point]:
        return ()


def problem(seed: int = 0) -> tuple[SearchProblem, Table]:
    part = Table(seed)
    goals = (parse_objective("latency_ms"),)
    limits = (parse_constraint("latency_ms <= 100"),)
    return SearchProblem(JointSpace([part]), goals, limits, "random", 0, tuned=True), part


def measured(number: int, point: Point, part: Table) -> OuterTrial:
    metrics = {"latency_ms": part.estimate(point)}
    return OuterTrial(number, point, tuned=True, outcome=Outcome.COMPLETE, metrics=metrics)


@given(st.integers(0, 30), st.tuples(*(st.integers(0, size - 1) for size in SIZES)))
def test_nothing_is_better_by_one_decision_in_the_end(seed: int, start: Point) -> None:
    """Where the budget lasts, no single decision of the chosen trial, changed back or to a
    neighbour, is better, and none is left untried."""
    asked, part = problem(seed)
    trials = [measured(0, start, part)]
    seen = {start}
    while (found := last_step(asked, trials, seen, left=1, budget=100)) is not None:
        point, why = found
        assert point not in seen
        assert why[MOVE] in ("changed back", "changed to a neighbour")
        of = next(trial for trial in trials if trial.number == why[OF])
        assert sum(a != b for a, b in zip(of.point, point, strict=True)) == 1
        seen.add(point)
        trials.append(measured(len(trials), point, part))
    best = min(trials, key=lambda trial: trial.metrics["latency_ms"])
    for point in (*changed_back(asked, best.point), *asked.space.neighbours(best.point)):
        assert point in seen
        assert part.estimate(point) >= best.metrics["latency_ms"]


@pytest.mark.parametrize(("left", "begins"), [(30, False), (10, False), (6, True), (1, True)])
def test_it_begins_when_as_many_trials_are_left_as_it_asks_for(left: int, begins: bool) -> None:
    asked, part = problem()
    point = (1, 1, 1, 1, 0)
    trials = [measured(0, point, part)]
    near = set(asked.space.neighbours(point)) - set(changed_back(asked, point))
    seen = {point, *list(near)[2:]}
    found = last_step(asked, trials, seen, left=left, budget=40)
    assert (found is not None) == begins
    if found is not None:
        assert found == last_step(asked, trials, seen, left=left, budget=40)
        assert found[1] == {MOVE: "changed back", OF: 0}


def test_nothing_is_looked_at_where_nothing_is_chosen() -> None:
    asked, part = problem()
    broken = OuterTrial(
        0, (1, 1, 1, 1, 1), tuned=True, outcome=Outcome.CONSTRAINTS, metrics={"latency_ms": 1.0}
    )
    assert last_step(asked, [broken], set(), left=1, budget=40) is None
    assert part.estimate(broken.point) > 1


def test_it_starts_from_the_trial_that_the_study_would_hand_out() -> None:
    """Of trials that the labels of few samples alone tell apart, the more faithful one."""
    asked, part = problem()
    asked = replace(asked, objectives=(*asked.objectives, parse_objective("accuracy")))

    def judged(number: int, point: Point, right: int, sqnr: float) -> OuterTrial:
        hits = counted([Tally(np.array([1] * right + [0] * (300 - right), np.int64))])
        return replace(
            measured(number, point, part),
            metrics={"latency_ms": 1.0, "accuracy": hits.value, "accuracy_drop": 0.0},
            accuracy_samples=300,
            intervals={"accuracy": (hits.low or 0.0, hits.high or 1.0)},
            all_hits=hits.hits,
            fidelity={"agreement": 0.95, "sqnr_db": sqnr},
        )

    lucky, faithful = judged(1, (1, 1, 1, 1, 1), 273, 20.0), judged(2, (2, 1, 3, 1, 1), 271, 24.0)
    trials = [lucky, faithful]
    chosen = chosen_of(trials, trials, asked.objectives, asked.limits)
    found = last_step(asked, trials, {t.point for t in trials}, left=1, budget=100)
    assert chosen is faithful
    assert found is not None
    assert found[1][OF] == chosen.number
