"""What a kernel executes alone is what it executes in a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import scheduled_bundle, write_bundle
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.convert.options import Options
from compiler_core.units.cpu.c.network import Network
from compiler_core.units.cpu.c.operators.moves import View
from compiler_core.units.cpu.c.operators.weighted import Convolution, Dense
from compiler_core.units.cpu.c.schedules.schedule import choices
from compiler_core.units.cpu.c.schedules.workload import network_of, workload_of
from compiler_core.units.cpu.c.tasks.facet import measured_alone
from tests.compiler_core.units.cpu.c.cases import Model


def random_network(random: np.random.Generator, *, wide: bool) -> Network:
    """Windows, depthwise ones and a dense layer; clamped as ranges have it."""
    m = Model((1, 8, 8, 8))
    m.random = random
    value, channels = "x0", m.shapes[0][1]
    for _ in range(3):
        depthwise = bool(random.integers(2))
        outputs = channels if depthwise else int(random.integers(1, 17))
        size = int(random.choice([1, 3]))
        weights = m.weight(outputs, 1 if depthwise else channels, size, size)
        value = m.node(
            "Conv",
            value,
            weights,
            m.weight(outputs),
            group=channels if depthwise else 1,
            pads=[size // 2] * 4,
            strides=[int(random.integers(1, 3))] * 2,
        )
        activation = int(random.integers(3))
        if activation:
            limits = (m.array(0.0), m.array(1.7)) if activation == 2 else ()
            value = m.node("Clip" if limits else "Relu", value, *limits)
        channels = outputs
    pooled = m.node("Flatten", m.node("GlobalAveragePool", value))
    graph = m.graph(m.node("Gemm", pooled, m.weight(channels, 10, scale=0.5), m.weight(10)))
    # No zero point of results is 0: adding it is not told by a task, and would be spared.
    ends = [(0.0, 4.0), (-3.0, 4.0), (-1.0, 1.3)]
    ranges = {name: TensorRange(*ends[int(random.integers(3))]) for name in graph.types}
    operators = to_network(graph, ranges).operators
    layers = [item.name for item in operators if isinstance(item, Convolution | Dense)]
    return to_network(graph, ranges, Options(int16_layers=frozenset(layers if wide else ())))


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        ("cortex-m4", 0),
        *(pytest.param("cortex-m4", seed, marks=pytest.mark.slow) for seed in range(1, 9)),
        *(pytest.param("cortex-m55", seed, marks=pytest.mark.slow) for seed in range(4)),
    ],
)
def test_counts_alone_are_those_of_networks(name: str, seed: int, tmp_path: Path) -> None:
    core = cores.core_of(name)
    if cores.missing(core):
        pytest.skip(f"{core.package} is not installed")
    random = np.random.default_rng(seed)
    network = random_network(random, wide=seed % 2 == 1)
    schedules = {}
    for operator in network.operators:
        fixed = [k for k in choices(operator, core.name) if k.unit != "portable"]
        legal = fixed or list(choices(operator, core.name))
        schedules[operator.output] = legal[int(random.integers(len(legal)))]
    bundle = scheduled_bundle(network, "mixed", schedules)
    write_bundle(bundle, tmp_path, [{"x0": random.normal(0, 2, (1, 8, 8, 8)).astype("float32")}])
    cores.check(core, tmp_path, tmp_path / "test")  # clamps of every kind give the same bits
    counts = cores.count(core, tmp_path, tmp_path / "program", len(bundle.sources.steps))
    running = [item for item in bundle.plan.order if not isinstance(item, View)]
    for operator, counted in zip(running, counts, strict=True):
        workload, schedule = workload_of(network, operator), schedules[operator.output]
        if workload is None or schedule.unit == "portable":
            continue
        (alone,) = measured_alone(network_of(workload), [schedule], core)
        assert counted == pytest.approx(alone, rel=0.004, abs=2 * core.tick), (workload, schedule)
    assert any(schedule.unit != "portable" for schedule in schedules.values())
