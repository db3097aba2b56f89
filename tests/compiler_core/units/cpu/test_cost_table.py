"""CPU cost tables: there and back, costs from them, and every kind of wrong table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compiler_core.clock.one import MIN_REPEATS, measure
from compiler_core.compile.compile import compile_model
from compiler_core.compile.sources import load_model, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.macs import element_operations, float_macs, node_bytes, weight_bytes
from compiler_core.targets.load import load_target
from compiler_core.targets.target import CpuRow
from compiler_core.units.cpu.cost import node_cost
from compiler_core.units.cpu.cost_table import (
    COLUMNS,
    operator_signature,
    parse_cpu_table,
    read_cpu_table,
    table_costs,
    write_cpu_table,
)
from compiler_core.units.cpu.measure import measure_model, profile_cpu, random_inputs

HEADER = ",".join(COLUMNS)
LINE = "Relu,Relu 1x2 -> 1x2,1,5.0,4.0,6.0,30"


@pytest.fixture(scope="module")
def graph(
    synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Graph]:
    folder = tmp_path_factory.mktemp("tables")
    return lambda name: load_model(Path(synthetic.write(name, folder))).graph


def _row(signature: str, times: list[int], counts: tuple[int, int]) -> CpuRow:
    low, median, high = (time / 1000 for time in sorted(times))
    return CpuRow("Op", signature, counts[0], median, low, high, counts[1])


ROWS = st.builds(
    _row,
    st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()),
    st.lists(st.integers(0, 10**9), min_size=3, max_size=3),
    st.tuples(st.integers(0, 999), st.integers(0, 999)),
)


@given(st.lists(ROWS, unique_by=lambda row: row.signature, max_size=5))
@settings(max_examples=50)
def test_tables_read_back(rows: list[CpuRow]) -> None:
    found = parse_cpu_table(write_cpu_table(rows), "t.csv")
    assert dict(found.rows) == {row.signature: row for row in rows}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "columns nothing"),
        ("operator,median_us\n", "columns operator,median_us"),
        (f"{HEADER}\n{LINE}\n{LINE}\n", "line 3: signature 'Relu 1x2 -> 1x2' is there twice"),
        (f"{HEADER}\n{LINE.replace('5.0', '-5.0')}\n", "median_us = '-5.0'"),
        (f"{HEADER}\n{LINE.replace('5.0', 'nan')}\n", "median_us = 'nan'"),
        (f"{HEADER}\n{LINE.replace('5.0', '1e99')}\n", "median_us = '1e99'"),
        (f"{HEADER}\n{LINE.replace('5.0', 'fast')}\n", "median_us = 'fast'"),
        (f"{HEADER}\n{LINE.replace('4.0', '5.5')}\n", "between the quartiles"),
        (f"{HEADER}\n{LINE.replace(',30', ',-3')}\n", "repeats = '-3'"),
        (f"{HEADER}\nRelu\n", "1 values; 7 are needed"),
        (f"{HEADER}\n,x,1,5,4,6,3\n", "operator is empty"),
        (f'{HEADER}\n"', "not a CSV file"),
    ],
)
def test_wrong_tables(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "cpu.csv"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_cpu_table(path)
    assert message in caught.value.message
    assert "cpu.csv" in caught.value.message


def test_a_table_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_cpu_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="not a CSV file"):
        parse_cpu_table(b"\xff\xfe", "t.csv")


def test_profile_measures_every_operator(graph: Callable[[str], Graph]) -> None:
    model = graph("concat")
    feeds = random_inputs(model)
    rows = profile_cpu(model, repeats=5, budget_s=0.0, feeds=feeds)
    table = parse_cpu_table(write_cpu_table(rows), "measured.csv")
    assert {operator_signature(model, node) for node in model.nodes} == set(table.rows)
    assert sum(row.count for row in rows) == len(model.nodes)
    cpu = load_target("vta").cpu
    costs = table_costs(cpu, table, model)
    for node in model.nodes:
        row = table.rows[operator_signature(model, node)]
        assert costs(model, node).seconds == row.median_us * 1e-6
        assert row.low_us <= row.median_us <= row.high_us
        assert row.median_us > 0
        assert row.repeats >= MIN_REPEATS


def test_a_missing_operator_is_named(graph: Callable[[str], Graph]) -> None:
    model = graph("residual")
    rows = profile_cpu(model, repeats=5, budget_s=0.0)
    missing = next(node for node in model.nodes if node.op == "Conv")
    kept = [row for row in rows if row.signature != operator_signature(model, missing)]
    table = parse_cpu_table(write_cpu_table(kept), "short.csv")
    with pytest.raises(InputError) as caught:
        table_costs(load_target("vta").cpu, table, model)
    assert repr(missing.name) in caught.value.message
    assert "the nearest row is" in caught.value.message
    assert "profile-cpu" in (caught.value.hint or "")


def test_measure_repeats_within_its_budget() -> None:
    calls = []
    timing = measure(lambda: calls.append(0), repeats=50, budget_s=10.0)
    assert timing.repeats == 50
    assert len(calls) == 52
    assert timing.low_us <= timing.median_us <= timing.high_us
    assert measure(lambda: None, repeats=1000, budget_s=0.0).repeats == MIN_REPEATS


def test_whole_models_are_measured(graph: Callable[[str], Graph]) -> None:
    model = graph("concat")
    timing = measure_model(model, repeats=5)
    assert timing.median_us > 0
    assert timing.spread >= 0
    assert set(random_inputs(model)) == set(model.inputs)
    first, second = random_inputs(model), random_inputs(model)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_analytic_costs_by_hand(graph: Callable[[str], Graph]) -> None:
    model, cpu = graph("residual"), load_target("vta").cpu
    conv = next(node for node in model.nodes if node.op == "Conv")
    weight = model.constants[conv.inputs[1]]
    _, channels, height, width = model.types[conv.output].shape or (1, 1, 1, 1)
    results = (channels or 1) * (height or 1) * (width or 1)
    macs = results * int(np.prod(weight.shape[1:]))
    assert float_macs(model, conv) == macs
    assert element_operations(model, conv) == results
    expected = macs / cpu.float_macs_per_cycle / cpu.clock_hz + cpu.operator_overhead_s
    assert node_cost(cpu, model, conv).seconds == pytest.approx(expected)
    constants = sum(model.constants[name].nbytes for name in conv.inputs[1:])
    assert weight_bytes(model, conv) == constants
    assert node_bytes(model, conv) > constants + 4 * results


def one_operator(
    op: str,
    inputs: dict[str, list[int]],
    outputs: dict[str, list[int]],
    weights: dict[str, tuple[int, ...]],
    **attributes: Any,
) -> bytes:
    """A model of one node; its inputs come before its weights."""

    def info(shapes: dict[str, list[int]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]

    draw = np.random.default_rng(0)
    values = [
        numpy_helper.from_array(draw.normal(size=shape).astype("f4"), name)
        for name, shape in weights.items()
    ]
    node = helper.make_node(op, [*inputs, *weights], list(outputs), name="n", **attributes)
    graph = helper.make_graph([node], "one", info(inputs), info(outputs), values)
    opsets = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(
        graph, opset_imports=opsets, ir_version=10
    ).SerializeToString()
    return content


X = {"x": [2, 3, 8, 8]}
SEQUENCE = {"x": [5, 2, 6]}


@pytest.mark.parametrize(
    ("content", "macs"),
    [
        (
            one_operator("Conv", X, {"y": [2, 4, 6, 6]}, {"w": (4, 3, 3, 3)}),
            2 * 4 * 36 * 27,
        ),
        (
            one_operator("ConvTranspose", X, {"y": [2, 5, 10, 10]}, {"w": (3, 5, 3, 3)}),
            2 * 5 * 100 * 3 * 9,  # as the convolution that it becomes
        ),
        (
            one_operator("Gemm", {"x": [2, 7]}, {"y": [2, 3]}, {"w": (7, 3)}),
            2 * 3 * 7,
        ),
        (
            one_operator("MatMul", {"x": [4, 2, 7], "z": [4, 7, 3]}, {"y": [4, 2, 3]}, {}),
            4 * 2 * 3 * 7,
        ),
        (
            one_operator(
                "LSTM", SEQUENCE, {"y": [5, 1, 2, 4]}, {"w": (1, 16, 6), "r": (1, 16, 4)},
                hidden_size=4,
            ),
            5 * 2 * 16 * (6 + 4),
        ),
        (
            one_operator(
                "GRU", SEQUENCE, {"y": [5, 2, 2, 4]}, {"w": (2, 12, 6), "r": (2, 12, 4)},
                hidden_size=4, direction="bidirectional",
            ),
            5 * 2 * 2 * 12 * (6 + 4),
        ),
        (
            one_operator(
                "RNN", SEQUENCE, {"y": [5, 1, 2, 4]}, {"w": (1, 4, 6), "r": (1, 4, 4)},
                hidden_size=4,
            ),
            5 * 2 * 4 * (6 + 4),
        ),
        (
            one_operator(
                "Einsum", {"x": [2, 3, 5], "z": [2, 5, 7]}, {"y": [2, 3, 7]}, {},
                equation="b i k, b k j -> b i j",
            ),
            2 * 3 * 5 * 7,
        ),
        (
            one_operator(
                "Einsum", {"x": [2, 3, 4, 5], "z": [5, 7]}, {"y": [2, 3, 4, 7]}, {},
                equation="...k,kj->...j",
            ),
            2 * 3 * 4 * 5 * 7,
        ),
        (
            one_operator("Einsum", {"x": [3, 5]}, {"y": [5, 3]}, {}, equation="ij->ji"),
            0,
        ),
        (one_operator("Sigmoid", X, {"y": [2, 3, 8, 8]}, {}), 0),
    ],
)  # fmt: skip
def test_a_report_counts_the_products_of_every_operator_of_the_cpu(
    tmp_path: Path, content: bytes, macs: int
) -> None:
    path = tmp_path / "one.onnx"
    path.write_bytes(content)
    model = load_model(path)
    plan = {node.name: "cpu" for node in model.graph.nodes}
    source = quantize_model(model, Configuration(plan=plan), None)
    built = compile_model(source, load_target("vta"))
    assert sum(layer.macs for layer in built.report.layers) == macs
    assert {layer.unit for layer in built.report.layers} == {"cpu"}
