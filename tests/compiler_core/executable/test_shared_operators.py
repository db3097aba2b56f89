"""Operators shared by an int8 core and one of 4-bit weights: to the bit in packages, to the
picosecond in plans, and again from their lock files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import FloatModel, load_model, noise_samples, quantize_model
from compiler_core.configuration.configuration import (
    Configuration,
    Scheme,
    configuration_text,
    parse_configuration,
)
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.package.reader import read_package
from compiler_core.package.writer import package_files, write_package
from compiler_core.partition.best import complete, planned_assignment, prepare
from compiler_core.partition.plan import Plan
from compiler_core.partition.resolve import resolve_plan
from compiler_core.partition.shared_operators import without_shares
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.channel_classes import channels_of, is_convolution
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.ir import IntegerConv, IntegerSegment
from compiler_core.quantize.qdq import qdq_model
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.scheme import QuantizationScheme, WeightRounding
from compiler_core.quantize.unit_arithmetics import UnitArithmetics
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.units.names import shares_of
from tests.compiler_core.partition.agreement import require_agreement
from tests.cut_networks import CutNetwork, random_shares

TARGET = load_target("vta-duo")
UNITS = target_arithmetic(TARGET)
assert isinstance(UNITS, UnitArithmetics)
SCHEMES = (
    QuantizationScheme(),
    QuantizationScheme(granularity=Granularity.CHANNEL, bias_correction=True),
    QuantizationScheme(
        granularity=Granularity.CHANNEL, weight_rounding=WeightRounding.GPTQ, rescaling=True
    ),
)


def model_of(seed: int, folder: Path, operators: int = 5) -> FloatModel:
    path = folder / f"m{seed}.onnx"
    path.write_bytes(CutNetwork(seed).grow(operators))
    return load_model(path)


def plan_of(model: FloatModel, seed: int) -> dict[str, str]:
    usual = default_assignment(model.graph, arithmetic=UNITS)
    plan = random_shares(model.graph, UNITS, usual, seed)
    assert any(map(shares_of, plan.values()))
    return plan


def compiled(
    model: FloatModel, configuration: Configuration, *, merge: bool = False
) -> CompiledModel:
    samples = noise_samples(model.graph)
    source = quantize_model(model, configuration, samples, arithmetic=UNITS)
    launches = replace(source.configuration.launches, merge=merge)
    known = replace(source.configuration, launches=launches)
    return compile_model(replace(source, configuration=known), TARGET)


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(s, marks=pytest.mark.slow) for s in range(2, 12))]
)
def test_packages_are_bit_exact_and_come_again_from_their_configuration(
    seed: int, merge: bool, tmp_path: Path
) -> None:
    model = model_of(seed, tmp_path)
    scheme = Scheme.of({}, SCHEMES[seed % len(SCHEMES)])
    built = compiled(model, Configuration(scheme, plan_of(model, seed)), merge=merge)
    samples = {"x": noise_samples(model.graph)["x"][:2]}
    write_package(built, tmp_path / "out", {})
    package = read_package(tmp_path / "out")
    assert run_checked(package.executable, Simulator(package.executable), samples)[1] is None
    text = configuration_text(built.configuration).encode()
    again = compiled(model, parse_configuration(text, "lock"), merge=merge)
    assert package_files(again, {}) == package_files(built, {})


@pytest.mark.parametrize("name", ["vta", "vta-x2", "vta-int4"])
def test_one_unit_takes_operators_in_shares_too(name: str, tmp_path: Path) -> None:
    target, model = load_target(name), model_of(1, tmp_path)
    own, place = target_arithmetic(target), "vta/32+vta/{}"
    plan = default_assignment(model.graph, arithmetic=own)
    for node in model.graph.nodes:
        total = channels_of(model.graph, node.output)
        if is_convolution(model.graph, node) and total is not None and total > 32:
            plan[node.name] = place.format(total - 32)
    assert any(map(shares_of, plan.values()))
    samples = noise_samples(model.graph)
    source = quantize_model(model, Configuration(plan=plan), samples, arithmetic=own)
    known = replace(
        source.configuration, launches=replace(source.configuration.launches, merge=False)
    )
    built = compile_model(replace(source, configuration=known), target)
    few = {"x": samples["x"][:2]}
    assert run_checked(built.executable, Simulator(built.executable), few)[1] is None
    shared = without_shares(Plan(plan), model.graph, own)
    evaluator = prepare(shared.graph, target, packaged=True)
    placement = complete(evaluator, resolve_plan(shared.plan, evaluator.groups, target.places))
    require_agreement(built, evaluator, evaluator.evaluate(placement), name)


def test_each_core_has_its_share_in_its_precision(tmp_path: Path) -> None:
    model = model_of(3, tmp_path)
    built = compiled(model, Configuration(plan=plan_of(model, 3)))
    for part in built.source.quantized.segments:
        for operator in part.operators if isinstance(part, IntegerSegment) else ():
            if isinstance(operator, IntegerConv) and "/int4" in operator.name:
                assert isinstance(part, IntegerSegment)
                assert part.unit == "int4"
                assert abs(operator.weight).max() <= 7


@pytest.mark.parametrize(
    "seed", [0, 4, *(pytest.param(s, marks=pytest.mark.slow) for s in range(20, 28))]
)
def test_packages_take_as_long_as_their_plans_promise(seed: int, tmp_path: Path) -> None:
    model = model_of(seed, tmp_path)
    named = plan_of(model, seed)
    shared = without_shares(Plan(named), model.graph, UNITS)
    evaluator = prepare(shared.graph, TARGET, packaged=True)
    placement = complete(evaluator, resolve_plan(shared.plan, evaluator.groups, TARGET.places))
    plan = planned_assignment(Plan(named), model.graph, TARGET).units
    assert {name: plan[name] for name in named} == named
    found = compiled(model, Configuration(plan=plan))
    require_agreement(found, evaluator, evaluator.evaluate(placement), str(seed))


def test_the_qdq_model_computes_the_same(synthetic: ModuleType, tmp_path: Path) -> None:
    b = synthetic.Builder(8)
    b.conv("x", "c", (96, 8, 3, 3))
    b.add("Relu", ["c"], "r")
    b.conv("r", "d", (96, 1, 3, 3), group=96)
    b.conv("d", "y", (10, 96, 1, 1))
    path = tmp_path / "m.onnx"
    path.write_bytes(b.model({"x": ["n", 8, 6, 6]}, {"y": ["n", 10, 6, 6]}))
    model, samples = load_model(path), {"x": b.random.normal(size=(4, 8, 6, 6)).astype("f4")}
    plan = dict.fromkeys(("n_c", "n_d"), "vta/32+int4/64")
    scheme = Scheme.of({}, SCHEMES[2])
    source = quantize_model(model, Configuration(scheme, plan), samples, arithmetic=UNITS)
    session = onnxruntime.InferenceSession(qdq_model(source.quantized).SerializeToString())
    for first in range(4):
        feed = {"x": samples["x"][first : first + 1]}
        ours = ReferenceExecutor(source.quantized).run(feed)["y"]
        np.testing.assert_array_equal(session.run(None, feed)[0], ours)
