"""The placements of least energy, cycles and memory against brute force."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from compiler_core.graph.ir import Graph
from compiler_core.partition.baselines import baselines
from compiler_core.partition.best import prepare, untuned
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.group_graph import GroupGraph
from compiler_core.partition.groups import build_groups
from compiler_core.partition.least import Price, find_least, least_sum
from compiler_core.targets.load import load_target

Groups = Callable[[str], GroupGraph]
Graphs = Callable[[str], Graph]
Random = Callable[..., Evaluator]

SUMS = (Price.ENERGY_PJ, Price.CYCLES, Price.CONSTANT_BYTES)


@pytest.mark.parametrize("name", ["concat", "residual", "mixed", "two_inputs", "depthwise"])
@pytest.mark.parametrize("cores", [1, 2])
def test_sums_of_small_models_are_those_of_brute_force(
    synthetic_graph: Graphs, random_evaluator: Random, name: str, cores: int
) -> None:
    groups = build_groups(synthetic_graph(name))
    for seed in range(6 if cores == 1 else 2):
        evaluator = random_evaluator(groups, seed, cores)
        every = [evaluator.evaluate(p) for p in product(*evaluator.choices)]
        for price in SUMS:
            found = least_sum(evaluator, price, list(evaluator.choices))
            assert found is not None
            best = min(map(price.of, every))
            assert price.of(evaluator.evaluate(found)) == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("name", ["concat", "residual", "depthwise"])
@pytest.mark.parametrize("target", ["vta", "vta-x2"])
def test_costs_of_a_target_are_no_exception(
    synthetic_graph: Graphs, name: str, target: str
) -> None:
    evaluator = prepare(synthetic_graph(name), load_target(target), packaged=True)
    every = [evaluator.evaluate(p) for p in product(*evaluator.choices)]
    starts = [untuned(evaluator), *baselines(evaluator).values()]
    for price in Price:
        found = evaluator.evaluate(find_least(evaluator, price, starts=starts))
        best = min((price.of(e), e.latency_ps) for e in every)
        if price in SUMS:
            assert price.of(found) == pytest.approx(best[0], rel=1e-9)
        assert price.of(found) <= min(price.of(evaluator.evaluate(start)) for start in starts)


def test_pinned_groups_stay_where_they_are(
    synthetic_graph: Graphs, random_evaluator: Random
) -> None:
    evaluator = random_evaluator(build_groups(synthetic_graph("residual")), 3)
    pins = {0: evaluator.choices[0][-1], 2: evaluator.choices[2][0]}
    choices = [(pins[g],) if g in pins else own for g, own in enumerate(evaluator.choices)]
    for price in SUMS:
        found = find_least(evaluator, price, pins=pins, starts=[(0,) * len(choices)])
        assert {group: found[group] for group in pins} == pins
        best = min(price.of(evaluator.evaluate(p)) for p in product(*choices))
        assert price.of(evaluator.evaluate(found)) == pytest.approx(best, rel=1e-9)
