"""Attention that is written sequence first runs on the NPU as it lies: nothing is moved around
it, and bits are those of the reference."""

from __future__ import annotations

import pytest

from compiler_core.compile.compile import compile_model
from compiler_core.compile.sources import FloatModel, noise_samples, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from tests.compiler_core.graph.passes.test_leading_batch import attention


@pytest.mark.parametrize(
    ("tokens", "flat", "scale"), [(12, True, "scores"), (16, False, "q"), (5, True, "q")]
)
def test_nothing_is_moved(tokens: int, flat: bool, scale: str) -> None:
    graph = simplify(import_model(attention(tokens, 2, 16, scale=scale, flat=flat)))
    model, chip = FloatModel("attention", "0" * 64, graph), load_target("vta")
    samples = noise_samples(graph)
    source = quantize_model(model, Configuration(), samples, arithmetic=target_arithmetic(chip))
    built = compile_model(source, chip)
    on_cpu = [layer.operator for layer in built.report.layers if layer.unit == "cpu"]
    assert on_cpu == ["quantize", "int8 Softmax", "dequantize"]
    executable = built.executable
    assert run_checked(executable, Simulator(executable), samples)[1] is None
