"""Functions, Softmax, Concat and LayerNormalization on activations of 16 bits: every bit."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from math import floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.graph.ir import Graph
from compiler_core.graph.session import FloatSession
from compiler_core.units.cpu.c.arithmetic.fixed_point import narrow_multiplier
from compiler_core.units.cpu.c.arithmetic.pointwise import between_entries
from compiler_core.units.cpu.c.arithmetic.weighted import WeightedRequantization
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import Bundle, expected, write_bundle
from compiler_core.units.cpu.c.convert.options import Options
from compiler_core.units.cpu.c.convert.sources import wide_inputs
from compiler_core.units.cpu.c.operators.pointwise import Softmax, WideTable
from compiler_core.units.cpu.c.operators.real import Normalization, RealMap
from compiler_core.units.cpu.c.operators.weighted import MatrixProduct
from tests.compiler_core.units.cpu.c.cases import (
    Model,
    options_of,
    ranges_of,
    samples,
    weighted_nodes,
)
from tests.compiler_core.units.cpu.c.made import make_bundle
from tests.compiler_core.units.cpu.c.test_qdq import alone, session
from tests.compiler_core.units.cpu.c.test_small_networks import attending

SMOOTH = ["Elu", "Erf", "Exp", "Gelu", "HardSwish", "LeakyRelu", "Selu", "Sigmoid"]
SMOOTH += ["Softplus", "Softsign", "Swish", "Tanh", "Mish", "Relu"]


@cache
def model() -> Graph:
    """All functions side by side, behind one layer and joined before another."""
    m = Model((1, 8, 6, 5))
    first = m.node("Conv", "x0", m.weight(8, 8, 1, 1), m.weight(8))
    found = [m.node(op, first) if op != "Swish" else swish(m, first) for op in SMOOTH]
    joined = m.node("Concat", *found, axis=1)
    small = m.node("Conv", joined, m.weight(8, 8 * len(found), 1, 1, scale=0.2), m.weight(8))
    rows = m.node("Transpose", small, perm=[0, 2, 3, 1])
    even = m.node("LayerNormalization", rows, m.weight(8), m.weight(8), axis=-1)
    last = m.node("Gemm", m.node("Reshape", even, m.array([30, 8], "int64")), m.weight(8, 9))
    return m.graph(m.node("Softmax", last, axis=-1), m.node("Softmax", even, axis=1))


def swish(m: Model, value: str) -> str:
    found: str = m.node("Mul", value, m.node("Sigmoid", value))
    return found


@cache
def bundle(core: str = "c99", *, wide: bool = True) -> Bundle:
    graph = model()
    layers = frozenset(weighted_nodes(graph)) if wide else frozenset()
    return make_bundle(graph, ranges_of(graph), "wide", Options(int16_layers=layers), core)


def test_all_of_it_has_16_bits() -> None:
    network = bundle().network
    kinds = [value.type.dtype for value in network.values.values()]
    assert set(kinds) == {"int16"}
    tables = [item for item in network.operators if isinstance(item, WideTable)]
    assert len(tables) >= len(SMOOTH) - 1  # Relu may be a clamp
    assert not any(isinstance(item, RealMap) for item in network.operators)
    assert any(isinstance(item, Normalization) for item in network.operators)
    assert all(item.wide for item in network.operators if isinstance(item, Softmax))


@pytest.mark.parametrize(
    "command",
    [
        ("gcc", "-O0"),
        ("gcc", "-O3"),
        ("clang", "-O0"),
        ("clang", "-O3"),
        ("gcc", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    ],
    ids=" ".join,
)
def test_same_bits_here(
    command: tuple[str, ...], tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    write_bundle(bundle(), tmp_path, samples(model(), 3))
    assert "3 of 3" in check_bundle(tmp_path, *command)


@pytest.mark.parametrize("name", ["cortex-m4", "cortex-m55", "rv32imc"])
def test_same_bits_there(name: str, tmp_path: Path) -> None:
    core = cores.core_of(name)
    if lacking := cores.missing(core):
        pytest.skip(f"{lacking[0]} is not installed")
    write_bundle(bundle(name), tmp_path, samples(model(), 2))
    cores.check(core, tmp_path, tmp_path / "program")


def test_attention_has_16_bits_from_its_input_on() -> None:
    """Products of two activations, too; what is between an input and the first layers takes their
    type."""
    graph = attending()
    network = make_bundle(graph, ranges_of(graph), "attending", options_of(graph, "int16")).network
    assert "int8" not in {value.type.dtype for value in network.values.values()}
    products = [item for item in network.operators if isinstance(item, MatrixProduct)]
    assert len(products) == 2
    assert all(item.scaling.wide for item in products)


def test_inputs_are_wide_where_all_layers_that_they_reach_are() -> None:
    m = Model((1, 6), (1, 6), (1, 6))
    both = m.node("MatMul", m.node("Add", "x0", "x1"), m.weight(6, 4))
    narrow = m.node("MatMul", m.node("Abs", "x1"), m.weight(6, 4))
    graph = m.graph(m.node("MatMul", m.node("Add", both, narrow), m.weight(4, 4)), "x2")
    first, second, _ = weighted_nodes(graph)
    assert wide_inputs(graph, frozenset({first})) == {"x0"}
    assert wide_inputs(graph, frozenset({first, second})) == {"x0", "x1"}
    assert wide_inputs(graph, frozenset()) == frozenset()


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_products_by_fractions(data: st.DataObject) -> None:
    """Sums of 64 bits beside exact fractions, rounded half up."""
    sizes = [data.draw(st.integers(1, 5)) for _ in range(3)]
    ends = st.integers(-(1 << 15), (1 << 15) - 1)
    a, b = (
        np.array(data.draw(st.lists(ends, min_size=n, max_size=n)), np.int16).reshape(1, *shape)
        for n, shape in (
            (sizes[0] * sizes[1], sizes[:2]),
            (sizes[1] * sizes[2], sizes[1:]),
        )
    )
    multiplier, shift = (
        data.draw(st.integers(1 << 30, (1 << 31) - 1)),
        data.draw(st.integers(-31, -8)),
    )
    scaling = WeightedRequantization(
        np.array(multiplier), np.array(shift), 0, -(1 << 15), (1 << 15) - 1, wide=True
    )
    found = MatrixProduct("m", ("a", "b"), "y", (0, 0), scaling).compute([a, b])
    factor = Fraction(int(narrow_multiplier(multiplier))) * Fraction(2) ** (shift - 15)
    for row in range(sizes[0]):
        for column in range(sizes[2]):
            pairs = zip(a[0, row].tolist(), b[0, :, column].tolist(), strict=True)
            exact = sum(x * y for x, y in pairs) * factor
            whole = min(max(floor(exact + Fraction(1, 2)), -(1 << 15)), (1 << 15) - 1)
            assert found[0, row, column] == whole


def test_runtimes_give_tables_the_same_bits() -> None:
    """The QDQ form of a table is the table itself; the others are at most a step apart."""
    network = bundle().network
    inputs, _ = expected(network, samples(model(), 1)[0])
    known = network.run(dict(zip(network.inputs, inputs, strict=True)))
    for operator in network.operators:
        if not isinstance(operator, WideTable | Softmax | Normalization):
            continue
        single = alone(network, operator)
        (found,) = session(single).run(None, {name: known[name] for name in single.inputs})
        apart = np.abs(known[operator.output].astype(np.int64) - found.astype(np.int64)).max()
        most = {WideTable: 0, Softmax: 4, Normalization: 2}[type(operator)]
        assert apart <= most, (operator.name, apart)


def test_is_nearer_to_the_real_numbers_than_8_bits() -> None:
    graph = model()
    real = FloatSession(graph)
    errors = {False: 0.0, True: 0.0}
    for sample in samples(graph, 4):
        wanted = real.run(sample)
        for wide in errors:
            network = bundle(wide=wide).network
            _, found = expected(network, sample)
            for tensor, name, array in zip(graph.outputs, network.outputs, found, strict=True):
                ours = network.real(name, array).reshape(wanted[tensor].shape)
                errors[wide] = max(errors[wide], float(np.abs(ours - wanted[tensor]).max()))
    assert errors[True] < errors[False] / 20


@pytest.mark.parametrize("op", ["Round", "Floor", "Sign"])
def test_functions_with_steps_are_not_tables(op: str) -> None:
    """A line between two entries would be far off: they are computed in float32."""
    m = Model((1, 8, 6))
    first = m.node("MatMul", "x0", m.weight(6, 6))
    graph = m.graph(m.node("MatMul", m.node(op, first), m.weight(6, 4)))
    options = Options(int16_layers=frozenset(weighted_nodes(graph)))
    network = make_bundle(graph, ranges_of(graph), "steps", options).network
    kinds = [type(item) for item in network.operators]
    assert WideTable not in kinds
    assert RealMap in kinds


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-(1 << 15), (1 << 15) - 1), min_size=513, max_size=513), st.data())
def test_between_entries_by_fractions(entries: list[int], data: st.DataObject) -> None:
    """Beside exact fractions, rounded half up."""
    x = data.draw(st.integers(-(1 << 15), (1 << 15) - 1))
    place, share = divmod(x + (1 << 15), 128)
    line = Fraction(entries[place]) + Fraction(share * (entries[place + 1] - entries[place]), 128)
    (found,) = between_entries(np.array([x]), np.array(entries, np.int16))
    assert found == floor(line + Fraction(1, 2))
