"""Plans whose layers are joined to programs: they take what their compiled models take."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType

import pytest

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import FloatModel, load_model, noise_samples, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.configuration.launches import Launches
from compiler_core.partition.baselines import all_cpu, all_npu
from compiler_core.partition.best import find_best, misfits, prepare, untuned
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.overlaps import overlaps_of
from compiler_core.partition.resolve import assignment_of
from compiler_core.targets.load import load_target
from compiler_core.targets.places import Placement
from compiler_core.targets.target import Target

MODELS = ["residual", "concat", "mixed", "depthwise", "batch_of_two", "two_inputs"]
ONE_CORE, SEVERAL = load_target("vta"), load_target("vta-x2")


def compiled(
    model: FloatModel, evaluator: Evaluator, placement: Placement, target: Target = ONE_CORE
) -> CompiledModel:
    plan = assignment_of(placement, evaluator.groups, evaluator.costs.places)
    configuration = Configuration(plan=plan, launches=Launches(merge=True))
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
    assert best.evaluation.latency_ps < best.optimum.latency_ps
    assert best.optimum.bound_ps <= best.optimum.latency_ps
    built = compiled(model, evaluator, best.evaluation.placement)
    assert built.metrics.latency_ms == pytest.approx(best.evaluation.latency_ms, rel=0.01)
    for item in best.baselines.values():
        assert best.evaluation.latency_ps <= item.latency_ps


def test_only_one_unit_is_looked_at(synthetic: ModuleType, tmp_path: Path) -> None:
    model = load_model(Path(synthetic.write("residual", tmp_path)))
    several = load_target("vta-duo")
    assert overlaps_of(prepare(model.graph, several).groups, several) is None
