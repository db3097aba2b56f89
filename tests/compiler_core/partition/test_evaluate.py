"""Plans of a launch per layer on the system timeline: as compiled, by hand, and in time."""

from __future__ import annotations

import random
from collections.abc import Callable
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
from compiler_core.partition.group_graph import GroupGraph
from compiler_core.partition.legal import misfits
from compiler_core.partition.resolve import assignment_of
from compiler_core.targets.load import load_target
from compiler_core.targets.places import Placement
from compiler_core.units.cpu.cost import node_cost

Groups = Callable[[str], GroupGraph]
Random = Callable[..., Evaluator]

MODELS = [
    "residual",
    "concat",
    "mixed",
    "depthwise",
    "batch_of_two",
    "float_only",
    "two_inputs",
    "moved",
]


@pytest.fixture(scope="module")
def prepared(
    synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[FloatModel, Evaluator]]:
    """A small model and its evaluator, with the quantization of everything on the NPU."""
    folder = tmp_path_factory.mktemp("evaluate")
    known: dict[str, tuple[FloatModel, Evaluator]] = {}

    def make(name: str) -> tuple[FloatModel, Evaluator]:
        if name not in known:
            model = load_model(Path(synthetic.write(name, folder)))
            target = load_target("vta")
            rough = prepare(model.graph, target)
            quantized = compiled(model, rough, all_npu(rough)).source.quantized
            known[name] = model, prepare(model.graph, target, quantized=quantized)
        return known[name]

    return make


def compiled(model: FloatModel, evaluator: Evaluator, placement: Placement) -> CompiledModel:
    plan = assignment_of(placement, evaluator.groups, evaluator.costs.places)
    configuration = Configuration(plan=plan, launches=LaunchSettings(merge=False))
    source = quantize_model(model, configuration, noise_samples(model.graph))
    return compile_model(source, load_target("vta"))


@pytest.mark.parametrize("name", MODELS)
def test_single_unit_plans_take_what_the_parts_take(
    prepared: Callable[[str], tuple[FloatModel, Evaluator]], name: str
) -> None:
    model, evaluator = prepared(name)
    target = load_target("vta")
    on_cpu = sum(
        round(node_cost(target.cpu, model.graph, node).seconds * 1e12) for node in model.graph.nodes
    )
    assert evaluator.latency_ps(all_cpu(evaluator)) == on_cpu
    built = compiled(model, evaluator, all_npu(evaluator))
    parts = sum(layer.latency_ms for layer in built.report.layers)
    found = evaluator.evaluate(all_npu(evaluator))
    # A sample of a batch that lies in a concatenation begins elsewhere than in a program of its
    # own, so that a burst more may be cut.
    cut = {"rel": 1e-3} if name == "batch_of_two" else {"abs": 1e-8}
    assert found.sequential_ps / 1e9 == pytest.approx(parts, **cut)
    assert found.npu_cycles == pytest.approx(built.metrics.npu_cycles, rel=cut.get("rel", 0))
    assert found.energy_mj == pytest.approx(built.metrics.energy_mj, rel=1e-3)
    assert found.latency_ps <= found.sequential_ps


@pytest.mark.parametrize("name", MODELS)
def test_any_plan_takes_what_its_compiled_model_takes(
    prepared: Callable[[str], tuple[FloatModel, Evaluator]], name: str
) -> None:
    model, evaluator = prepared(name)
    draw = random.Random(3)
    placements = {untuned(evaluator), all_npu(evaluator)}
    placements |= {tuple(draw.choice(units) for units in evaluator.choices) for _ in range(4)}
    for placement in sorted(placements):
        built = compiled(model, evaluator, placement)
        if misfits(evaluator, placement):
            continue
        found = built.timeline
        expected = evaluator.evaluate(placement)
        # Ranges at new borders may prove a pass needless or not: whole passes, a few cycles.
        assert found.latency_ms == pytest.approx(expected.latency_ms, rel=0.01)
        assert built.metrics.latency_ms == found.latency_ms
        parts = sum(layer.latency_ms for layer in built.report.layers)
        assert found.latency_ms <= parts + 1e-8  # each step is rounded to a picosecond
        assert found.latency_ms >= expected.timeline.latency_ps / 1e9 * 0.99


def test_the_best_plan_is_compiled_as_promised(
    prepared: Callable[[str], tuple[FloatModel, Evaluator]],
) -> None:
    model, evaluator = prepared("concat")
    best = find_best(evaluator)
    assert not best.left_on_cpu
    built = compiled(model, evaluator, best.optimum.placement)
    assert built.metrics.latency_ms == pytest.approx(best.optimum.latency_ps / 1e9, rel=0.01)
    for item in best.baselines.values():
        assert best.optimum.latency_ps <= item.latency_ps


def test_evaluations_are_equal_each_time(light_groups: Groups, random_evaluator: Random) -> None:
    groups = light_groups("inception_v1")
    placement = tuple(u[-1] for u in random_evaluator(groups, 2, 4).choices)
    found = [random_evaluator(groups, 2, 4).evaluate(placement) for _ in range(2)]
    assert found[0] == found[1]


def test_order_of_a_plan_decides_who_goes_first(
    light_groups: Groups, random_evaluator: Random
) -> None:
    evaluator = random_evaluator(light_groups("inception_v1"), 4)
    placement = all_npu(evaluator)
    joined = next(g for g in evaluator.groups.groups if len(g.reads) == 4)
    sources = [evaluator.groups.tensors[t].producer for t in joined.reads]
    for first in sources:
        chain = [first, *(s for s in sources if s != first)]
        found = evaluator.evaluate(placement, chain)
        starts = {
            job.subject: found.timeline.start_ps[index]
            for index, job in enumerate(found.jobs)
            if job.kind.name == "PROGRAM"
        }
        directly = [s for s in sources if len(evaluator.groups.groups[s].reads) == 1]
        if first in directly:
            assert starts[first] <= min(starts[s] for s in sources)
            break


def test_dram_peak_holds_what_is_live(light_groups: Groups, random_evaluator: Random) -> None:
    evaluator = random_evaluator(light_groups("squeezenet"), 3)
    found = evaluator.evaluate(all_cpu(evaluator))
    sizes = [tensor.form_bytes[0] for tensor in evaluator.costs.tensors]
    assert found.dram_constant_bytes == 4 * len(evaluator.choices)
    live = found.dram_peak_bytes - found.dram_constant_bytes
    assert max(sizes) < live < sum(sizes)
    group = max(evaluator.groups.groups, key=lambda g: sum(sizes[t] for t in g.reads + g.writes))
    assert live >= sum(sizes[t] for t in group.reads + group.writes)
