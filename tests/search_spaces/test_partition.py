"""The partition space: points and placements, neighbours, first points."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from compiler_core.compile.sources import load_model
from compiler_core.errors import InputError
from compiler_core.partition.best import find_best, prepare
from compiler_core.partition.evaluate import Evaluator
from compiler_core.targets.load import load_target
from compiler_core.targets.places import ON_CPU
from search_spaces.partition import PartitionSpace

ON_NPU = 1
"""Number of the place ``vta``."""


@pytest.fixture(scope="module")
def evaluator(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    path = Path(synthetic.write("concat", tmp_path_factory.mktemp("space")))
    return prepare(load_model(path).graph, load_target("vta"))


def test_points_and_placements(evaluator: Evaluator) -> None:
    space = PartitionSpace(evaluator)
    points = list(space.enumerate())
    assert len(points) == len(set(points)) == space.size
    placements = {space.placement(point) for point in points}
    assert len(placements) == space.size
    for point in points:
        placement = space.placement(point)
        assert space.encode(placement) == point
        assert all(u in units for u, units in zip(placement, evaluator.choices, strict=True))
    best = min(space.latency_ms(point) for point in points)
    assert best == find_best(evaluator).optimum.latency_ps / 1e9


def test_first_points_begin_with_the_optimum(evaluator: Evaluator) -> None:
    space = PartitionSpace(evaluator)
    first = space.first_points()
    names = [name for joined in first for name in joined.split("+")]
    assert names[0] == "optimum"
    assert {"all_cpu", "all_npu", "partition_tuner", "untuned"} <= set(names)
    assert len(set(first.values())) == len(first)
    latencies = [space.latency_ms(point) for point in first.values()]
    assert latencies[0] == min(latencies)


@pytest.mark.parametrize("metric", ["energy_mj", "npu_cycles", "size_bytes", "dram_peak_bytes"])
def test_every_aim_has_its_own_first_point(evaluator: Evaluator, metric: str) -> None:
    space = PartitionSpace(evaluator)
    prices = {point: space.prices(point) for point in space.enumerate()}
    for point, price in prices.items():
        assert price["latency_ms"] == space.latency_ms(point)
    first = space.first_points([metric])
    name, point = next(iter(first.items()))
    assert f"least_{metric}" in name.split("+")
    if metric != "dram_peak_bytes":  # no sum: only improved
        assert prices[point][metric] == pytest.approx(min(p[metric] for p in prices.values()))
    assert set(space.first_points().values()) <= set(first.values())
    both = space.first_points(["latency_ms", metric])
    assert next(iter(both.values())) == next(iter(space.first_points().values()))
    (middle,) = (point for name, point in both.items() if "compromise" in name.split("+"))

    def product(point: tuple[int, ...]) -> float:
        return max(prices[point]["latency_ms"], 1e-9) * max(prices[point][metric], 1e-9)

    assert product(middle) <= min(map(product, first.values())) * (1 + 1e-9)


def test_neighbours_move_one_group_or_two_dependent_ones(evaluator: Evaluator) -> None:
    space = PartitionSpace(evaluator)
    start = space.encode(tuple(units[-1] for units in evaluator.choices))
    near = space.neighbours(start)
    assert len({tuple(point) for point in near.tolist()}) == len(near)
    changed = (near != np.array(start)).sum(axis=1)
    assert changed.min() == 1
    assert changed.max() <= 2
    assert (changed == 1).sum() == sum(len(p) - 1 for p in space.parameters)


def test_samples_are_distinct_and_repeat_with_the_seed(evaluator: Evaluator) -> None:
    space = PartitionSpace(evaluator)
    points = space.sample(np.random.default_rng(1), 5)
    assert np.array_equal(points, space.sample(np.random.default_rng(1), 5))
    assert len({tuple(p) for p in points.tolist()}) == 5
    every = space.sample(np.random.default_rng(2), 10 * space.size)
    assert len(every) == space.size


def test_pinned_groups_are_no_parameters(evaluator: Evaluator) -> None:
    space = PartitionSpace(evaluator)
    group = next(g for g, units in enumerate(evaluator.choices) if len(units) > 1)
    pinned = PartitionSpace(evaluator, {group: ON_CPU})
    assert pinned.size * 2 == space.size
    assert pinned.digest != space.digest
    for point in pinned.first_points().values():
        assert pinned.placement(point)[group] == ON_CPU
    node = evaluator.groups.groups[group].name
    assert pinned.assignment(next(pinned.enumerate()))[node] == "cpu"
    wrong = list(pinned.placement(next(pinned.enumerate())))
    wrong[group] = ON_NPU
    with pytest.raises(InputError, match="the space holds cpu"):
        pinned.encode(tuple(wrong))
    with pytest.raises(InputError, match="a placement of 1 groups"):
        pinned.encode((ON_CPU,))
