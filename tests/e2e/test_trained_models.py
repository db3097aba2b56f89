"""Trained models: bit-exact packages, everything with weights on the NPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler_core.compile.compile import CompiledModel


@pytest.mark.parametrize(
    ("name", "samples", "segments"),
    [
        ("resnet8_cifar10", 16, 0),
        ("resnet20_cifar10", 16, 0),
        ("dscnn_kws", 16, 0),
        ("mnist_cntk", 16, 0),
        pytest.param("kwt1_kws", 16, None, marks=pytest.mark.slow),
        pytest.param("mobilenet_v1_025_224", 2, 0, marks=pytest.mark.slow),
        pytest.param("squeezenet_v1_1", 2, 0, marks=pytest.mark.slow),
    ],
)
def test_compiled_programs_are_bit_exact(
    prepared_model: Callable[[str], Path],
    checked_compile: Callable[..., CompiledModel],
    compiled_outputs: dict[str, Any],
    weighted_on_cpu: Callable[[CompiledModel], list[str]],
    cpu_segments: Callable[[CompiledModel], int],
    qdq_steps: Callable[..., dict[str, float]],
    name: str,
    samples: int,
    segments: int | None,
) -> None:
    folder = prepared_model(name)
    with np.load(folder / "calib.npz") as calibration, np.load(folder / "eval.npz") as evaluation:
        ranges = {"x": calibration["x"][:64]}
        inputs = {"x": evaluation["x"][:samples]}
    compiled = checked_compile(folder / "model.onnx", ranges, inputs)
    for array in compiled_outputs.values():
        assert not np.array_equal(array[0], array[1])  # outputs vary with the input
    assert not weighted_on_cpu(compiled)
    assert segments is None or cpu_segments(compiled) == segments
    assert max(qdq_steps(compiled, inputs).values()) <= 1
    # Of layers in one program one may begin within the share of the one before.
    layers = compiled.report.layers
    assert sum(layer.cycles for layer in layers) >= sum(layer.bound_cycles for layer in layers)


@pytest.mark.slow
def test_detector_without_labels(
    prepared_model: Callable[[str], Path],
    checked_compile: Callable[..., CompiledModel],
    qdq_steps: Callable[..., dict[str, float]],
) -> None:
    folder = prepared_model("ultraface_rfb320")
    random = np.random.default_rng(0)
    x: Any = random.uniform(-1, 1, (3, 3, 240, 320)).astype("f4")
    compiled = checked_compile(folder / "model.onnx", {"x": x}, {"x": x[:2]})
    assert compiled.metrics.launches > 30
    # Behind the int8 tensors are a softmax and the decoding of boxes, in float.
    steps = qdq_steps(compiled, {"x": x})
    assert steps["scores"] <= 1 / 64
    assert steps["boxes"] <= 1 / 64
