"""Positions of steps in a model."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from compiler_core.compile.sources import load_model
from compiler_core.system.positions import Positions


def test_positions_follow_the_graph_and_views_stand_where_their_values_do(
    synthetic: ModuleType, tmp_path: Path
) -> None:
    b = synthetic.Builder(3)
    b.conv("x", "a", (16, 16, 3, 3))
    b.add("Sigmoid", ["a"], "s")
    b.add("Flatten", ["s"], "f")
    b.add("Softplus", ["f"], "g")
    path = tmp_path / "m.onnx"
    path.write_bytes(b.model({"x": ["n", 16, 6, 6]}, {"g": ["n", 576]}))
    graph = load_model(path).graph
    positions = Positions(graph)
    names = [node.name for node in graph.nodes]
    assert [positions.of_node(name) for name in names] == [1, 2, 3, 4]
    assert [positions.of_values(name) for name in ("x", "a", "s", "f", "g")] == [0, 1, 2, 2, 4]
    assert positions.of_launch("a", (names[0],)) == 1
    assert positions.of_launch("s/concat-copy0", ()) == positions.of_values("s")
    assert positions.of_node("elsewhere") == positions.of_values("elsewhere") == 5
