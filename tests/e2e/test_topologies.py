"""Well-known topologies with random weights: all on the NPU, bit-exact, compiled in time."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import load_model, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.targets.load import load_target


@pytest.fixture(scope="module")
def topologies() -> ModuleType:
    path = Path(__file__).with_name("topologies.py")
    spec = importlib.util.spec_from_file_location("topologies", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "size", "samples"),
    [
        ("lenet5", 28, 16),
        pytest.param("resnet18", 224, 2, marks=pytest.mark.slow),
        pytest.param("resnet50", 224, 2, marks=pytest.mark.slow),
        pytest.param("resnext50", 224, 2, marks=pytest.mark.slow),
        pytest.param("googlenet", 224, 2, marks=pytest.mark.slow),
    ],
)
def test_topology_is_bit_exact(
    synthetic: ModuleType,
    topologies: ModuleType,
    checked_compile: Callable[..., CompiledModel],
    compiled_outputs: dict[str, Any],
    weighted_on_cpu: Callable[[CompiledModel], list[str]],
    cpu_segments: Callable[[CompiledModel], int],
    qdq_steps: Callable[..., dict[str, float]],
    tmp_path: Path,
    name: str,
    size: int,
    samples: int,
) -> None:
    path = tmp_path / f"{name}.onnx"
    path.write_bytes(topologies.TOPOLOGIES[name](synthetic))
    channels = 1 if name == "lenet5" else 3
    random = np.random.default_rng(0)
    x = random.normal(size=(samples, channels, size, size)).astype("f4")
    compiled = checked_compile(path, {"x": x}, {"x": x})
    for array in compiled_outputs.values():
        assert not np.array_equal(array[0], array[1])  # outputs vary with the input
    assert not weighted_on_cpu(compiled)
    assert cpu_segments(compiled) == 0
    assert max(qdq_steps(compiled, {"x": x}).values()) <= 1
    for layer in compiled.report.layers:
        assert layer.cycles >= layer.bound_cycles


@pytest.mark.slow
def test_resnet50_compiles(synthetic: ModuleType, topologies: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "resnet50.onnx"
    path.write_bytes(topologies.TOPOLOGIES["resnet50"](synthetic))
    x = np.random.default_rng(0).normal(size=(2, 3, 224, 224)).astype("f4")
    source = quantize_model(load_model(path), Configuration(), {"x": x})
    compiled = compile_model(source, load_target("vta"))
    assert 15_000_000 < compiled.metrics.npu_cycles < 25_000_000
