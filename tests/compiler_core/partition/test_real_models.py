"""Well-known topologies with measured programs: gaps, margins, time."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from compiler_core.compile.sources import load_model
from compiler_core.partition.baselines import all_npu
from compiler_core.partition.best import find_best, prepare
from compiler_core.partition.evaluate import Evaluator
from compiler_core.targets.load import load_target

Measured = Callable[[str, str], Evaluator]


@pytest.fixture(scope="module")
def measured(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """The evaluator of a topology on a target."""
    path = Path(__file__).parents[2] / "e2e" / "topologies.py"
    spec = importlib.util.spec_from_file_location("topologies", path)
    assert spec is not None
    assert spec.loader is not None
    topologies = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(topologies)
    folder = tmp_path_factory.mktemp("topologies")

    def make(name: str, target: str) -> Evaluator:
        file = folder / f"{name}.onnx"
        if not file.exists():
            file.write_bytes(topologies.TOPOLOGIES[name](synthetic))
        return prepare(load_model(file).graph, load_target(target))

    return make


@pytest.mark.slow
@pytest.mark.parametrize("target", ["vta", "vta-ultra96"])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50", "googlenet"])
def test_best_plans_are_within_two_percent_of_the_best_there_can_be(
    measured: Measured, name: str, target: str
) -> None:
    evaluator = measured(name, target)
    best = find_best(evaluator)
    assert best.optimum.gap <= 0.02
    assert best.optimum.enumerated == best.optimum.modules
    for item in best.baselines.values():
        assert best.optimum.latency_ps <= item.latency_ps


@pytest.mark.slow
@pytest.mark.parametrize("target", ["vta", "vta-ultra96"])
def test_concurrency_pays_on_googlenet(measured: Measured, target: str) -> None:
    best = find_best(measured("googlenet", target))
    assert best.optimum.latency_ps < 0.95 * best.sequential.sequential_ps


@pytest.mark.slow
def test_four_cores_beat_one(measured: Measured) -> None:
    evaluator = measured("resnet18", "vta-x4")
    best = find_best(evaluator)
    places = load_target("vta-x4").places
    assert places.numbers["vta-sliced"] in best.optimum.placement
    assert best.optimum.latency_ps < 0.5 * evaluator.latency_ps(all_npu(evaluator))
