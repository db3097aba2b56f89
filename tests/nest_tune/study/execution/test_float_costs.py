"""What the float model costs on the CPU: the model as it was imported."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from benchmarks.recurrent import recognizer
from compiler_core.compile.sources import load_model
from compiler_core.graph.recurrence import GATES
from compiler_core.targets.load import load_target
from compiler_core.units.facets.host import host_costs
from nest_tune.study.execution.candidates import Bench
from nest_tune.study.execution.subjects import Subjects


def test_cells_are_whole_there(tmp_path: Path) -> None:
    """In the form for an NPU, cells on the CPU would pay for every step of a loop."""
    path = tmp_path / "m.onnx"
    onnx.save(recognizer("GRU", steps=6, inputs=256, size=128), path)
    bench = Bench(Subjects(str(path), "vta"))
    assert not any(node.op in GATES for node in bench.model.graph.nodes)
    target, graph = load_target("vta"), load_model(path).graph
    cost = host_costs().of_target(target, graph)
    least = sum(cost(graph, node).seconds for node in graph.nodes if node.op in GATES) * 1e3
    assert bench.float_costs()["latency_ms"] == pytest.approx(least, rel=0.1)
