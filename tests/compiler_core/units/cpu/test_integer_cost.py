"""Costs of loops on integers: by rates, and measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.quantize.host_groups import HostGroups, host_groups
from compiler_core.targets.load import load_target
from compiler_core.targets.target import CpuTable
from compiler_core.units.cpu.cost_table import parse_cpu_table, write_cpu_table
from compiler_core.units.cpu.integer_cost import INTEGER_COSTS
from compiler_core.units.cpu.measure_integers import profile_integers

TARGET = load_target("vta")
CLOCK, OVERHEAD = TARGET.cpu.clock_hz, TARGET.cpu.operator_overhead_s


def graph() -> Graph:
    """A table, a product with a gate, and a concatenation, each of which the next one reads."""
    nodes = (
        Node("silu/s", "Sigmoid", ("x",), ("s",)),
        Node("silu", "Mul", ("x", "s"), ("m",)),
        Node("join", "Concat", ("m", "z"), ("c",), {"axis": 1}),
        Node("gate/h", "HardSigmoid", ("g",), ("h",)),
        Node("gate", "Mul", ("c", "h"), ("p",)),
        Node("mean", "ReduceMean", ("p",), ("y",)),
        Node("last", "Identity", ("y",), ("out",), {}, "", (0.0, 1.0)),
    )
    shapes = dict.fromkeys(("x", "s", "m", "z"), (1, 4, 8, 8))
    shapes |= {"c": (1, 8, 8, 8), "p": (1, 8, 8, 8), "g": (1, 8, 1, 1), "h": (1, 8, 1, 1)}
    shapes |= {"y": (1, 1, 1, 1), "out": (1, 1, 1, 1)}
    types = {name: TensorType("float32", shape) for name, shape in shapes.items()}
    return Graph("hand", ("x", "z", "g"), ("out",), nodes, {}, types, {"": 17})


def groups() -> HostGroups:
    return host_groups(graph(), ())


def test_rates() -> None:
    cost = INTEGER_COSTS.of_target(TARGET)
    found = {group.name: cost(graph(), group).seconds - OVERHEAD for group in groups().groups}
    assert found["silu"] == pytest.approx(256 / CLOCK)  # an element per cycle
    moved = (512 + 512) / TARGET.cpu.copy_bytes_per_cycle
    assert found["join"] == pytest.approx(moved / CLOCK)
    # The gate, the product and the mean of it are one loop.
    assert found["mean"] == pytest.approx((8 + 512 + 512) / TARGET.cpu.elements_per_cycle / CLOCK)


def test_measured_rows_are_found_again() -> None:
    rows = tuple(profile_integers(graph(), repeats=5, budget_s=0.01))
    assert {row.operator for row in rows} == {"int8 table", "int8 loop"}
    table = parse_cpu_table(write_cpu_table(rows), "cpu.csv")
    assert isinstance(table, CpuTable)
    target = replace(TARGET, cpu_table=table)
    cost = INTEGER_COSTS.of_target(target)
    measured = {row.signature: row.median_us for row in table.rows.values()}
    for group in groups().groups:
        seconds = cost(graph(), group).seconds
        if group.name != "last":
            assert any(seconds == pytest.approx(us * 1e-6) for us in measured.values()), group.name
