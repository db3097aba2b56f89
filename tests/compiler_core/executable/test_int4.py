"""Models on a core with weights of 4 bits: bits, weights, packages, plans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import load_model, quantize_model
from compiler_core.configuration.configuration import Configuration, Scheme
from compiler_core.configuration.launches import LaunchSettings
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.graph.ir import Node
from compiler_core.package.reader import read_package
from compiler_core.package.writer import write_package
from compiler_core.partition.best import default_plan, prepare
from compiler_core.quantize.arithmetic import arithmetic_of
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.ir import IntegerConv, IntegerSegment
from compiler_core.quantize.scheme import QuantizationScheme, WeightRounding
from compiler_core.targets.load import load_target
from compiler_core.targets.places import ON_CPU

MODELS = ["residual", "concat", "mixed", "depthwise", "batch_of_two"]
TARGET = load_target("vta-int4")
SCHEMES = {
    "tensor": QuantizationScheme(),
    "channel": QuantizationScheme(granularity=Granularity.CHANNEL, bias_correction=True),
    "gptq": QuantizationScheme(
        granularity=Granularity.CHANNEL, weight_rounding=WeightRounding.GPTQ
    ),
}


def compiled(
    name: str, scheme: str, synthetic: ModuleType, folder: Path, *, merge: bool = False
) -> CompiledModel:
    model = load_model(Path(synthetic.write(name, folder)))
    samples = synthetic.samples(name, 8, seed=1)
    plan = default_plan(model.graph, TARGET)
    own_scheme, launches = Scheme.of({}, SCHEMES[scheme]), LaunchSettings(merge=merge)
    configuration = Configuration(plan=plan, scheme=own_scheme, launches=launches)
    own = arithmetic_of(TARGET.npu)
    return compile_model(quantize_model(model, configuration, samples, arithmetic=own), TARGET)


def convolutions(built: CompiledModel) -> list[IntegerConv]:
    return [
        operator
        for part in built.source.quantized.segments
        if isinstance(part, IntegerSegment)
        for operator in part.operators
        if isinstance(operator, IntegerConv)
    ]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", MODELS)
def test_models_are_bit_exact_with_weights_of_4_bits(
    name: str, scheme: str, synthetic: ModuleType, tmp_path: Path
) -> None:
    built = compiled(name, scheme, synthetic, tmp_path)
    found = convolutions(built)
    assert found
    assert all(np.abs(item.weight).max() <= 7 for item in found)
    samples = synthetic.samples(name, 4, seed=5)
    assert run_checked(built.executable, Simulator(built.executable), samples)[1] is None
    write_package(built, tmp_path / "out", {})
    package = read_package(tmp_path / "out")
    assert run_checked(package.executable, Simulator(package.executable), samples)[1] is None


@pytest.mark.parametrize("name", ["residual", "depthwise"])
def test_layers_that_follow_one_another_are_one_program(
    name: str, synthetic: ModuleType, tmp_path: Path
) -> None:
    built = compiled(name, "channel", synthetic, tmp_path, merge=True)
    apart = compiled(name, "channel", synthetic, tmp_path)
    assert built.metrics.latency_ms < apart.metrics.latency_ms
    samples = synthetic.samples(name, 4, seed=5)
    assert run_checked(built.executable, Simulator(built.executable), samples)[1] is None


@pytest.mark.parametrize("name", ["residual", "depthwise"])
def test_plans_cost_what_the_compiled_model_takes(
    name: str, synthetic: ModuleType, tmp_path: Path
) -> None:
    built = compiled(name, "tensor", synthetic, tmp_path)
    evaluator = prepare(load_model(Path(synthetic.write(name, tmp_path))).graph, TARGET)
    here = evaluator.costs.places.numbers["vta"]
    placement = tuple(here if here in cost.at else ON_CPU for cost in evaluator.costs.groups)
    assert here in placement
    expected = evaluator.latency_ps(placement) / 1e9
    assert built.metrics.latency_ms == pytest.approx(expected, rel=0.05)


def test_narrow_concatenations_are_left_to_the_cpu(synthetic: ModuleType, tmp_path: Path) -> None:
    model = load_model(Path(synthetic.write("concat", tmp_path)))
    nodes: list[Node] = [node for node in model.graph.nodes if node.op == "Concat"]
    usual, wide = arithmetic_of(load_target("vta").npu), arithmetic_of(TARGET.npu)
    left = [node for node in nodes if usual.unsupported(model.graph, node) is None]
    assert left, "a concatenation of 16 channels that the usual core takes"
    reasons = [wide.unsupported(model.graph, node) for node in left]
    assert any(reason and "vectors of 32 channels" in reason for reason in reasons)


def test_traits_say_what_the_weights_are() -> None:
    own = arithmetic_of(TARGET.npu)
    assert (own.traits.channel_block, own.traits.weights, own.traits.weight_levels) == (
        32,
        "int4",
        7,
    )
    assert own.general == replace(own.general)
    assert own.general.traits == own.traits
    assert arithmetic_of(load_target("vta").npu).traits.weight_levels == 127
