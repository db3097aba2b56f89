"""Plans on cores that hold weights with different precision: what is done by default, and within a
limit on damage."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

import nest_tune
from compiler_core.compile.sources import load_model
from compiler_core.errors import InputError
from compiler_core.partition.best import on_first_units, prepare, untuned
from compiler_core.quantize.apply import weighted_layers
from compiler_core.targets.load import load_target
from nest_tune.api.planning_within import best_plan_within

MODELS = ("residual", "concat", "mixed", "depthwise", "batch_of_two")


@pytest.mark.parametrize("name", MODELS)
def test_the_default_damages_nothing_and_is_not_slower(
    name: str, synthetic: ModuleType, tmp_path: Path
) -> None:
    graph = load_model(Path(synthetic.write(name, tmp_path))).graph
    evaluator = prepare(graph, load_target("vta-duo"), joins_layers=True, packaged=True)
    placement = untuned(evaluator)
    assert evaluator.latency_ps(placement) <= evaluator.latency_ps(on_first_units(evaluator))
    places, groups = evaluator.costs.places, evaluator.groups
    for layer in weighted_layers(graph):
        assert places[placement[groups.group_of[layer]]].name != "int4"


def test_units_of_one_precision_have_the_default_of_before(
    synthetic: ModuleType, tmp_path: Path
) -> None:
    graph = load_model(Path(synthetic.write("residual", tmp_path))).graph
    for target in ("vta", "vta-x2", "vta-int4"):
        evaluator = prepare(graph, load_target(target), joins_layers=True, packaged=True)
        assert untuned(evaluator) == on_first_units(evaluator)


@pytest.mark.parametrize("name", ["residual", "mixed"])
def test_more_damage_is_never_slower_and_limits_hold(
    name: str, synthetic: ModuleType, tmp_path: Path
) -> None:
    model = synthetic.write(name, tmp_path)
    found = [best_plan_within(model, "vta-duo", share) for share in (0.0, 0.5, 1.0)]
    default = nest_tune.show_plan(model, "vta-duo")
    for share, plan in zip((0.0, 0.5, 1.0), found, strict=True):
        assert plan.damage <= share
        assert plan.latency_ms <= default.latency_ms
        plan.write_plan(tmp_path / "plan.toml")
        again = nest_tune.show_plan(model, "vta-duo", tmp_path / "plan.toml")
        assert again.latency_ms == pytest.approx(plan.latency_ms)
    offers = [plan.offers for plan in found]
    assert offers == sorted(offers)
    with pytest.raises(InputError, match="share, 0 to 1"):
        best_plan_within(model, "vta-duo", 1.5)


def test_a_limit_needs_units_of_different_precision(synthetic: ModuleType, tmp_path: Path) -> None:
    model = synthetic.write("residual", tmp_path)
    for target in ("vta", "vta-aim", "vta-int4"):
        with pytest.raises(InputError, match="as many bits"):
            best_plan_within(model, target, 0.1)


def test_a_compile_takes_a_limit_in_the_place_of_a_plan(
    synthetic: ModuleType, tmp_path: Path
) -> None:
    model = synthetic.write("residual", tmp_path)
    samples = synthetic.samples("residual", 4)
    limited = nest_tune.compile(
        model, "vta-duo", tmp_path / "limited", most_damage=0.5, calibration=samples
    )
    plan = tmp_path / "plan.toml"
    best_plan_within(model, "vta-duo", 0.5).write_plan(plan)
    planned = nest_tune.compile(
        model, "vta-duo", tmp_path / "planned", plan=plan, calibration=samples
    )
    assert limited.damage is not None
    assert 0 < limited.damage <= 0.5
    assert planned.damage is None
    assert limited.configuration == planned.configuration
    assert limited.metrics == planned.metrics


def test_a_limit_beside_what_says_where_layers_run_is_refused(
    synthetic: ModuleType, tmp_path: Path
) -> None:
    model, out = synthetic.write("residual", tmp_path), tmp_path / "out"
    samples, plan = synthetic.samples("residual", 2), tmp_path / "plan.toml"
    best_plan_within(model, "vta-duo", 0.0).write_plan(plan)
    with pytest.raises(InputError, match="and a plan"):
        nest_tune.compile(model, "vta-duo", out, most_damage=0.5, plan=plan, calibration=samples)
    made = nest_tune.compile(model, "vta-duo", out, plan=plan, calibration=samples)
    with pytest.raises(InputError, match="a configuration that says where layers run"):
        nest_tune.compile(
            model,
            "vta-duo",
            out,
            most_damage=0.5,
            config=made.configuration,
            calibration=samples,
        )
