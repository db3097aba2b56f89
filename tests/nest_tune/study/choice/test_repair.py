"""Repair moves are the best there are by what is known of noise and cost."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nest_tune.study.choice.repair import Base, bases, moves_of, plans
from nest_tune.study.proposals.problem import SearchProblem
from nest_tune.study.request.goals import parse_constraint, parse_objective
from nest_tune.study.trial import Outcome, OuterTrial
from search_spaces.joint import JointSpace
from search_spaces.parameter import Parameter

GROUPS = 6


class Placements:
    """Operators on the CPU or the NPU: each takes its time, and each change of unit takes some."""

    name = "partition"
    parameters = tuple(Parameter(f"g{n}", ("cpu", "vta"), ordered=False) for n in range(GROUPS))
    default = (1,) * GROUPS

    def __init__(self, seed: int, border: float) -> None:
        generator = np.random.default_rng(seed)
        self.times = np.stack([generator.uniform(2, 6, GROUPS), generator.uniform(0.1, 1, GROUPS)])
        self.border = border

    def decode(self, _point):
        return {}

    def is_legal(self, _point):
        return True

    def estimate(self, point):
        changes = sum(a != b for a, b in zip((0, *point), (*point, 0), strict=True))
        return float(sum(self.times[i, n] for n, i in enumerate(point)) + self.border * changes)

    def guesses(self):
        return ()


def trial(number, latency, drop, *, feasible, point=(0,)):
    outcome = Outcome.COMPLETE if feasible else Outcome.CONSTRAINTS
    metrics = {"latency_ms": latency, "accuracy": 0.9 - drop, "accuracy_drop": drop}
    return OuterTrial(number, point, tuned=True, outcome=outcome, metrics=metrics)


def problem(limit="accuracy_drop <= 1%"):
    goals = (parse_objective("latency_ms"), parse_objective("accuracy"))
    space = JointSpace([])
    return SearchProblem(space, goals, (parse_constraint(limit),), "xgb", 0, tuned=True)


@settings(max_examples=25)
@given(st.integers(0, 1000), st.floats(0.05, 0.9))
def test_a_repair_removes_enough_at_the_least_latency(seed: int, share: float) -> None:
    part = Placements(seed, border=0.0)
    generator = np.random.default_rng([seed, 1])
    block, noise = (1,) * GROUPS, 1.0
    removed = generator.dirichlet(np.ones(GROUPS)) * 0.95
    base = Base(trial(1, 1.0, 0.02, feasible=False), share)
    moves = moves_of(part, block, base, "cpu")
    assert moves == [(axis, 0) for axis in range(GROUPS)]
    moved = {(axis, 0): noise - removed[axis] for axis in range(GROUPS)}
    first = plans(part.estimate, block, base, noise, moved)
    enough = [
        point
        for point in product((0, 1), repeat=GROUPS)
        if sum(removed[n] for n, i in enumerate(point) if i == 0) >= share - 1e-9
    ]
    if not enough:
        assert first == [] or share > 0.95
        return
    best = min(part.estimate(point) for point in enough)
    assert part.estimate(first[0]) == pytest.approx(best)
    assert len(first) == len(set(first)) <= 5


@settings(max_examples=25)
@given(st.integers(0, 1000), st.floats(0.05, 0.9))
def test_a_trial_with_room_wins_most_of_what_the_room_allows(seed: int, room: float) -> None:
    part = Placements(seed, border=0.0)
    generator = np.random.default_rng([seed, 2])
    block, noise = (0,) * GROUPS, 0.5
    added = generator.uniform(0.01, 0.5, GROUPS)
    base = Base(trial(1, 9.0, 0.0, feasible=True), -room)
    moves = moves_of(part, block, base, "cpu")
    assert moves == [(axis, 1) for axis in range(GROUPS)]
    moved = {(axis, 1): noise + added[axis] for axis in range(GROUPS)}
    found = plans(part.estimate, block, base, noise, moved)
    allowed = [
        point
        for point in product((0, 1), repeat=GROUPS)
        if sum(added[n] for n, i in enumerate(point) if i == 1) <= room * noise + 1e-9
    ]
    best = min(part.estimate(point) for point in allowed)
    if best == part.estimate(block):
        return
    assert part.estimate(found[0]) == pytest.approx(best)


def test_operators_beside_one_another_share_their_borders() -> None:
    """Two neighbours that remove a little each beat one alone that removes as much."""
    part = Placements(3, border=5.0)
    part.times[0] = [9.0, 3.0, 3.0, 3.0, 3.0, 9.0]
    part.times[1] = 1.0
    block, noise = (1,) * GROUPS, 1.0
    moved = {(0, 0): 0.75, (1, 0): 0.8, (2, 0): 0.8, (3, 0): 0.99, (4, 0): 0.99, (5, 0): 0.6}
    base = Base(trial(1, 1.0, 0.02, feasible=False), 0.4)
    (first, *_) = plans(part.estimate, block, base, noise, moved)
    assert first == (1, 1, 1, 1, 1, 0)  # no border of its own, for the output is the CPU's
    part.times[0][5] = 30.0
    (first, *_) = plans(part.estimate, block, base, noise, moved)
    assert first == (0, 0, 1, 1, 1, 1)  # as many borders as the first one alone


def test_what_is_repaired_misses_the_limit_by_little_and_would_be_better() -> None:
    scheme = slice(0, 1)
    trials = [
        trial(0, 10.0, 0.004, feasible=True, point=(0, 1)),
        trial(1, 8.0, 0.02, feasible=False, point=(1, 1)),
        trial(2, 7.0, 0.03, feasible=False, point=(1, 0)),
        trial(3, 5.0, 0.2, feasible=False, point=(2, 1)),
        trial(4, 12.0, 0.02, feasible=False, point=(3, 1)),
    ]
    found = bases(problem(), trials, scheme)
    assert [(base.trial.number, base.is_repair) for base in found] == [(2, True), (0, False)]
    assert found[0].share == pytest.approx(1 - 0.01 / 0.03)
    assert found[1].share == -1.0
    other = bases(problem("accuracy >= 88%"), trials, scheme)
    assert other[0].trial.number == 2
    assert other[0].share == pytest.approx(0.01 / 0.03)
    assert bases(problem("latency_ms <= 3"), trials, scheme) == []
