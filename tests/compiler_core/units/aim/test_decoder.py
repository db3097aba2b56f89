"""One block of a decoder with its cache of keys and values: any placement takes what its plan
promised, and the best one takes the layers that pay."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import pytest

from compiler_core.compile.sources import FloatModel, load_model, noise_samples
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.graph.sampling import runs
from compiler_core.graph.session import FloatSession
from compiler_core.package.reader import read_package
from compiler_core.package.writer import write_package
from compiler_core.partition.baselines import all_cpu
from compiler_core.partition.best import find_best, prepare
from compiler_core.partition.evaluate import Evaluator
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.targets.load import load_target
from tests.compiler_core.partition.agreement import compiled, require_agreement
from tests.compiler_core.units.aim.damaged_parts import require_refused, written_again

EXAMPLE = Path(__file__).resolve().parents[4] / "examples" / "decoder" / "make.py"


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("decoder_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A frozen dataclass looks its module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def decoder(folder: Path, width: int, vocabulary: int, heads: int, window: int) -> FloatModel:
    """A block, and scores of all words."""
    make = example()
    shape = make.Shape(vocabulary, width, 1, heads, 2 * width, window)
    head = np.random.default_rng(0).normal(size=(width, vocabulary), scale=width**-0.5)
    onnx.save(make.Builder(shape, 0).model(head.astype(np.float32)), folder / "m.onnx")
    return load_model(folder / "m.onnx")


@pytest.mark.parametrize("seed", range(5))
def test_any_placement_takes_what_its_plan_promised(seed: int, tmp_path: Path) -> None:
    model, target = decoder(tmp_path, 48, 40, 3, 5), load_target("vta-aim")
    evaluator = prepare(model.graph, target, packaged=True)
    random = np.random.default_rng(seed)
    placement = tuple(int(random.choice(own)) for own in evaluator.choices)
    built = compiled(model, evaluator, placement, target)
    require_agreement(built, evaluator, evaluator.evaluate(placement), str(placement))
    data = noise_samples(model.graph, 2)
    assert run_checked(built.executable, Simulator(built.executable), data)[1] is None


def test_the_best_plan_takes_the_layers_that_pay(tmp_path: Path) -> None:
    model, target = decoder(tmp_path, 512, 2048, 8, 64), load_target("vta-aim")
    evaluator = prepare(model.graph, target, packaged=True)
    names = target.places.names
    best = find_best(evaluator).optimum.placement
    found = {g.name: names[p] for g, p in zip(evaluator.groups.groups, best, strict=True)}
    on_aim = {name.rsplit(".", 1)[-1] for name, place in found.items() if place == "aim"}
    large = {"output", "gate", "up", "down", "head", "scores", "mixed"}
    assert large <= on_aim <= large | {"query", "key", "value"}
    without = replace(
        evaluator.costs,
        groups=tuple(
            replace(own, at={at: c for at, c in own.at.items() if names[at] != "aim"})
            for own in evaluator.costs.groups
        ),
    )
    others = Evaluator(evaluator.groups, without)
    latency = evaluator.evaluate(best).latency_ps
    assert latency < 0.55 * evaluator.evaluate(all_cpu(evaluator)).latency_ps
    assert latency < 0.6 * find_best(others).optimum.latency_ps
    built = compiled(model, evaluator, best, target)
    require_agreement(built, evaluator, evaluator.evaluate(best), "the best plan")


def residual_model(rows: int = 1, *, relu: bool = False, later: bool = False) -> Any:
    """Two dense layers whose results meet, and one behind; ``later``: what they meet is computed
    by the CPU between them."""
    random = np.random.default_rng(4)
    sizes = {"a": (20, 24), "b": (20, 24), "c": (24, 20)}
    weights = [
        onnx.numpy_helper.from_array((random.standard_normal(s) / 4).astype(np.float32), n)
        for n, s in sizes.items()
    ]
    nodes = [
        oh.make_node("MatMul", ["x", "a"], ["l"], "left"),
        oh.make_node("MatMul", ["x", "b"], ["r"], "right"),
        *([oh.make_node("Tanh", ["r"], ["t"], "bend")] if later else []),
        oh.make_node("Add", ["t" if later else "r", "l"], ["s"], "sum"),
        *([oh.make_node("Relu", ["s"], ["p"], "relu")] if relu else []),
        oh.make_node("MatMul", ["p" if relu else "s", "c"], ["d"], "down"),
        oh.make_node("Add", ["d", "x"], ["y"], "residual"),
    ]
    graph = oh.make_graph(
        nodes,
        "g",
        [oh.make_tensor_value_info("x", 1, [rows, 20])],
        [oh.make_tensor_value_info("y", 1, [rows, 20])],
        weights,
    )
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("target_name", ["vta-aim", "aim-gddr6"])
@pytest.mark.parametrize("options", [{}, {"rows": 3, "relu": True}, {"later": True}])
def test_residuals_are_added_where_results_leave(
    target_name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    onnx.save(residual_model(**options), tmp_path / "m.onnx")
    model, target = load_model(tmp_path / "m.onnx"), load_target(target_name)
    evaluator = prepare(model.graph, target, packaged=True)
    at = evaluator.costs.places.numbers["aim"]
    placement = tuple(at if at in choices else 0 for choices in evaluator.choices)
    built = compiled(model, evaluator, placement, target)
    require_agreement(built, evaluator, evaluator.evaluate(placement), target_name)
    data = noise_samples(model.graph, 3)
    outputs, difference = run_checked(built.executable, Simulator(built.executable), data)
    assert difference is None
    known = FloatSession(model.graph).run(next(runs(model.graph, data)))["y"]
    assert np.abs(outputs["y"][: len(known)] - known).max() < 0.1
    untuned = ReferenceExecutor(built.source.quantized).run(data)
    assert untuned["y"].tobytes() == outputs["y"].tobytes()
    write_package(built, tmp_path / "package", {})
    again = read_package(tmp_path / "package").executable
    read, difference = run_checked(again, Simulator(again, threads=2), data)
    assert difference is None
    assert read["y"].tobytes() == outputs["y"].tobytes()
    sums = [work for s in again.unit_segments["aim"] for work in s.work if work.added]
    assert [work.sum for work in sums] == (
        [] if target_name == "aim-gddr6" else ["sum", "residual"]
    )


def test_damaged_additions_are_refused(tmp_path: Path) -> None:
    onnx.save(residual_model(), tmp_path / "m.onnx")
    model, target = load_model(tmp_path / "m.onnx"), load_target("vta-aim")
    evaluator = prepare(model.graph, target, packaged=True)
    at = evaluator.costs.places.numbers["aim"]
    placement = tuple(at if at in choices else 0 for choices in evaluator.choices)
    executable = compiled(model, evaluator, placement, target).executable
    entry, files = written_again(executable)
    changes = (
        (b'"added": "l"', b'"added": ""', "not told whole"),
        (b'"added": "l"', b'"added": "q"', "which nobody computes"),
        (b'"sum": "sum"', b'"sum": ""', "not told whole"),
        (b'"adds": true', b'"adds": false', "not the|not told whole"),
    )
    require_refused(entry, files, changes)
