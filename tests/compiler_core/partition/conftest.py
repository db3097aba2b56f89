"""Models from the onnx package, and cost tables of random numbers that need no simulation."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import onnx
import pytest

from compiler_core.compile.sources import load_model
from compiler_core.graph.ir import Graph
from compiler_core.partition.costs import (
    CostTable,
    CpuCost,
    CpuPart,
    Form,
    GroupCost,
    LaunchOrder,
    TensorCost,
    UnitCost,
)
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.group_graph import GroupGraph
from compiler_core.partition.groups import build_groups
from compiler_core.system.jobs import Machinery
from compiler_core.system.positions import Positions
from compiler_core.targets.load import load_target
from compiler_core.targets.places import Places, places_of
from compiler_core.targets.target import Unit
from compiler_core.units.launches import Launch

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


@pytest.fixture(scope="session")
def light_groups() -> Callable[[str], GroupGraph]:
    """Groups of a model that the onnx package carries: squeezenet, resnet50, inception_v1."""
    known: dict[str, GroupGraph] = {}

    def groups(name: str) -> GroupGraph:
        if name not in known:
            path = LIGHT / f"light_{name}.onnx"
            if not path.exists():
                pytest.skip("onnx package: no data of backend/test/data/light")
            known[name] = build_groups(load_model(path).graph)
        return known[name]

    return groups


@pytest.fixture(scope="session")
def synthetic_graph(
    synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Graph]:
    """A small seeded model, imported."""
    folder = tmp_path_factory.mktemp("synthetic")
    return lambda name: load_model(synthetic.write(name, folder)).graph


@pytest.fixture(scope="session")
def random_evaluator() -> Callable[..., Evaluator]:
    """An evaluator with costs drawn from a seed: ``(groups, seed, cores=1)``."""

    def make(groups: GroupGraph, seed: int, cores: int = 1) -> Evaluator:
        draw = random.Random(seed)
        places = places_of((Unit("vta", load_target("vta").npu, cores),))
        costs = tuple(_group(groups, index, draw, places) for index in range(len(groups.groups)))
        tensors = tuple(
            TensorCost((draw.randint(1, 4000), draw.randint(1, 4000)), 1.0) for _ in groups.tensors
        )
        launch = draw.randint(0, 300)
        views = {n: draw.randint(0, 500) for chain in groups.views_of.values() for n in chain}
        seen = Positions(groups.graph)
        table = CostTable(
            costs,
            tensors,
            places,
            Machinery.alike(cores),
            (Form("float", 0), Form("int8", 0)),
            tuple(int(place.unit >= 0) for place in places.all),
            launch,
            1e12,
            views,
            {name: seen.of_node(name) for name in views},
            tuple(seen.of_values(tensor.name) for tensor in groups.tensors),
        )
        return Evaluator(groups, table)

    return make


def _group(groups: GroupGraph, index: int, draw: random.Random, places: Places) -> GroupCost:
    group = groups.groups[index]
    cpu = CpuCost((CpuPart(draw.randint(1, 20_000), group.reads, ()),), 1.0, 8, 4)
    at: dict[int, UnitCost] = {}
    if group.npu_reason is None:
        run = draw.randint(1, 8000)
        launch = Launch(
            group.name, "task", run, run, 2.0, 10, 10, draw.randint(0, 10**6), 1000, 5, 16
        )
        programs = () if group.operator == "Concat" else (launch,)
        order = tuple(LaunchOrder(group.reads, (), index) for _ in programs)
        whole = UnitCost(programs, programs, order)
        at = {n: whole for n, p in enumerate(places.all) if p.unit == 0 and not p.is_cut}
        if "vta-sliced" in places.names and programs and draw.random() < 0.7:
            cut = (Launch(group.name, "task", 1, run // 2, 3.0, 12, 12, 1000, 1000, 5, 16),)
            at[places.numbers["vta-sliced"]] = UnitCost(cut, cut, order, is_cut=True)
    return GroupCost(cpu, at)
