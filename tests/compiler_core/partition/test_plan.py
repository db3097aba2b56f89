"""Plans: TOML there and back, digests, and every kind of wrong plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.configuration.configuration import Subject
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.partition.group_graph import GroupGraph
from compiler_core.partition.groups import build_groups
from compiler_core.partition.plan import Plan, PlanSegment, plan_text, read_plan
from compiler_core.partition.resolve import IllegalPlanError, assignment_of, plan_of, resolve_plan
from compiler_core.targets.load import load_target
from compiler_core.targets.places import ON_CPU

PLACES, FOUR = load_target("vta").places, load_target("vta-x4").places
ON_NPU = PLACES.numbers["vta"]

NAMES = st.text(min_size=1, max_size=12).filter(lambda t: t.isprintable())
UNITS = st.sampled_from(["cpu", "vta", "vta0", "free"])


@pytest.fixture(scope="module")
def groups(synthetic_graph: Callable[[str], Graph]) -> GroupGraph:
    """A residual network: its second convolution is fused with the addition."""
    return build_groups(synthetic_graph("residual"))


@pytest.fixture(scope="module")
def inception(light_groups: Callable[[str], GroupGraph]) -> GroupGraph:
    return light_groups("inception_v1")


@given(
    st.dictionaries(NAMES, UNITS, max_size=5),
    UNITS,
    st.lists(NAMES, max_size=3),
    st.lists(st.tuples(UNITS, st.lists(NAMES, max_size=3)), max_size=2),
)
def test_text_reads_back(
    tmp_path_factory: pytest.TempPathFactory,
    units: dict[str, str],
    default: str,
    order: list[str],
    segments: list[tuple[str, list[str]]],
) -> None:
    parts = tuple(PlanSegment(unit, tuple(nodes)) for unit, nodes in segments)
    plan = Plan(units, default, tuple(order), parts, Subject("m", "1"), Subject("t", "2"))
    path = tmp_path_factory.mktemp("plan") / "plan.toml"
    path.write_text(plan_text(plan), encoding="utf-8")
    assert read_plan(path) == plan


def test_digest_is_of_the_decisions() -> None:
    plan = Plan({"a": "cpu", "b": "vta"})
    assert plan.digest == Plan({"b": "vta", "a": "cpu"}, model=Subject("x")).digest
    assert plan.digest != Plan({"a": "vta", "b": "vta"}).digest
    assert plan.digest != Plan({"a": "cpu", "b": "vta"}, order=("a",)).digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "schema None"),
        ('schema = "nest-tune/plan/2"', "nest-tune/plan/2"),
        ('schema = "nest-tune/plan/1"\nunit = 3', "unknown key 'unit'"),
        ('schema = "nest-tune/plan/1"\n[units]\na = 3', "units.a: 3; a text is needed"),
        ('schema = "nest-tune/plan/1"\ndigest = "00"\n[units]\na = "cpu"', "digest '00'"),
        ("schema = [", "not a TOML file"),
    ],
)
def test_files_that_are_no_plan(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_plan(path)
    assert message in caught.value.message


def test_unnamed_groups_are_free(groups: GroupGraph) -> None:
    first = groups.groups[0]
    resolved = resolve_plan(Plan({first.name: "cpu"}), groups, PLACES)
    assert resolved.pins == {0: ON_CPU}
    assert resolved.order is None


def test_default_places_the_rest_where_it_can_run(inception: GroupGraph) -> None:
    resolved = resolve_plan(
        Plan({inception.groups[0].name: "cpu"}, default="vta"), inception, PLACES
    )
    assert len(resolved.pins) == len(inception.groups)
    for group in inception.groups[1:]:
        expected = ON_CPU if group.npu_reason else ON_NPU
        assert resolved.pins[group.index] == expected


def test_complete_plan_and_back(groups: GroupGraph) -> None:
    placement = tuple(
        ON_CPU if group.index % 2 or group.npu_reason else ON_NPU for group in groups.groups
    )
    resolved = resolve_plan(plan_of(placement, groups, PLACES), groups, PLACES)
    assert tuple(resolved.pins[group] for group in range(len(placement))) == placement
    assignment = assignment_of(placement, groups, PLACES)
    assert set(assignment) == {node.name for node in groups.graph.nodes}
    for group in groups.groups:
        views = {name for name, _ in group.views}
        for node in set(group.nodes) - views:
            assert (assignment[node] == "cpu") == (placement[group.index] == ON_CPU)


def test_units_of_several_cores(groups: GroupGraph) -> None:
    first, second, third = (group.name for group in groups.groups[:3])
    plan = Plan({first: "vta3", second: "vta-sliced", third: "vta"})
    assert dict(list(resolve_plan(plan, groups, FOUR).pins.items())[:3]) == {
        0: FOUR.numbers["vta3"],
        1: FOUR.numbers["vta-sliced"],
        2: ON_NPU,
    }
    assert FOUR.names == (
        *("cpu", "vta", "vta-sliced", "vta-channels", "vta-rows", "vta0", "vta1", "vta2", "vta3"),
        "cpu:int8",
    )
    assert [FOUR.numbers[name] for name in FOUR.names] == list(range(len(FOUR)))
    with pytest.raises(InputError, match="vta3"):
        resolve_plan(plan, groups, PLACES)


@pytest.mark.parametrize(
    ("plan", "message", "hint"),
    [
        (Plan({"nowhere": "cpu"}), "the model has no node 'nowhere'", "plan show"),
        (Plan({"n_c": "cpu"}), "nearest is", None),
        (Plan({}, default="vtaa"), "default = 'vtaa'", "did you mean 'vta'?"),
        (Plan({}, order=("nowhere",)), "order: the model has no node 'nowhere'", None),
    ],
)
def test_unknown_names(groups: GroupGraph, plan: Plan, message: str, hint: str | None) -> None:
    with pytest.raises(InputError) as caught:
        resolve_plan(plan, groups, PLACES)
    assert message in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


def test_illegal_placement_shows_reason_and_nearest_plan(inception: GroupGraph) -> None:
    norm = next(g for g in inception.groups if g.operator == "LRN")
    other = inception.groups[0]
    plan = Plan({norm.name: "vta", other.name: "vta"})
    with pytest.raises(IllegalPlanError) as caught:
        resolve_plan(plan, inception, PLACES)
    assert norm.npu_reason is not None
    assert norm.npu_reason in caught.value.message
    assert caught.value.exit_code == 2
    assert caught.value.nearest.units == {norm.name: "cpu", other.name: "vta"}
    resolve_plan(caught.value.nearest, inception, PLACES)


def test_a_fused_group_is_not_split(groups: GroupGraph) -> None:
    fused = next(g for g in groups.groups if len(g.nodes) > 1 and not g.views)
    plan = Plan(dict(zip(fused.nodes, ["vta", "cpu", "cpu", "cpu"], strict=False)))
    with pytest.raises(IllegalPlanError, match="fused and run together") as caught:
        resolve_plan(plan, groups, PLACES)
    assert len({caught.value.nearest.units[node] for node in fused.nodes}) == 1
    resolve_plan(caught.value.nearest, groups, PLACES)


def test_contradictions(groups: GroupGraph) -> None:
    name = groups.groups[0].name
    plan = Plan({name: "cpu"}, segments=(PlanSegment("vta", (name,)),))
    with pytest.raises(InputError, match="'cpu' and on 'vta'"):
        resolve_plan(plan, groups, PLACES)


def test_order_against_dependences(groups: GroupGraph) -> None:
    names = [group.name for group in groups.groups]
    assert resolve_plan(Plan(order=tuple(names)), groups, PLACES).order == tuple(range(len(names)))
    with pytest.raises(InputError, match="which needs"):
        resolve_plan(Plan(order=(names[1], names[0])), groups, PLACES)


def test_cyclic_cuts(groups: GroupGraph) -> None:
    names = [group.name for group in groups.groups]
    fine = Plan(segments=(PlanSegment("vta", tuple(names[:2])), PlanSegment("vta", (names[2],))))
    assert resolve_plan(fine, groups, PLACES).pins == {0: ON_NPU, 1: ON_NPU, 2: ON_NPU}
    with pytest.raises(InputError, match="cuts are cyclic"):
        resolve_plan(Plan(segments=(PlanSegment("cpu", (names[0], names[2])),)), groups, PLACES)
