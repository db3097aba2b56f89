"""Models in the form in which the units of a target run the most of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import nest_tune
from benchmarks.recurrent import recognizer
from compiler_core.compile.cpu_causes import unpriced
from compiler_core.compile.for_target import fitted
from compiler_core.compile.sources import FloatModel, load_model
from compiler_core.graph.recurrence import GATES
from compiler_core.targets.load import load_target
from compiler_core.units.facets.host import host_costs


def cells(model: FloatModel) -> int:
    return sum(node.op in GATES for node in model.graph.nodes)


def saved(path: Path, operator: str, *, steps: int, inputs: int, size: int) -> Path:
    onnx.save(recognizer(operator, steps=steps, inputs=inputs, size=size), path)
    return path


def test_it_depends_on_what_units_run_and_on_what_is_gained(tmp_path: Path) -> None:
    model = load_model(saved(tmp_path / "m.onnx", "LSTM", steps=6, inputs=256, size=128))
    assert cells(model) == 2
    assert cells(fitted(model, load_target("vta"))) == 0
    for whole in ("vta-aim", "aim-gddr6", "host"):
        assert fitted(model, load_target(whole)) is model
    small = load_model(saved(tmp_path / "s.onnx", "LSTM", steps=6, inputs=16, size=8))
    assert fitted(small, load_target("vta")) is small


def test_what_recurs_has_the_price_of_its_nodes(tmp_path: Path) -> None:
    target = load_target("vta")
    graphs = [
        fitted(load_model(saved(tmp_path / f"{n}.onnx", "GRU", steps=n, **cell)), target).graph
        for cell in [{"inputs": 256, "size": 128}]
        for n in (6, 12)
    ]
    prices = []
    for graph in graphs:
        assert unpriced(graph) == ()
        cost = host_costs().of_target(target, graph)
        prices.append([cost(graph, node).seconds for node in graph.nodes if node.op == "Scan"])
    overhead = target.cpu.operator_overhead_s
    for short, long in zip(*prices, strict=True):
        assert long - overhead == pytest.approx(2 * (short - overhead))
        assert short > 6 * 10 * overhead


@pytest.mark.parametrize("operator", ["LSTM", "GRU"])
def test_packages_are_exact_and_faster(tmp_path: Path, operator: str) -> None:
    path = saved(tmp_path / "m.onnx", operator, steps=6, inputs=256, size=128)
    random = np.random.default_rng(0)
    data = {"x": random.standard_normal((8, 6, 1, 256)).astype(np.float32)}
    made = nest_tune.compile(path, "vta", tmp_path / "out", calibration=data)
    assert not made.warnings
    assert made.unpriced == ()
    result = nest_tune.run(made, data, check=True)
    assert result.bit_exact
    whole = load_model(path).graph
    cost = host_costs().of_target(load_target("vta"), whole)
    on_cpu = sum(cost(whole, node).seconds for node in whole.nodes if node.op == operator)
    assert made.metrics.latency_ms < 0.8 * on_cpu * 1e3
    profile = nest_tune.profile_activations(path, data).profile
    with pytest.raises(nest_tune.InputError, match="profile is of a model with digest"):
        profile.check_model(fitted(load_model(path), load_target("vta")).graph)


def test_a_profile_of_the_whole_model_compiles_it_whole(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", "LSTM", steps=6, inputs=256, size=128)
    data = {"x": np.random.default_rng(0).standard_normal((8, 6, 1, 256)).astype(np.float32)}
    nest_tune.profile_activations(path, data, output=tmp_path / "p.npz")
    made = nest_tune.compile(path, "vta", tmp_path / "out", profile=tmp_path / "p.npz")
    assert any(cause.reason.startswith("LSTM is not") for cause in made.cpu_causes)


def test_copies_of_what_is_read_in_two_orders_stay(tmp_path: Path) -> None:
    """They look like views, which folding takes away."""
    random = np.random.default_rng(0)
    weights = {
        "w": random.standard_normal((16, 3, 3, 3)),
        "m": random.standard_normal((20, 20)),
        "v": random.standard_normal((16, 16, 1, 1)),
        "wx": random.standard_normal((1, 768, 320)),
        "wh": random.standard_normal((1, 768, 256)),
    }
    arrays = {name: value.astype(np.float32) / 16 for name, value in weights.items()}
    steps = np.array([6, 1, 320], np.int64)
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        onnx.helper.make_node("MatMul", ["a", "m"], ["b"]),
        onnx.helper.make_node("Conv", ["a", "v"], ["c"]),
        onnx.helper.make_node("Add", ["b", "c"], ["d"]),
        onnx.helper.make_node("Transpose", ["d"], ["t"], perm=[2, 0, 1, 3]),
        onnx.helper.make_node("Reshape", ["t", "steps"], ["s"]),
        onnx.helper.make_node("GRU", ["s", "wx", "wh"], ["y"], hidden_size=256),
    ]
    ports = [
        onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 6, 20]),
        onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None),
    ]
    held = [onnx.numpy_helper.from_array(a, n) for n, a in {**arrays, "steps": steps}.items()]
    graph = onnx.helper.make_graph(nodes, "columns", ports[:1], ports[1:], held)
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx"
    )
    model = load_model(tmp_path / "m.onnx")
    apart = fitted(model, load_target("vta"))
    assert cells(apart) == 0
    copies = [node.name for node in model.graph.nodes if node.op == "Identity"]
    assert copies
    assert {node.name for node in apart.graph.nodes if node.op == "Identity"} >= {*copies}
