"""Models over an int8 core and one of 4-bit weights: bits, weights by place, what lies between."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import load_model, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.package.reader import read_package
from compiler_core.package.writer import write_package
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.ir import IntegerConv, IntegerSegment
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.units.names import CPU

MODELS = ["residual", "concat", "mixed", "depthwise", "batch_of_two"]
TARGET = load_target("vta-duo")
LEVELS = {"vta": 127, "int4": 7}


def compiled(name: str, seed: int, synthetic: ModuleType, folder: Path) -> CompiledModel:
    """Every operator that an NPU can run on one of the two cores, at random."""
    model, draw = load_model(Path(synthetic.write(name, folder))), random.Random(f"{name} {seed}")
    usual = default_assignment(model.graph, arithmetic=target_arithmetic(TARGET))
    plan = {
        node: place if place == CPU else draw.choice(sorted(LEVELS))
        for node, place in usual.items()
    }
    samples = synthetic.samples(name, 8, seed=1)
    own = target_arithmetic(TARGET)
    source = quantize_model(model, Configuration(plan=plan), samples, arithmetic=own)
    return compile_model(source, TARGET)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", MODELS)
def test_any_mix_is_bit_exact_in_memory_and_from_its_package(
    name: str, seed: int, synthetic: ModuleType, tmp_path: Path
) -> None:
    built = compiled(name, seed, synthetic, tmp_path)
    samples = synthetic.samples(name, 2, seed=5)
    assert run_checked(built.executable, Simulator(built.executable), samples)[1] is None
    write_package(built, tmp_path / "out", {})
    package = read_package(tmp_path / "out")
    assert run_checked(package.executable, Simulator(package.executable), samples)[1] is None


@pytest.mark.parametrize("seed", range(3))
def test_where_a_layer_runs_is_its_precision(
    seed: int, synthetic: ModuleType, tmp_path: Path
) -> None:
    built = compiled("residual", seed, synthetic, tmp_path)
    largest = {"vta": 0, "int4": 0}
    for part in built.source.quantized.segments:
        for operator in part.operators if isinstance(part, IntegerSegment) else ():
            if isinstance(operator, IntegerConv):
                assert isinstance(part, IntegerSegment)
                largest[part.unit] = max(largest[part.unit], int(np.abs(operator.weight).max()))
    assert 0 < largest["int4"] <= LEVELS["int4"] < largest["vta"] <= LEVELS["vta"]


def test_neighbours_on_both_cores_hand_tensors_over_at_no_cost(
    synthetic: ModuleType, tmp_path: Path
) -> None:
    built = compiled("residual", 0, synthetic, tmp_path)
    segments = built.source.quantized.segments
    assert {part.unit for part in segments if isinstance(part, IntegerSegment)} == set(LEVELS)
    kinds = {layer.operator for layer in built.report.layers}
    assert "convert" not in kinds
    assert kinds & {"quantize", "dequantize"}
