"""Groups: fused nodes together, views resolved, reasons, order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.partition.group_graph import OUTSIDE, GroupGraph
from compiler_core.partition.groups import _topological, build_groups
from compiler_core.quantize.skeleton import ConcatStep

Groups = Callable[[str], GroupGraph]
Graphs = Callable[[str], Graph]

SYNTHETIC = [
    "residual",
    "concat",
    "mixed",
    "depthwise",
    "batch_of_two",
    "float_only",
    "two_inputs",
    "moved",
]


@pytest.mark.parametrize("name", SYNTHETIC)
def test_every_node_is_in_one_group_and_sources_come_first(
    synthetic_graph: Graphs, name: str
) -> None:
    groups = build_groups(synthetic_graph(name))
    nodes = [node for group in groups.groups for node in group.nodes]
    assert sorted(nodes) == sorted(node.name for node in groups.graph.nodes)
    for tensor in groups.tensors:
        assert tensor.producer == OUTSIDE or all(r > tensor.producer for r in tensor.consumers)
    for number, group in enumerate(groups.groups):
        assert group.index == number
        assert all(groups.group_of[node] == number for node in group.nodes)


def test_steps_of_the_npu_are_never_split(light_groups: Groups) -> None:
    groups = light_groups("resnet50")
    for step in groups.skeleton.steps:
        assert len({groups.group_of[node] for node in step.sources}) == 1
    fused = [g for g in groups.groups if len(g.nodes) > 1 and g.operator == "Conv"]
    assert len(fused) == 16  # one addition per block


def test_inception_keeps_its_branches(light_groups: Groups) -> None:
    groups = light_groups("inception_v1")
    joined = [s for s in groups.skeleton.steps if isinstance(s, ConcatStep)]
    assert len(joined) == 9
    for step in joined:
        index = groups.group_of[step.sources[-1]]
        assert len(groups.groups[index].reads) == 4


def test_what_the_npu_lacks_has_a_reason(light_groups: Groups) -> None:
    groups = light_groups("inception_v1")
    reasons = {g.operator: g.npu_reason for g in groups.groups if g.npu_reason is not None}
    assert {"LRN", "Softmax"} <= set(reasons)
    assert "LRN is not an operator" in str(reasons["LRN"])


def test_a_view_belongs_to_its_reader(light_groups: Groups) -> None:
    groups = light_groups("squeezenet")
    views = [(g, name) for g in groups.groups for name, _ in g.views]
    assert views
    for group, name in views:
        assert name in group.nodes
        assert group.name != name


@given(st.data())
def test_order_is_that_of_taking_the_earliest_ready_group_each_time(data: st.DataObject) -> None:
    names = [f"g{number}" for number in range(data.draw(st.integers(0, 12)))]
    edges = {
        name: data.draw(st.sets(st.sampled_from(names[:number]))) if number else set[str]()
        for number, name in enumerate(names)
    }
    shuffled = data.draw(st.permutations(names))
    position = {name: at for at, name in enumerate(shuffled)}
    edges = {name: edges[name] for name in shuffled}
    waiting, plain = dict(edges), list[str]()
    while waiting:
        ready = [name for name, sources in waiting.items() if sources <= set(plain)]
        plain.append(min(ready, key=position.__getitem__))
        del waiting[plain[-1]]
    assert _topological(edges, position) == plain


def test_groups_in_a_circle_are_named() -> None:
    edges = {"a": set[str](), "b": {"a", "c"}, "c": {"b"}}
    with pytest.raises(InputError, match="the groups b, c depend on one another"):
        _topological(edges, {"a": 0, "b": 1, "c": 2})
