"""What the kind of the CPU has to hold, which every target has: costs in float, tables of them,
sessions, and measuring by the clock.

The author of another CPU kind calls :func:`check_host` in a test, with a target.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from compiler_core.compile.sources import FloatModel, noise_samples
from compiler_core.executable.executable import CpuSegment
from compiler_core.graph.exporter import export_onnx
from compiler_core.graph.session import FloatSession
from compiler_core.targets.target import Target
from compiler_core.units.facets.host import float_sessions, host_costs, host_measuring


def check_host(target: Target, model: FloatModel) -> None:
    """Checks all facets of the host.

    Args:
        target: Its CPU is costed.
        model: What is costed, run and measured.

    Raises:
        AssertionError: Something does not hold; says what.
    """
    check_costs(target, model)
    check_sessions(model)
    check_measuring(model)


def check_costs(target: Target, model: FloatModel) -> None:
    """Costs are not negative, repeat themselves and grow with what is moved."""
    known, graph = host_costs(), model.graph
    costs = known.of_target(target, graph)
    for node in graph.nodes:
        cost = costs(graph, node)
        assert cost == costs(graph, node), f"{node.name}: a cost repeats itself"
        assert cost.seconds > 0, f"{node.name}: an operator takes time"
        assert cost.energy_pj >= 0, f"{node.name}: energy is not negative"
        assert np.isclose(cost.energy_mj, cost.energy_pj * 1e-9), "a millijoule has 1e9 pJ"
    few, many = (known.conversion(target.cpu, values, 5 * values) for values in (10, 1000))
    assert 0 < few.seconds < many.seconds, "more bytes take longer"


def check_sessions(model: FloatModel) -> None:
    """A part of a model gives what the float model gives."""
    graph = model.graph
    content = export_onnx(graph).SerializeToString(deterministic=True)
    segment = CpuSegment("all", graph.inputs, graph.outputs, content)
    feeds = noise_samples(graph, 1)
    found = float_sessions().open(segment).run(feeds)
    expected = FloatSession(graph, graph.outputs).run(feeds)
    assert found.keys() == expected.keys(), "a session gives the outputs"
    for name, values in expected.items():
        assert np.allclose(found[name], values, rtol=1e-4, atol=1e-4), f"{name}: other values"


def check_measuring(model: FloatModel) -> None:
    """Every operator is measured, quartiles lie around the median, and tables survive a file."""
    known, graph = host_measuring(), model.graph
    feeds = known.inputs(graph)
    assert feeds.keys() == set(graph.inputs), "an array for each input"
    asked = {"threads": 1, "repeats": 5, "budget_s": 0.0}
    rows = known.operators(graph, feeds, progress=lambda _: None, **asked)  # type: ignore[arg-type]
    assert sum(row.count for row in rows) == len(graph.nodes), "every node is counted once"
    for row in rows:
        assert 0 < row.low_us <= row.median_us <= row.high_us, f"{row.signature}: quartiles"
    timing = known.model(graph, feeds, **asked)  # type: ignore[arg-type]
    assert 0 < timing.low_us <= timing.median_us <= timing.high_us, "quartiles of the whole"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "costs.csv"
        path.write_bytes(host_costs().write_table(rows))
        table = host_costs().read_table(path)
    assert table.rows.keys() == {row.signature for row in rows}, "rows survive a file"
