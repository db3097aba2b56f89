"""Every node on the CPU has its reason, and reasons are told by cause."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.cpu_causes import (
    CONVERTS,
    PLANNED,
    cause,
    cpu_causes,
    macs_share_npu,
    node_reasons,
    unpriced,
)
from compiler_core.compile.sources import load_model, noise_samples, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.quantize.ir import FloatSegment
from compiler_core.targets.load import load_target


def mixed(synthetic: ModuleType, path: Path) -> Path:
    """Two convolutions around operators that only a CPU has, and one with computed weights."""
    b = synthetic.Builder(4)
    b.conv("x", "a", (16, 8, 3, 3))
    b.add("Sigmoid", ["a"], "s")
    b.add("Mul", ["a", "s"], "m")
    b.conv("m", "c", (16, 16, 1, 1), pads=[0, 0, 0, 0])
    b.add("GlobalMaxPool", ["s"], "g")
    b.add("Conv", ["c", "g"], "p")
    b.add("NonZero", ["p"], "i")
    b.add("Cast", ["i"], "n", to=1)
    path.write_bytes(b.model({"x": [1, 8, 6, 6]}, {"p": [1, 1, 6, 6], "n": [4, None]}))
    return path


def compiled(path: Path, plan: dict[str, str] | None = None) -> CompiledModel:
    model = load_model(path)
    configuration = Configuration(plan=plan or {})
    source = quantize_model(model, configuration, noise_samples(model.graph))
    return compile_model(source, load_target("vta"))


@pytest.fixture
def made(synthetic: ModuleType, tmp_path: Path) -> CompiledModel:
    return compiled(mixed(synthetic, tmp_path / "mixed.onnx"))


def test_every_node_on_the_cpu_has_its_reason_and_is_told_once(made: CompiledModel) -> None:
    on_cpu = {
        node.name
        for segment in made.source.quantized.segments
        if isinstance(segment, FloatSegment)
        for node in segment.priced.nodes
    }
    reasons = node_reasons(made)
    assert set(reasons) == on_cpu
    assert all(reasons.values())
    told = [name for item in cpu_causes(made) for name in item.nodes]
    assert sorted(told) == sorted(on_cpu)


def test_shares_are_of_all_steps(made: CompiledModel) -> None:
    causes = cpu_causes(made)
    layers = made.report.layers
    total = sum(layer.macs for layer in layers)
    convolutions = 36 * (16 * 8 * 9 + 16 * 16)
    computed = 36 * 16
    assert total == convolutions + computed
    assert macs_share_npu(layers) == convolutions / total
    assert sum(item.macs_share for item in causes) == pytest.approx(computed / total)
    time = sum(layer.latency_ms for layer in layers)
    on_cpu = sum(layer.latency_ms for layer in layers if layer.unit == "cpu")
    assert sum(item.latency_share for item in causes) == pytest.approx(on_cpu / time)
    assert any(item.reason == CONVERTS and not item.nodes for item in causes)
    heaviest = causes[0]
    assert heaviest.reason.startswith("The VTA needs constant, finite weights")
    assert "'" not in heaviest.reason
    assert "'" in heaviest.example


def test_a_plan_is_a_reason(synthetic: ModuleType, tmp_path: Path) -> None:
    path = mixed(synthetic, tmp_path / "mixed.onnx")
    first = next(node.name for node in load_model(path).graph.nodes if node.op == "Conv")
    made = compiled(path, {first: "cpu"})
    assert node_reasons(made)[first] == PLANNED


def test_what_has_no_shape_is_named(made: CompiledModel) -> None:
    graph = made.source.model.graph
    operators = {node.name: node.op for node in graph.nodes}
    assert [operators[name] for name in unpriced(graph)] == ["NonZero", "Cast"]


def test_causes_are_without_names() -> None:
    rule = "Windows are small. Conv 'a: b': 9 pixels."
    assert cause(rule, "Conv") == "Windows are small"
    assert cause("Erf is not an operator of the VTA", "Erf") == "Erf is not an operator of the VTA"
    assert cause("Add 'n' reads from the CPU", "Add") == "Add reads from the CPU"
    assert cause("no schedule fits 'c': one output reads 9x9 = 81 pixels; 9 fit", "Conv") == (
        "No schedule fits"
    )
    assert cause("'t' holds NaN or infinity.", "Conv") == "It holds NaN or infinity"
    assert cause("'a' lies in parts of the channels of 'b'", "Conv") == (
        "It lies in parts of the channels of another"
    )
    assert cause("'a' and 'b' lie in different orders", "Add") == (
        "It and another lie in different orders"
    )
