# ruff: noqa: ARG002, ARG005 (protocols have more arguments than each kind reads)
"""Plans over several units and memories: against a plain enumerator, and on a target of a VTA, a
unit of a plug-in and a CPU."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from compiler_core.compile.sources import load_model
from compiler_core.configuration.configuration import Subject
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, Node
from compiler_core.partition import optimum as module_under_test
from compiler_core.partition.baselines import baselines
from compiler_core.partition.best import complete, find_best, prepare
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.optimum import find_optimum
from compiler_core.partition.perfetto import plan_slices, track_names
from compiler_core.partition.picture import draw
from compiler_core.partition.plan import Plan, plan_text, read_plan
from compiler_core.partition.resolve import plan_of, resolve_plan
from compiler_core.partition.shared_operators import SharedPlan
from compiler_core.partition.table import plan_csv
from compiler_core.partition.task_launches import TaskLaunches
from compiler_core.system.jobs import JobKind
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from compiler_core.units.registry import unit_kind
from compiler_core.units.ways import TensorForm, Way
from nest_tune.api.planned_models import PlannedModel
from nest_tune.cli.plan_report import plan_document
from tests.compiler_core.partition.plain_plans import (
    SmallModel,
    evaluator_of,
    plain_latency_ps,
    small_models,
)
from tests.toy_unit.plugin import FOLDER, TARGET, installed

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits" / "model.onnx"
GUESS = 'origin = "assumed"\nsource = "a guess"\n'
HEADER = 'schema = "nest-tune/target/1"\nname = "mixed"\ninherit = "vta"\n'
FAST_TOY = f'[units.small]\ninherit = "toy.toml"\n{GUESS}clock_hz = 9e8\n'


@given(small_models())
@settings(max_examples=200, deadline=None)
def test_every_placement_takes_what_the_plain_enumerator_says(model: SmallModel) -> None:
    evaluator = evaluator_of(model)
    for placement in model.placements:
        assert evaluator.latency_ps(placement) == plain_latency_ps(model, placement)


@given(small_models())
@settings(max_examples=150, deadline=None)
def test_the_solver_finds_the_best_of_the_plain_enumerator(model: SmallModel) -> None:
    least = min(plain_latency_ps(model, placement) for placement in model.placements)
    found = find_optimum(evaluator_of(model))
    assert found.latency_ps == least
    assert found.bound_ps <= least


@given(small_models())
@settings(max_examples=60, deadline=None)
def test_the_program_over_places_bounds_the_plain_enumerator(model: SmallModel) -> None:
    """Where modules are too large to enumerate: nothing beats the bound, and nobody who is asked
    first beats what is found."""
    least = min(plain_latency_ps(model, placement) for placement in model.placements)
    evaluator = evaluator_of(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module_under_test, "MAX_ENUMERATED", 0)
        found = find_optimum(evaluator, starts=baselines(evaluator).values())
    assert found.enumerated == 0
    assert found.bound_ps <= least <= found.latency_ps
    assert found.latency_ps <= min(map(evaluator.latency_ps, baselines(evaluator).values()))


@pytest.fixture(scope="module", autouse=True)
def toy_kind() -> Iterator[None]:
    with installed(FOLDER):
        yield


def mixed_target(folder: Path, text: str) -> Target:
    (folder / "toy.toml").write_text(TARGET.read_text())
    (folder / "mixed.toml").write_text(HEADER + text)
    return load_target(folder / "mixed.toml")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    target = mixed_target(tmp_path_factory.mktemp("mixed"), FAST_TOY)
    return prepare(load_model(DIGITS).graph, target)


def test_a_target_with_a_plug_in_is_planned_exactly(mixed: Evaluator) -> None:
    assert mixed.costs.places.names == ("cpu", "vta", "small")
    found = find_best(mixed)
    assert not found.left_on_cpu
    assert found.optimum.gap == 0.0
    least = min(map(mixed.latency_ps, product(*mixed.choices)))
    assert found.optimum.latency_ps == least
    used = {mixed.costs.places[at].name for at in found.optimum.placement}
    assert used == {"cpu", "vta", "small"}
    assert {"all_cpu", "all_vta", "all_small", "static_by_type", "fastest_unit"} <= set(
        found.baselines
    )
    for other in found.baselines.values():
        assert least <= other.latency_ps


def test_where_a_unit_cannot_run_a_group_it_says_why(mixed: Evaluator) -> None:
    groups = {group.name: group.index for group in mixed.groups.groups}
    pool = mixed.costs.groups[groups["pool"]]
    assert pool.reasons == {1: "MaxPool is no product with a matrix."}
    assert sorted(pool.at) == [1]
    places = mixed.costs.places
    resolved = resolve_plan(Plan({"pool": "small"}), mixed.groups, places)
    with pytest.raises(
        InputError, match="'pool' is placed on 'small': MaxPool is no product"
    ) as error:
        complete(mixed, resolved)
    assert error.value.hint == "the nearest legal plan: pool = vta"


def test_tensors_between_two_units_are_converted_once_for_all_that_read_them(
    mixed: Evaluator,
) -> None:
    placement = tuple(
        choices[(1 + group) % len(choices)] for group, choices in enumerate(mixed.choices)
    )
    found = mixed.evaluate(placement)
    converted = [(job.subject, job.form) for job in found.jobs if job.kind.converts]
    assert len(set(converted)) == len(converted)
    assert {job.kind for job in found.jobs} >= {JobKind.PROGRAM, JobKind.CONVERT}
    for job in found.jobs:
        if job.kind is JobKind.CONVERT:
            sizes = mixed.costs.tensors[job.subject].form_bytes
            assert job.run_ps == mixed.costs.convert_ps(sizes[1] + sizes[2])


def test_units_of_one_kind_in_one_memory_read_what_the_other_has_written(tmp_path: Path) -> None:
    graph = load_model(DIGITS).graph
    body = '[units.board]\ninherit = "vta-pynq"\n'
    evaluator = prepare(graph, mixed_target(tmp_path, body))
    turns = tuple(choices[-1 - group % 2] for group, choices in enumerate(evaluator.choices))
    kinds = [job.kind for job in evaluator.evaluate(turns).jobs]
    assert JobKind.CONVERT not in kinds
    assert kinds.count(JobKind.QUANTIZE) == kinds.count(JobKind.DEQUANTIZE) == 1
    apart = f'[memories.other]\n{GUESS}bytes_per_s = 1e9\n{body}memory = "other"\n'
    evaluator = prepare(graph, mixed_target(tmp_path, apart))
    kinds = [job.kind for job in evaluator.evaluate(turns).jobs]
    assert kinds.count(JobKind.CONVERT) > 3


def test_a_slow_memory_is_demanded_more_of(tmp_path: Path) -> None:
    graph = load_model(DIGITS).graph
    found = []
    for speed in ("1e8", "1e9"):
        body = f"[memories.dram]\n{GUESS}bytes_per_s = {speed}\n"
        evaluator = prepare(graph, mixed_target(tmp_path, body))
        launches = [at[1].programs for at in (c.at for c in evaluator.costs.groups) if 1 in at]
        found.append([launch.read_ppm for programs in launches for launch in programs])
    assert all(slow > fast > 0 for slow, fast in zip(*found, strict=True))


def test_a_plan_of_three_places_comes_back_from_toml(mixed: Evaluator, tmp_path: Path) -> None:
    places = mixed.costs.places
    for placement in (find_best(mixed).optimum.placement, *baselines(mixed).values()):
        (tmp_path / "plan.toml").write_text(plan_text(plan_of(placement, mixed.groups, places)))
        resolved = resolve_plan(read_plan(tmp_path / "plan.toml"), mixed.groups, places)
        assert complete(mixed, resolved) == placement


def test_tables_and_documents_show_every_unit(mixed: Evaluator) -> None:
    evaluation = find_best(mixed).evaluation
    rows = list(csv.DictReader(io.StringIO(plan_csv(mixed, evaluation))))
    given = SharedPlan(Plan(), mixed.groups.graph, {}, {})
    document = plan_document(PlannedModel(Subject(), Subject(), mixed, evaluation, True, given))
    assert {row["group"]: row["place"] for row in rows} == document["units"]
    for row, group in zip(rows, document["groups"], strict=True):
        assert set(group["places_ms"]) == {"vta", "small"}
        for name, time in group["places_ms"].items():
            assert row[f"{name}_ms"] == ("" if time is None else f"{time:.9f}")
            assert row[f"why_not_{name}"] == group["reasons"].get(name, "")
        assert row["number_format"] == ("float32" if row["place"] == "cpu" else "int8")
        assert float(row["start_ms"]) < float(row["end_ms"]) <= document["latency_ms"]
    assert [row["why_not_small"] for row in rows if row["group"] == "pool"] != [""]


class BrainFloat:
    """The toy unit where it also multiplies matrices in bfloat16, at twice the bytes."""

    formats = staticmethod(lambda machine: ("int8", "bf16"))
    ways = staticmethod(lambda machine, cores: (Way(),))

    def form(self, shape: tuple[int, ...], number: str, machine: Any) -> TensorForm:
        width = 2 if number == "bf16" else 1
        return TensorForm(f"{number} in rows", width * prod(shape), extra_s=width * 1e-9)


class BrainFloatLaunches(TaskLaunches):
    def works(
        self, graph: Graph, nodes: Sequence[Node], number: str, machine: Any
    ) -> Sequence[Any] | str:
        from toy_unit import MatVec

        (node, *others) = nodes
        if node.op != "Conv" or others:
            return "only single convolutions in bf16"
        outputs, *inputs = graph.constants[node.inputs[1]].shape
        return (MatVec(outputs, prod(inputs), 64),)


def test_a_unit_may_compute_in_a_number_format_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = unit_kind("toy")
    monkeypatch.setitem(kind.facets, "ways", BrainFloat())  # type: ignore[arg-type]
    monkeypatch.setitem(kind.facets, "launches", BrainFloatLaunches())  # type: ignore[arg-type]
    evaluator = prepare(load_model(DIGITS).graph, mixed_target(tmp_path, FAST_TOY))
    for facet in ("ways", "launches"):  # the next test asks the kind itself again
        monkeypatch.delitem(kind._found, facet)
    places = evaluator.costs.places
    assert places.names == ("cpu", "vta", "small", "small:bf16")
    groups = {group.name: group.index for group in evaluator.groups.groups}
    stem, second = (evaluator.costs.groups[groups[name]] for name in ("stem", "second"))
    assert sorted(stem.at) == [1, 2, 3]
    assert sorted(second.at) == [1]  # an addition is fused, which is no product with a matrix
    assert len(evaluator.costs.forms) == 4
    found = find_best(evaluator)
    assert found.optimum.latency_ps == min(map(evaluator.latency_ps, product(*evaluator.choices)))
    wanted = tuple(3 if 3 in at else 0 for at in evaluator.choices)
    evaluation = evaluator.evaluate(wanted)
    into = [job for job in evaluation.jobs if job.form == evaluator.form_of[3]]
    assert into
    for job in into:
        sizes = evaluator.costs.tensors[job.subject].form_bytes
        moved = evaluator.costs.convert_ps(sizes[0] + sizes[3])
        assert job.run_ps == moved + 2000  # and the time of the unit's own
    plan = plan_of(wanted, evaluator.groups, places)
    assert set(plan.units.values()) == {"cpu", "small:bf16"}
    (tmp_path / "plan.toml").write_text(plan_text(plan))
    resolved = resolve_plan(read_plan(tmp_path / "plan.toml"), evaluator.groups, places)
    assert complete(evaluator, resolved) == wanted


def test_a_kind_that_takes_no_integer_operators_says_so(tmp_path: Path) -> None:
    kind = unit_kind("toy")
    facets = {name: facet for name, facet in kind.facets.items() if name != "layers"}
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(kind.facets, "layers")  # type: ignore[arg-type]
        evaluator = prepare(load_model(DIGITS).graph, mixed_target(tmp_path, FAST_TOY))
    assert facets.keys() < kind.facets.keys()
    assert all(sorted(cost.at) in ([], [1]) for cost in evaluator.costs.groups)
    reasons = {c.reasons.get(1) for c in evaluator.costs.groups}
    assert "toy has no program for it." in reasons
    assert "MaxPool is no product with a matrix." in reasons
    assert None not in reasons


def test_pictures_and_traces_show_every_unit(mixed: Evaluator) -> None:
    evaluation = find_best(mixed).evaluation
    picture = draw(mixed, evaluation, "three units")
    assert 'class="group cpu' in picture
    assert 'class="group npu' in picture
    assert 'class="group unit1' in picture
    assert picture.count('class="border"') > 2
    assert track_names(mixed) == ("cpu", "vta", "small", "critical path")
    tracks = {item.track for item in plan_slices(mixed, evaluation)}
    assert tracks == {0, 1, 2, 3}
