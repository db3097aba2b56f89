"""The optimum against brute force, its bound, and that no baseline beats it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count, product

import pytest

from compiler_core.graph.ir import Graph
from compiler_core.partition import optimum as module_under_test
from compiler_core.partition.baselines import baselines, best_sequential, branches
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.group_graph import GroupGraph
from compiler_core.partition.groups import build_groups
from compiler_core.partition.milp import ModuleObjective, solve_module
from compiler_core.partition.modules import Module, lower_bound_ps, modules_of, one_machine_ps
from compiler_core.partition.optimum import find_optimum
from compiler_core.system.jobs import ONE_CORE, ranks
from compiler_core.system.timeline import simulate
from compiler_core.targets.places import ON_CPU

ON_NPU = 1
"""Number of the place ``vta``."""

Groups = Callable[[str], GroupGraph]
Graphs = Callable[[str], Graph]
Random = Callable[..., Evaluator]


@pytest.mark.parametrize("name", ["concat", "residual", "mixed", "two_inputs", "moved"])
@pytest.mark.parametrize("cores", [1, 2])
def test_optimum_of_small_models_is_that_of_brute_force(
    synthetic_graph: Graphs, random_evaluator: Random, name: str, cores: int
) -> None:
    groups = build_groups(synthetic_graph(name))
    for seed in range(12 if cores == 1 else 3):
        evaluator = random_evaluator(groups, seed, cores)
        found = find_optimum(evaluator)
        every = [evaluator.latency_ps(p) for p in product(*evaluator.choices)]
        assert found.latency_ps == min(every)
        assert found.bound_ps <= min(every)
        assert found.latency_ps == evaluator.latency_ps(found.placement)


@pytest.mark.parametrize("name", ["concat", "residual", "depthwise", "mixed"])
def test_layers_that_are_launched_together_are_no_exception(
    synthetic_graph: Graphs,
    random_evaluator: Random,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    groups = build_groups(synthetic_graph(name))
    for seed in range(6):
        apart = random_evaluator(groups, seed)
        evaluator = Evaluator(groups, apart.costs, joins_layers=True)
        every = [evaluator.latency_ps(p) for p in product(*evaluator.choices)]
        found = find_optimum(evaluator)
        assert found.latency_ps == min(every)
        assert found.bound_ps <= min(every)
        for placement in product(*evaluator.choices):
            together, one_by_one = evaluator.evaluate(placement), apart.evaluate(placement)
            assert together.launches <= one_by_one.launches
            saved = (one_by_one.launches - together.launches) * apart.costs.launch_ps
            assert together.sequential_ps == one_by_one.sequential_ps - saved
        with monkeypatch.context() as patch:
            patch.setattr(module_under_test, "MAX_ENUMERATED", 0)
            guessed = find_optimum(evaluator)
            assert guessed.bound_ps <= min(every) <= guessed.latency_ps


@pytest.mark.parametrize("name", ["concat", "residual", "two_inputs"])
def test_least_sum_is_that_of_brute_force(
    synthetic_graph: Graphs, random_evaluator: Random, name: str
) -> None:
    groups = build_groups(synthetic_graph(name))
    for seed in range(12):
        evaluator = random_evaluator(groups, seed)
        found = find_optimum(evaluator, objective=ModuleObjective.SUM)
        least = min(evaluator.sequential_ps(p) for p in product(*evaluator.choices))
        assert evaluator.sequential_ps(found.placement) == found.latency_ps == least
        assert best_sequential(evaluator) == found.placement


@pytest.mark.parametrize("name", ["concat", "residual"])
@pytest.mark.parametrize("cores", [1, 2])
def test_mixed_integer_program_bounds_and_search_finishes(
    synthetic_graph: Graphs,
    random_evaluator: Random,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    cores: int,
) -> None:
    monkeypatch.setattr(module_under_test, "MAX_ENUMERATED", 0)
    groups = build_groups(synthetic_graph(name))
    for seed in range(6):
        evaluator = random_evaluator(groups, seed, cores)
        least = min(evaluator.latency_ps(p) for p in product(*evaluator.choices))
        found = find_optimum(evaluator)
        assert found.bound_ps <= least <= found.latency_ps
        assert found.enumerated == 0
        whole = Module(0, len(groups.groups))
        choices = dict(enumerate(evaluator.choices))
        context = (ON_CPU,) * len(groups.groups)
        solved = solve_module(evaluator, whole, context, choices)
        assert solved.bound_ps <= least
        summed = solve_module(evaluator, whole, context, choices, objective=ModuleObjective.SUM)
        if cores == 1:
            sums = min(evaluator.sequential_ps(p) for p in product(*evaluator.choices))
            assert summed.bound_ps <= sums <= summed.bound_ps * 1.001 + 1


@pytest.mark.parametrize("name", ["squeezenet", "resnet50", "inception_v1"])
@pytest.mark.parametrize("cores", [1, 4])
def test_never_worse_than_a_baseline(
    light_groups: Groups, random_evaluator: Random, name: str, cores: int
) -> None:
    evaluator = random_evaluator(light_groups(name), 5, cores)
    others = baselines(evaluator)
    found = find_optimum(evaluator, starts=others.values())
    for placement in others.values():
        assert found.latency_ps <= evaluator.latency_ps(placement)
    assert found.latency_ps == evaluator.latency_ps(found.placement)
    assert found.bound_ps <= found.latency_ps
    if cores == 1:
        assert found.enumerated == found.modules


@pytest.mark.parametrize("name", ["squeezenet", "resnet50", "inception_v1"])
def test_latency_is_the_sum_over_modules(
    light_groups: Groups, random_evaluator: Random, name: str
) -> None:
    groups = light_groups(name)
    modules = modules_of(groups)
    assert [m.first for m in modules] == [0, *(m.stop for m in modules[:-1])]
    assert modules[-1].stop == len(groups.groups)
    assert len(modules) > 15
    for seed in range(4):
        evaluator = random_evaluator(groups, seed)
        placement = tuple(units[seed * 7 % 3 % len(units)] for units in evaluator.choices)
        total = 0
        for module in modules:
            jobs = evaluator.jobs(placement, module.first, module.stop)
            share = simulate(jobs, ranks(jobs)).latency_ps
            assert lower_bound_ps(jobs, ONE_CORE) <= share
            total += share
        assert evaluator.latency_ps(placement) == total


def test_pins_are_kept(light_groups: Groups, random_evaluator: Random) -> None:
    evaluator = random_evaluator(light_groups("squeezenet"), 1)
    free = find_optimum(evaluator)
    group = next(g for g, units in enumerate(evaluator.choices) if len(units) > 1)
    other = ON_CPU if free.placement[group] == ON_NPU else ON_NPU
    pinned = find_optimum(evaluator, pins={group: other}, starts=[free.placement])
    assert pinned.placement[group] == other
    assert pinned.latency_ps >= free.latency_ps
    for placement in baselines(evaluator, {group: other}).values():
        assert placement[group] == other


def test_branches_cover_every_group_once(light_groups: Groups) -> None:
    groups = light_groups("inception_v1")
    chains = branches(groups)
    assert sorted(group for chain in chains for group in chain) == list(range(len(groups.groups)))
    assert max(map(len, chains)) > 1


def test_one_machine_bound_by_hand() -> None:
    assert one_machine_ps([(0, 4, 10), (2, 3, 1), (9, 1, 0)]) == 14
    assert one_machine_ps([(0, 4, 0), (0, 4, 0)]) == 8
    assert one_machine_ps([]) == 0


def test_a_loaded_machine_changes_nothing(
    synthetic_graph: Graphs, random_evaluator: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_under_test, "MAX_ENUMERATED", 0)
    evaluator = random_evaluator(build_groups(synthetic_graph("mixed")), 5, 2)
    first = find_optimum(evaluator)
    # Between any two looks at the clock an hour goes by.
    monkeypatch.setattr(module_under_test, "monotonic", count(0.0, 3600.0).__next__)
    second = find_optimum(evaluator)
    assert replace(second, seconds=0.0) == replace(first, seconds=0.0)
    assert find_optimum(evaluator, time_limit_s=1.0).evaluations < first.evaluations


def test_the_nodes_of_a_program_are_counted(
    synthetic_graph: Graphs, random_evaluator: Random
) -> None:
    groups = build_groups(synthetic_graph("concat"))
    evaluator = random_evaluator(groups, 3, 1)
    whole = Module(0, len(groups.groups))
    choices = dict(enumerate(evaluator.choices))
    context = (ON_CPU,) * len(groups.groups)
    least = min(evaluator.latency_ps(p) for p in product(*evaluator.choices))
    found = solve_module(evaluator, whole, context, choices, nodes=1)
    assert found.bound_ps <= least
    if found.placement is not None:
        assert evaluator.latency_ps(found.placement) >= least


def test_large_modules_spend_no_more_than_small_ones() -> None:
    """A node's work grows with the square of the groups."""
    nodes = module_under_test._nodes
    work = {groups: nodes(2, groups) * groups**2 for groups in (64, 100, 300, 400)}
    assert all(found <= 1.01 * work[64] for found in work.values())
    assert [nodes(2, groups) for groups in (1, 64, 10_000)] == [10_000, 156, 2]
