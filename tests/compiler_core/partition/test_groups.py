"""Groups: fused nodes together, views resolved, reasons, order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compiler_core.graph.ir import Graph
from compiler_core.partition.groups import OUTSIDE, GroupGraph, build_groups
from compiler_core.quantize.skeleton import ConcatStep

Groups = Callable[[str], GroupGraph]
Graphs = Callable[[str], Graph]

SYNTHETIC = ["residual", "concat", "mixed", "depthwise", "batch_of_two", "float_only", "two_inputs"]


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
