"""Every sampler proposes legal, canonical, new points, the same ones for the same seed."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from compiler_core.errors import InputError
from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import (
    ConvWorkload,
    Epilogue,
    MaxPoolWorkload,
    Window,
    Workload,
)
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.lower.layer import measure_layer
from cost_models.vta.relaxed_walk import walked_bounds
from nest_tune.samplers.registry import make_schedule_sampler, schedule_sampler_names
from nest_tune.samplers.schedules import exhaustive
from nest_tune.samplers.schedules.exhaustive import ExhaustiveScheduleSampler, PointsByBound
from nest_tune.samplers.schedules.guided import GuidedSampler
from nest_tune.samplers.schedules.optuna_sampler import XgbScheduleSampler
from nest_tune.samplers.schedules.sampler import Point, Problem
from search_spaces.vta.tiling import TilingSpace

CONV = ConvWorkload(
    1, 32, 8, 8, 32, Window((3, 3), (1, 1), (1, 1, 1, 1)), 1, Epilogue(17, True, True, True)
)
POOL = MaxPoolWorkload(1, 32, 8, 8, Window((3, 3), (2, 2), (1, 1, 1, 1)))
SMALL = ConvWorkload(
    1, 32, 3, 3, 32, Window((3, 3), (1, 1), (1, 1, 1, 1)), 1, Epilogue(17, True, True, True)
)
TINY = ConvWorkload(1, 16, 1, 2, 16, Window((1, 1)), 1, Epilogue(0, True, False, False))


def problem_of(workload: Workload, seed: int = 0) -> Problem:
    core = load_target("vta").npu
    space = TilingSpace(workload, core.geometry)
    return Problem(space, core, space.encode(default_schedule(workload, core)), seed)


def cost(problem: Problem, point: Point) -> int:
    schedule = problem.space.decode(point)
    return measure_layer(problem.space.workload, schedule, problem.machine).cycles


def fake_cost(problem: Problem, point: Point) -> int | None:
    """Cheap stand-in for cycles; some measurements fail."""
    rows = problem.space.rows(np.array([point]))
    value = int((rows * np.arange(3, 3 + rows.shape[1])).sum())
    return None if value % 11 == 0 else 10_000 + value


@pytest.mark.parametrize("name", schedule_sampler_names())
@pytest.mark.parametrize("workload", [CONV, POOL], ids=["conv", "pool"])
def test_proposals_are_legal_new_and_reproducible(name: str, workload: Workload) -> None:
    runs = []
    for seed in (5, 5, 6):
        problem = problem_of(workload, seed)
        sampler = make_schedule_sampler(name, problem)
        sampler.observe([(problem.default, 20_000)])
        seen = [problem.default]
        for _ in range(3):
            proposed = sampler.propose(8)
            assert len(proposed) == 8
            sampler.observe([(point, fake_cost(problem, point)) for point in proposed])
            seen += proposed
        points = np.array(seen)
        assert len(set(seen)) == len(seen)
        assert problem.space.legal(points).all()
        assert (problem.space.canonical(points) == points).all()
        runs.append(seen)
    assert runs[0] == runs[1]
    if name != "exhaustive":
        assert runs[0] != runs[2]


@pytest.mark.parametrize("name", ["xgb", "random", "exhaustive"])
def test_a_space_that_is_used_up_ends_the_proposals(name: str) -> None:
    problem = problem_of(TINY)
    sampler = make_schedule_sampler(name, problem)
    seen: set[Point] = set()
    for _ in range(200):
        proposed = sampler.propose(64)
        if not proposed:
            break
        sampler.observe([(point, 10**6) for point in proposed])
        seen.update(proposed)
    assert len(seen) == problem.space.size


def test_the_guided_sampler_beats_random_ones() -> None:
    best = {}
    for name in ("xgb", "random"):
        problem = problem_of(CONV)
        sampler = make_schedule_sampler(name, problem)
        cycles = []
        for _ in range(2):
            proposed = sampler.propose(8)
            measured = [(point, cost(problem, point)) for point in proposed]
            cycles += [c for _, c in measured]
            sampler.observe(measured)  # type: ignore[arg-type]
        best[name] = min(cycles)
    assert best["xgb"] < 0.95 * best["random"]


def test_exhaustive_search_ends_with_the_optimum() -> None:
    problem = problem_of(TINY)
    points = [tuple(p) for chunk in problem.space.enumerate() for p in chunk.tolist()]
    expected = min(cost(problem, point) for point in points)
    sampler = ExhaustiveScheduleSampler(problem)
    best, count = cost(problem, problem.default), 0
    sampler.observe([(problem.default, best)])
    while proposed := sampler.propose(16):
        measured = [(point, cost(problem, point)) for point in proposed]
        best = min(best, *(cycles for _, cycles in measured))
        count += len(measured)
        sampler.observe(measured)  # type: ignore[arg-type]
    assert sampler.proven
    assert best == expected
    assert count <= len(points)


def test_guided_sampler_in_an_optuna_study() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    problem = problem_of(CONV)
    study = optuna.create_study(sampler=XgbScheduleSampler(problem))

    def objective(trial: optuna.Trial) -> float:
        point = tuple(trial.suggest_int(p.name, 0, len(p) - 1) for p in problem.space.parameters)
        return float(fake_cost(problem, point) or 99_999)

    study.optimize(objective, n_trials=20)
    points = {tuple(trial.params.values()) for trial in study.trials}
    assert len(points) == 20
    assert problem.space.legal(np.array(sorted(points))).all()


def test_the_guided_sampler_proposes_what_is_new_at_a_thousand_measurements() -> None:
    problem = problem_of(CONV)
    sampler = GuidedSampler(problem)
    points = problem.space.sample(np.random.default_rng(0), 1000).tolist()
    sampler.observe([(tuple(p), 10_000 + i) for i, p in enumerate(points)])
    known = set(map(tuple, points))
    for _ in range(3):
        proposed = sampler.propose(16)
        assert len(set(proposed)) == 16
        assert not set(proposed) & known
        sampler.observe([(p, 12_000) for p in proposed])
        known |= set(proposed)


def test_unknown_sampler_names_the_nearest() -> None:
    with pytest.raises(
        InputError, match="'xgboost' is not known; known are exhaustive, nsga2"
    ) as caught:
        make_schedule_sampler("xgboost", problem_of(CONV))
    assert caught.value.hint == "did you mean 'xgb'?"


@pytest.mark.parametrize("workload", [SMALL, POOL], ids=["conv", "pool"])
def test_all_points_come_with_their_bounds(workload: Workload) -> None:
    problem = problem_of(workload)
    space, core = problem.space, problem.machine
    source = PointsByBound(space, core)
    listed, bounds = [], []
    while source.least < np.inf:
        before = source.least
        points, of_points = source.take(np.inf)
        assert (of_points >= before).all()
        listed.append(points)
        bounds.append(of_points)
    points = np.concatenate(listed)
    everything = np.concatenate(list(space.enumerate()))
    assert sorted(map(tuple, points.tolist())) == sorted(map(tuple, everything.tolist()))
    expected = walked_bounds(workload, space.rows(points), core)
    np.testing.assert_array_equal(np.concatenate(bounds), expected)


def test_a_limit_leaves_out_what_cannot_be_below_it() -> None:
    problem = problem_of(SMALL)
    space, core = problem.space, problem.machine
    everything = np.concatenate(list(space.enumerate()))
    bounds = walked_bounds(SMALL, space.rows(everything), core)
    limit = float(np.quantile(bounds, 0.01))
    source = PointsByBound(space, core)
    found = []
    while source.least < limit:
        found += [tuple(point) for point in source.take(limit)[0].tolist()]
    assert sorted(found) == sorted(map(tuple, everything[bounds < limit].tolist()))


def test_an_exhaustive_search_knows_its_gap() -> None:
    problem = problem_of(SMALL)
    sampler = ExhaustiveScheduleSampler(problem)
    sampler.observe([(problem.default, cost(problem, problem.default))])
    best, least = cost(problem, problem.default), [sampler.least_cycles]
    while proposed := sampler.propose(16):
        measured = [(point, cost(problem, point)) for point in proposed]
        best = min(best, *(cycles for _, cycles in measured))
        sampler.observe(measured)  # type: ignore[arg-type]
        least.append(sampler.least_cycles)
    assert least == sorted(least)
    assert sampler.proven
    assert least[-1] == best
    sample = problem.space.sample(np.random.default_rng(1), 100).tolist()
    assert best <= min(cost(problem, tuple(point)) for point in sample)


def test_points_opened_by_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of(SMALL)

    def steps(together: int, judged: int) -> list[tuple[list[Point], list[int]]]:
        monkeypatch.setattr(exhaustive, "_POINTS_TOGETHER", together)
        monkeypatch.setattr(exhaustive, "_JUDGED_TOGETHER", judged)
        source, limit = PointsByBound(problem.space, problem.machine), 4.0 * least
        found = []
        for _ in range(6):
            points, bounds = source.take(limit)
            found.append(([tuple(p) for p in points.tolist()], bounds.tolist()))
        return found

    least = PointsByBound(problem.space, problem.machine).least
    whole = steps(1 << 20, 1 << 18)
    assert any(points for points, _ in whole)
    assert steps(1, 7) == whole
    assert steps(3000, 100) == whole
