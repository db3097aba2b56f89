"""The recipes of ``docs/house.md`` are followed as they stand; the places it names are there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import nest_tune
from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import FOLDING, run_passes
from compiler_core.plugins.registry import forget_parts
from compiler_core.units.cpu.c.bundles.bundle import expected
from compiler_core.units.cpu.c.convert import convert
from compiler_core.units.cpu.c.convert.options import Options

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "examples" / "digits"
PAGE = (ROOT / "docs" / "house.md").read_text()
RECIPES = dict(re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))
MOST_LINES = 15
FENCE = re.compile(r"```python\n# file: (\S+)\n(.*?)```", flags=re.DOTALL)


@pytest.fixture
def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution beside the packages, made of the files of all recipes and their lines."""
    for name, text in FENCE.findall(PAGE):
        (tmp_path / name).write_text(text)
    info = tmp_path / "recipes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: recipes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[nest_tune.samplers]\nnearest = nearest:NEAREST\n"
        "[nest_tune.metrics]\nsure = sure:SURE\n"
        "[nest_tune.runners]\ncareful = careful:CAREFUL\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    forget_parts()
    yield tmp_path
    forget_parts()
    for name, _ in FENCE.findall(PAGE):
        sys.modules.pop(name.removesuffix(".py"), None)


def test_there_is_a_recipe_for_everything() -> None:
    assert list(RECIPES) == [
        "A pass", "An operator", "A unit", "A sampler", "A metric", "A runner",
    ]  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_short(name: str) -> None:
    (code,) = [text for _, text in FENCE.findall(RECIPES[name])] or [""]
    prose = FENCE.sub("", RECIPES[name])
    assert len([line for line in code.splitlines() if line.strip()]) <= MOST_LINES
    assert len([line for line in prose.splitlines() if line.strip()]) <= MOST_LINES


def test_every_place_is_there() -> None:
    text = PAGE + (ROOT / "CONTRIBUTING.md").read_text()
    places = set(re.findall(r"`((?:\.?[a-z_]+/)+[a-z_]+(?:\.py)?)`", text))
    assert len(places) > 20
    for place in places:
        assert (ROOT / place).exists(), place
    names = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+):([A-Za-z_]+)`", text)
    assert names
    for module, attribute in names:
        assert hasattr(import_module(module), attribute), (module, attribute)


@pytest.mark.usefixtures("followed")
def test_a_pass() -> None:
    nodes = [
        helper.make_node("Neg", ["x"], ["a"], name="first"),
        helper.make_node("Neg", ["a"], ["b"], name="second"),
        helper.make_node("Sigmoid", ["b"], ["y"], name="third"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [value("x", TensorProto.FLOAT, [1, 4])],
        [value("y", TensorProto.FLOAT, [1, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    made = import_module("double_negation").DoubleNegation()
    found = run_passes(import_model(model), (made, *FOLDING))
    assert [node.op for node in found.nodes] == ["Sigmoid"]


@pytest.mark.usefixtures("followed")
def test_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Mean", ["a", "b"], ["y"], name="mean")],
        "net",
        [value(name, TensorProto.FLOAT, [1, 4]) for name in ("a", "b")],
        [value("y", TensorProto.FLOAT, [1, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    found, options = run_passes(import_model(model), FOLDING), Options(precision="float32")
    with pytest.raises(InputError, match="there is no kernel"):
        convert.to_network(found, {}, options)
    monkeypatch.setitem(convert._COMPUTING, "Mean", import_module("mean").mean)
    network = convert.to_network(found, {}, options)
    sample = {"a": np.float32([[1, 2, 3, 4]]), "b": np.float32([[2, 2, 0, -4]])}
    np.testing.assert_array_equal(expected(network, sample)[1][0], [[1.5, 2, 1.5, 0]])


@pytest.mark.usefixtures("followed")
def test_a_sampler_a_metric_and_a_runner(tmp_path: Path) -> None:
    study = nest_tune.Study.start(
        model=DIGITS / "model.onnx",
        target="vta",
        calibration=DIGITS / "calib.npz",
        evaluation=DIGITS / "eval.npz",
        spaces=["partition"],
        sampler="nearest",
        metric="sure",
        runner="careful",
        trials=4,
        storage=f"sqlite:///{tmp_path}/studies.db",
        name="recipes",
    )
    assert len(study.trials) == 4
    assert all(np.isfinite(trial.metrics["accuracy"]) for trial in study.trials)
    assert study.result.settings.runner == "careful"
