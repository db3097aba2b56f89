"""Plans whose layers are joined to programs: they take what their compiled models take."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType

import pytest

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import FloatModel, load_model, noise_samples, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.configuration.launches import LaunchSettings
from compiler_core.partition.baselines import all_cpu, all_npu
from compiler_core.partition.best import find_best, prepare, untuned
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.legal import misfits
from compiler_core.partition.overlaps import overlaps_of
from compiler_core.partition.resolve import assignment_of
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.targets.places import Placement
from compiler_core.targets.target import Target

MODELS = ["residual", "concat", "mixed", "depthwise", "batch_of_two", "two_inputs"]
ONE_CORE, SEVERAL = load_target("vta"), load_target("vta-x2")


def compiled(
    model: FloatModel, evaluator: Evaluator, placement: Placement, target: Target = ONE_CORE
) -> CompiledModel:
    plan = assignment_of(placement, evaluator.groups, evaluator.costs.places)
    configuration = Configuration(plan=plan, launches=LaunchSettings(merge=True))
    return compile_model(quantize_model(model, configuration, noise_samples(model.graph)), target)


def prepared(
    synthetic: ModuleType, folder: Path, name: str, target: Target = ONE_CORE
) -> tuple[FloatModel, Evaluator]:
    model = load_model(Path(synthetic.write(name, folder)))
    rough = prepare(model.graph, target)
    quantized = compiled(model, rough, all_npu(rough), target).source.quantized
    return model, prepare(
        model.graph,
        target,
        quantized=quantized,
        joins_layers=True,
        overlaps=lambda groups: overlaps_of(groups, target, quantized=quantized),
    )


@pytest.mark.parametrize("target", [ONE_CORE, SEVERAL], ids=lambda target: target.name)
@pytest.mark.parametrize("name", MODELS)
def test_any_plan_takes_what_its_compiled_model_takes(
    synthetic: ModuleType, tmp_path: Path, name: str, target: Target
) -> None:
    model, evaluator = prepared(synthetic, tmp_path, name, target)
    draw = random.Random(3)
    placements = {untuned(evaluator), all_npu(evaluator), all_cpu(evaluator)}
    placements |= {tuple(draw.choice(units) for units in evaluator.choices) for _ in range(3)}
    for placement in sorted(placements):
        if misfits(evaluator, placement):
            continue
        built = compiled(model, evaluator, placement, target)
        found = evaluator.evaluate(placement)
        # Ranges at new borders may prove a pass needless or not: whole passes, a few cycles.
        assert built.metrics.latency_ms == pytest.approx(found.latency_ms, rel=0.01)
        assert built.metrics.npu_cycles == pytest.approx(found.npu_cycles, rel=0.05)
        assert built.metrics.launches == found.launches
        assert found.latency_ps <= evaluator.latency_ps(placement) * 1.01


def test_the_best_plan_counts_overlaps_and_no_baseline_beats_it(
    synthetic: ModuleType, tmp_path: Path
) -> None:
    model, evaluator = prepared(synthetic, tmp_path, "residual")
    best = find_best(evaluator)
    assert best.evaluation.latency_ps == best.optimum.latency_ps
    assert best.bound_ps < best.optimum.bound_ps <= best.optimum.latency_ps
    assert best.evaluation.latency_ps < evaluator.latency_ps(best.evaluation.placement)
    built = compiled(model, evaluator, best.evaluation.placement)
    assert built.metrics.latency_ms == pytest.approx(best.evaluation.latency_ms, rel=0.01)
    for item in best.baselines.values():
        assert best.evaluation.latency_ps <= item.latency_ps


@pytest.mark.parametrize("target", ["vta-duo", "vta-aim"])
@pytest.mark.parametrize("name", ["residual", "depthwise", "mixed"])
def test_plans_of_units_of_several_kinds_count_overlaps(
    synthetic: ModuleType, tmp_path: Path, name: str, target: str
) -> None:
    machine, model = load_target(target), load_model(Path(synthetic.write(name, tmp_path)))
    evaluator = prepare(
        model.graph,
        machine,
        joins_layers=True,
        packaged=True,
        overlaps=lambda groups: overlaps_of(groups, machine),
    )
    draw = random.Random(5)
    placements = {untuned(evaluator), find_best(evaluator).evaluation.placement}
    placements |= {tuple(draw.choice(units) for units in evaluator.choices) for _ in range(2)}
    arithmetic = target_arithmetic(machine)
    for placement in sorted(placements):
        if misfits(evaluator, placement):
            continue
        plan = assignment_of(placement, evaluator.groups, evaluator.costs.places)
        source = quantize_model(
            model, Configuration(plan=plan), noise_samples(model.graph), arithmetic=arithmetic
        )
        built = compile_model(source, machine).metrics
        found = evaluator.evaluate(placement)
        assert built.latency_ms == pytest.approx(found.latency_ms, rel=0.01)
        assert built.launches == found.launches
