"""Elements at places that are computed, samples at points, and what follows: as the runtime gives
them, and the same bits in C."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.graph.ir import Graph
from compiler_core.graph.session import FloatSession
from compiler_core.graph.spelled.spelled_out import spelled_out
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import expected, write_bundle
from compiler_core.units.cpu.c.convert.builder import plain_type
from compiler_core.units.cpu.c.convert.convert import require_kernels, to_network
from compiler_core.units.cpu.c.convert.options import Options
from compiler_core.units.cpu.c.network import FLOAT
from tests.compiler_core.units.cpu.c.cases import Model, joined, ranges_of, samples
from tests.compiler_core.units.cpu.c.made import make_bundle
from tests.compiler_core.units.cpu.c.test_random_networks import SANITIZERS

FLOAT32 = Options(precision="float32")
WAYS = ("none", "add", "mul", "min", "max")


def check(graph: Graph, count: int = 2) -> None:
    """Compares the float network with the runtime."""
    flat = spelled_out(graph)
    require_kernels(flat, "float32")
    net = to_network(flat, {}, FLOAT32)
    for sample in samples(graph, count):
        wanted = FloatSession(graph).run(sample)
        _, found = expected(net, sample)
        for tensor, value, array in zip(graph.outputs, net.outputs, found, strict=True):
            real = net.real(value, array).reshape(wanted[tensor].shape)
            np.testing.assert_allclose(real, wanted[tensor], rtol=2e-4, atol=2e-5)


def whole(m: Model, x: str, low: int, high: int, kind: int = 7) -> str:
    """Whole numbers from ``low`` up to ``high``, of an input of real ones."""
    wide = m.node("Mul", x, m.array(float(high - low)))
    clipped = m.node("Clip", wide, m.array(float(low)), m.array(float(high)))
    return str(m.node("Cast", m.node("Round", clipped), to=kind))


def apart(m: Model, x: str, count: int) -> str:
    """Places of ``count`` that are all different, in an order that ``x`` decides."""
    return str(m.node("TopK", x, m.array([count], "int64"), outputs=2)[1])


def scattered_parts(shape: tuple[int, ...], depth: int, rows: int, way: str) -> Graph:
    """Where nothing is joined, places are different: the runtime may put them in any order."""
    few = min(rows, prod(shape[:depth]))
    updates = (few, *shape[depth:])
    if way == "none":
        m = Model(shape, (prod(shape[:depth]),), updates)
        flat = m.node("Slice", apart(m, "x1", prod(shape[:depth])), *_first(m, few))
        steps = np.cumprod([1, *shape[:depth][:0:-1]])[::-1]
        grid = m.node("Unsqueeze", flat, m.array([1], "int64"))
        places = m.node("Div", grid, m.array(steps, "int64"))
        places = m.node("Mod", places, m.array(shape[:depth], "int64"))
    else:
        m = Model(shape, (few, depth), updates)
        columns = [
            whole(m, m.node("Slice", "x1", *_column(m, axis)), -size, size - 1)
            for axis, size in enumerate(shape[:depth])
        ]
        places = m.node("Concat", *columns, axis=1)
    return m.graph(m.node("ScatterND", "x0", places, "x2", reduction=way))


def _first(m: Model, count: int) -> list[str]:
    return [m.array([n], "int64") for n in (0, count)]


def _column(m: Model, axis: int) -> list[str]:
    return [m.array([n], "int64") for n in (axis, axis + 1, 1)]


def scattered_elements(
    shape: tuple[int, ...], chosen: tuple[int, ...], axis: int, way: str, *, constant: bool
) -> Graph:
    m = Model(shape, chosen, chosen)
    if constant:
        places = m.array(m.random.integers(-shape[axis], shape[axis], chosen), "int64")
    else:
        places = whole(m, "x1", -shape[axis], shape[axis] - 1)
    more = [] if not constant else [m.node("Neg", "x1")]
    return m.graph(m.node("ScatterElements", "x0", places, "x2", axis=axis, reduction=way), *more)


def gathered(shape: tuple[int, ...], leading: int, depth: int, rows: int) -> Graph:
    m = Model(shape, (*shape[:leading], rows, depth))
    size = min(shape[leading : leading + depth])
    places = whole(m, "x1", -size, size - 1)
    return m.graph(m.node("GatherND", "x0", places, batch_dims=leading))


def gathered_elements(shape: tuple[int, ...], chosen: tuple[int, ...], axis: int) -> Graph:
    m = Model(shape, chosen)
    places = whole(m, "x1", -shape[axis], shape[axis] - 1)
    return m.graph(m.node("GatherElements", "x0", places, axis=axis))


@settings(max_examples=30)
@given(st.data())
def test_rows_at_computed_places(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    depth = data.draw(st.integers(1, len(shape)))
    rows, way = data.draw(st.integers(1, 5)), data.draw(st.sampled_from(WAYS))
    check(scattered_parts(shape, depth, rows, way))
    leading = data.draw(st.integers(0, len(shape) - 1))
    check(gathered(shape, leading, data.draw(st.integers(1, len(shape) - leading)), rows))


@settings(max_examples=30)
@given(st.data())
def test_elements_at_computed_places(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    chosen = tuple(data.draw(st.integers(1, size)) for size in shape)
    axis = data.draw(st.integers(0, len(shape) - 1))
    way, constant = data.draw(st.sampled_from(WAYS[1:])), data.draw(st.booleans())
    check(scattered_elements(shape, chosen, axis, way, constant=constant))
    more = tuple(n + 2 if i == axis else n for i, n in enumerate(chosen))
    check(gathered_elements(shape, more, axis))


def sampled(
    shape: tuple[int, ...], points: tuple[int, ...], mode: str, padding: str, align: int
) -> Graph:
    m = Model(shape, (shape[0], *points, len(points)))
    known = {"mode": mode, "padding_mode": padding, "align_corners": align}
    return m.graph(m.node("GridSample", "x0", "x1", **known))


@pytest.mark.parametrize("kind", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("way", ["add", "mul"])
def test_sums_of_whole_numbers_keep_their_lowest_bits(way: str, kind: int) -> None:
    check(scattered_numbers(way, kind))


def scattered_numbers(way: str, kind: int) -> Graph:
    m = Model((4, 3), (6,), (6, 3))
    rows, updates = (whole(m, x, 0 if kind in (2, 4) else -90, 120, kind) for x in ("x0", "x2"))
    places = m.node("Unsqueeze", whole(m, "x1", -2, 1), m.array([1], "int64"))
    found = m.node("ScatterND", rows, places, updates, reduction=way)
    return m.graph(m.node("Cast", found, to=1))


@settings(max_examples=40)
@given(st.data())
def test_samples_at_points(data: st.DataObject) -> None:
    rank = data.draw(st.sampled_from([2, 2, 3]))
    sizes = tuple(data.draw(st.integers(1, 5)) for _ in range(rank))
    points = tuple(data.draw(st.integers(1, 4)) for _ in range(rank))
    mode = data.draw(st.sampled_from(["nearest", "linear"] + ["cubic"] * (rank == 2)))
    padding = data.draw(st.sampled_from(["zeros", "border", "reflection"]))
    batch, channels = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3))
    check(sampled((batch, channels, *sizes), points, mode, padding, data.draw(st.integers(0, 1))))


EQUATIONS = {
    "ij->ji": [(3, 4)],
    "ij->": [(3, 4)],
    "bii->bi": [(2, 3, 3)],
    "ii": [(3, 3)],
    "i,i": [(4,), (4,)],
    "...ij->...i": [(2, 2, 3, 4)],
    "bi,bj,b->bij": [(2, 3), (2, 2), (2,)],
    "i,j,k->ijk": [(3,), (2,), (4,)],
    "bi,bj,bk->bijk": [(1, 3), (1, 2), (4, 4)],
    "ij,jk,kl->il": [(2, 3), (3, 4), (4, 2)],
}


def einsum(equation: str) -> Graph:
    m = Model(*EQUATIONS[equation])
    return m.graph(m.node("Einsum", *m.inputs, equation=equation))


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_of_any_operands(equation: str) -> None:
    check(einsum(equation))


@pytest.mark.parametrize("op", ["ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum"])
def test_reductions_of_one_number(op: str) -> None:
    m = Model((2, 3))
    one = m.node("ReduceSum", m.node("Mul", "x0", m.array(0.3)), keepdims=0)
    check(m.graph(m.node(op, m.node("Tanh", one), keepdims=0)))


@pytest.mark.parametrize("size", [6, 7])
@pytest.mark.parametrize(
    "known", [{}, {"inverse": 1}, {"inverse": 1, "onesided": 1}], ids=["there", "back", "real"]
)
@pytest.mark.parametrize("length", [None, 5, 9, 13])
def test_complex_waves(size: int, known: dict[str, int], length: int | None) -> None:
    if "onesided" in known and length not in (None, 2 * size - 1):
        return  # of more or fewer frequencies than there are, which is refused
    m = Model((2, size, 3, 2))
    words = ["" if length is None else m.array(length, "int64"), m.array(1, "int64")]
    check(m.graph(m.node("DFT", "x0", *words, **known)))


@settings(max_examples=15)
@given(st.data())
def test_columns_to_image(data: st.DataObject) -> None:
    block = [data.draw(st.integers(1, 3)) for _ in range(2)]
    known = {
        "strides": [data.draw(st.integers(1, 3)) for _ in range(2)],
        "dilations": [data.draw(st.integers(1, 2)) for _ in range(2)],
        "pads": [data.draw(st.integers(0, min(1, block[a % 2] - 1))) for a in range(4)],
    }
    image = [data.draw(st.integers(5, 8)) for _ in range(2)]
    counts = [
        (n + known["pads"][a] + known["pads"][2 + a] - (b - 1) * known["dilations"][a] - 1)
        // known["strides"][a]
        + 1
        for a, (n, b) in enumerate(zip(image, block, strict=True))
    ]
    m = Model((2, 3 * prod(block), prod(counts)))
    words = (m.array(image, "int64"), m.array(block, "int64"))
    check(m.graph(m.node("Col2Im", "x0", *words, **known)))


def test_what_follows_from_shapes() -> None:
    m = Model((2, 3))
    same = m.node("Add", "x0", m.node("EyeLike", "x0", k=1))
    sizes = m.node("Cast", m.node("Shape", "x0"), to=1)
    check(m.graph(same, sizes, m.node("Cast", m.node("Size", "x0"), to=1)))


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7, 9, 12])
def test_diagonals_of_any_numbers(number: int) -> None:
    m = Model((2, 3))
    graph = m.graph(m.node("EyeLike", "x0", k=1, dtype=number))
    net = to_network(spelled_out(graph), {}, FLOAT32)
    _, (found,) = expected(net, samples(graph, 1)[0])
    wanted = plain_type(graph.types[graph.outputs[0]].dtype) or FLOAT
    assert net.values[net.outputs[0]].type == wanted
    np.testing.assert_array_equal(net.real(net.outputs[0], found).reshape(2, 3), np.eye(2, 3, 1))


def test_what_grows_with_the_square_of_a_length_stays() -> None:
    long = Model((1, 4096, 1))
    size = long.array(4096, "int64")
    waves = long.graph(long.node("DFT", "x0"), long.node("STFT", "x0", size, "", size))
    large = Model((1, 128 * 128, 1))
    image = large.array([128, 128], "int64")
    for graph in (waves, large.graph(large.node("Col2Im", "x0", image, image))):
        assert spelled_out(graph) is graph


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_same_bits(precision: str, tmp_path: Path, check_bundle: Callable[..., str]) -> None:
    parts = {f"rows_{way}": scattered_parts((4, 3), 1, 3, way) for way in WAYS}
    parts["elements"] = scattered_elements((3, 4), (2, 4), 1, "min", constant=False)
    parts["gathered"] = gathered((3, 4, 2), 1, 1, 3)
    for at, (padding, mode) in enumerate(
        (("zeros", "linear"), ("border", "cubic"), ("reflection", "nearest"))
    ):
        parts[f"sampled_{padding}"] = sampled((1, 2, 4, 5), (3, 3), mode, padding, at % 2)
    parts["volume"] = sampled((1, 2, 3, 2, 4), (2, 2, 2), "linear", "reflection", 1)
    parts["outer"] = einsum("i,j,k->ijk")
    parts["numbers"] = scattered_numbers("mul", 5)
    if precision == "float32":
        parts["powers"] = powers()
    both = joined({name: spelled_out(graph) for name, graph in parts.items()})
    ranges = ranges_of(both) if precision == "int8" else {}
    bundle = make_bundle(both, ranges, "places", Options(precision=precision))
    write_bundle(bundle, tmp_path, samples(both, 3))
    for command in (("gcc", "-O3"), ("clang", *SANITIZERS)):
        assert "3 of 3" in check_bundle(tmp_path, *command)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cortex-m4", "cortex-m55", "rv32imc"])
def test_same_bits_there(name: str, tmp_path: Path) -> None:
    core = cores.core_of(name)
    if lacking := cores.missing(core):
        pytest.skip(f"{lacking[0]} is not installed")
    parts = {
        "rows": scattered_parts((4, 3), 1, 3, "add"),
        "sampled": sampled((1, 2, 4, 5), (3, 3), "cubic", "reflection", 0),
        "powers": powers(),
    }
    both = joined({name: spelled_out(graph) for name, graph in parts.items()})
    write_bundle(make_bundle(both, {}, "places", FLOAT32, name), tmp_path, samples(both, 2))
    cores.check(core, tmp_path, tmp_path / "program")


def powers() -> Graph:
    """Whole exponents of any size."""
    m = Model((2, 20))
    near = m.node("Add", m.node("Mul", "x0", m.array(0.1)), m.array(1.0))
    signed = m.node("Mul", near, m.node("Sign", "x0"))
    found = [m.node("Pow", signed, m.array([float(n)])) for n in (0, 9, 12, -9, -30, 3)]
    found += [m.node("Pow", signed, m.array(n, kind)) for n, kind in ((2, "int64"), (-3, "int32"))]
    found.append(m.node("Pow", signed, m.array(range(-10, 10), "int64")))
    return m.graph(*found, m.node("Pow", near, m.array([-2.5])))


def test_powers_of_any_size() -> None:
    check(powers())


def test_points_far_away_and_none_read_inside() -> None:
    graph = sampled((1, 1, 3, 3), (1, 5), "linear", "border", 0)
    net = to_network(spelled_out(graph), {}, FLOAT32)
    x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    far = np.array([1e30, -1e30, np.nan, np.inf, -np.inf], np.float32)
    feeds: dict[str, Any] = {"x0": x, "x1": np.stack([far, far], axis=-1).reshape(1, 1, 5, 2)}
    _, (found,) = expected(net, feeds)
    assert found.ravel().tolist() == [8, 0, 0, 8, 0]
