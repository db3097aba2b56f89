"""Operators of whole numbers and truths: those of the runtime, and the same bits in C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession
from compiler_core.graph.spelled.spelled_out import spelled_out
from compiler_core.quantize.profile import profile_model
from compiler_core.units.cpu.c.bundles.bundle import expected, write_bundle
from compiler_core.units.cpu.c.convert.convert import require_kernels, to_network
from compiler_core.units.cpu.c.convert.options import Options
from compiler_core.units.cpu.c.operators.choosing import LargestPlaces, Lookup, OneHot, Pick
from tests.compiler_core.units.cpu.c.cases import joined
from tests.compiler_core.units.cpu.c.made import make_bundle
from tests.compiler_core.units.cpu.c.test_random_networks import SANITIZERS
from tests.compiler_core.units.cpu.c.tiny_networks import Exported, data_of

INT64, INT32, BOOL = TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL
Build = Callable[[Exported, str, str], list[tuple[str, int]]]


def places(op: str, **attributes: Any) -> Build:
    return lambda b, x, _: [(b.node(op, x, **attributes), INT64)]


def topk(count: int, **attributes: Any) -> Build:
    def build(b: Exported, x: str, _: str) -> list[tuple[str, int]]:
        values, found = b.node("TopK", x, b.whole(count), outputs=2, **attributes)
        return [(values, TensorProto.FLOAT), (found, INT64)]

    return build


def compared(op: str) -> Build:
    """A truth as a number, a factor, and a choice between numbers."""

    def build(b: Exported, x: str, _: str) -> list[tuple[str, int]]:
        truth = b.node(op, x, b.array([[[0.1], [-0.2], [0.0]]]))
        number = b.node("Cast", truth, to=TensorProto.FLOAT)
        other = b.node("Not", truth)
        return [
            (b.node("Mul", x, number), TensorProto.FLOAT),
            (b.node("Where", other, b.node("Neg", x), b.array(0.25)), TensorProto.FLOAT),
            (b.node("Cast", other, to=INT32), INT32),
        ]

    return build


def logic(op: str) -> Build:
    def build(b: Exported, x: str, _: str) -> list[tuple[str, int]]:
        truths = [b.node("Less", x, b.array(limit)) for limit in (-0.3, 0.4)]
        return [(b.node(op, *truths), BOOL)]

    return build


def picked(b: Exported, x: str, _: str) -> list[tuple[str, int]]:
    found = b.node("ArgMin", x, axis=2, keepdims=1)
    return [(b.node("GatherElements", x, found, axis=2), TensorProto.FLOAT)]


def looked_up(axis: int) -> Build:
    def build(b: Exported, x: str, k: str) -> list[tuple[str, int]]:
        less = b.node("Gather", k, b.whole(1, 2), axis=1)
        table = b.node("Gather", b.weight(6, 7), k, axis=0)
        return [
            (b.node("Gather", x, less, axis=axis), TensorProto.FLOAT),
            (b.node("Gather", b.array([5, 3, 8, 1, 0], "int64"), k), INT64),
            (b.node("Concat", k, less, axis=1), INT64),
            (table, TensorProto.FLOAT),
        ]

    return build


def one_hot(axis: int) -> Build:
    def build(b: Exported, _: str, k: str) -> list[tuple[str, int]]:
        parts = (b.array(3, "int64"), b.array([-1.0, 2.0]))
        return [(b.node("OneHot", k, *parts, axis=axis), TensorProto.FLOAT)]

    return build


def running(**attributes: int) -> Build:
    return lambda b, x, _: [
        (b.node("CumSum", x, b.array(1, "int64"), **attributes), TensorProto.FLOAT)
    ]


def whole(b: Exported, x: str, k: str) -> list[tuple[str, int]]:
    large = b.node("Cast", b.node("Mul", x, b.array(4.0)), to=INT64)
    real = b.node("Cast", k, to=TensorProto.FLOAT)
    return [(large, INT64), (b.node("Mul", real, b.array(0.5)), TensorProto.FLOAT)]


def arithmetic(b: Exported, _: str, k: str) -> list[tuple[str, int]]:
    """Of whole numbers, some of them negative, zero, or too large for what follows."""
    some = b.node("Sub", k, b.whole(1))
    large = b.node("Mul", some, b.whole(1 << 30))
    return [
        (b.node("Add", some, b.node("Reshape", k, b.whole(4, 1))), INT64),
        (b.node("Mod", some, b.whole(-3)), INT64),
        (b.node("Mod", some, b.whole(2), fmod=1), INT64),
        (b.node("Div", b.node("Mul", some, b.whole(7)), b.whole(2)), INT64),
        (b.node("Max", some, b.whole(0, 1, -1, 5)), INT64),
        (b.node("Min", some, b.node("Abs", b.node("Neg", k)), b.whole(1)), INT64),
        (b.node("Clip", some, b.array(-1, "int64"), b.array(0, "int64")), INT64),
        (b.node("Div", large, b.whole(3)), INT64),
    ]


def folded(b: Exported, _: str, k: str) -> list[tuple[str, int]]:
    some = b.node("Sub", b.node("Reshape", k, b.whole(2, 2)), b.whole(1))
    axes = b.whole(0)
    return [
        (b.node("ReduceSum", some, axes, keepdims=0), INT64),
        (b.node("ReduceMax", some, axes=[1]), INT64),
        (b.node("ReduceMin", some, keepdims=0), INT64),
        (b.node("CumSum", some, b.array(1, "int64")), INT64),
        (b.node("CumSum", some, b.array(0, "int64"), exclusive=1, reverse=1), INT64),
    ]


def truths(b: Exported, x: str, k: str) -> list[tuple[str, int]]:
    """What padding is made of: a mask of tokens, and their positions."""
    kept = b.node("Cast", k, to=BOOL)
    ones = b.node("Cast", kept, to=INT64)
    places = b.node("Mul", b.node("CumSum", ones, b.array(1, "int64")), ones)
    table = b.node("Gather", b.weight(6, 7), places, axis=0)
    sign = b.node("Cast", b.node("Cast", x, to=BOOL), to=TensorProto.FLOAT)
    return [(kept, BOOL), (table, TensorProto.FLOAT), (sign, TensorProto.FLOAT)]


def masked(b: Exported, x: str, _: str) -> list[tuple[str, int]]:
    """Scores that a mask takes out before a Softmax."""
    scores = b.node("MatMul", x, b.node("Transpose", x, perm=[0, 2, 1]))
    mask = b.array(np.tril(np.ones((3, 3))), "bool")
    return [
        (b.node("Softmax", b.node("Where", mask, scores, b.array(low)), axis=-1), TensorProto.FLOAT)
        for low in (-1e4, -np.inf)
    ]


def volumes(b: Exported, x: str, _: str) -> list[tuple[str, int]]:
    volume = b.node("Reshape", x, b.whole(1, 1, 3, 4, 5))
    known: dict[str, Any] = {"kernel_shape": [2, 3, 2], "strides": [1, 2, 1]}
    pads = {"pads": [1, 0, 1, 0, 1, 0]}
    return [
        (b.node("MaxPool", volume, **known, **pads), TensorProto.FLOAT),
        (b.node("AveragePool", volume, **known, **pads), TensorProto.FLOAT),
        (b.node("AveragePool", volume, count_include_pad=1, **known, **pads), TensorProto.FLOAT),
        (b.node("GlobalAveragePool", volume), TensorProto.FLOAT),
    ]


BUILDS: dict[str, Build] = {
    "largest": places("ArgMax", axis=1),
    "largest_flat": places("ArgMax", axis=2, keepdims=0),
    "largest_last": places("ArgMax", axis=1, select_last_index=1),
    "smallest": places("ArgMin", axis=-1, select_last_index=1),
    "top": topk(3, axis=1),
    "top_columns": topk(6),
    "bottom": topk(4, axis=2, largest=0),
    **{op: compared(op) for op in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal")},
    **{op: logic(op) for op in ("And", "Or", "Xor")},
    "picked": picked,
    "looked_up": looked_up(2),
    "looked_up_rows": looked_up(1),
    "one_hot": one_hot(-1),
    "one_hot_first": one_hot(1),
    "running": running(),
    "running_back": running(exclusive=1, reverse=1),
    "whole": whole,
    "arithmetic": arithmetic,
    "folded": folded,
    "truths": truths,
    "masked": masked,
    "volumes": volumes,
}


def model_of(name: str) -> onnx.ModelProto:
    b = Exported(17)
    x = b.input("x", [1, 3, 20])
    k = b.input("k", [1, 4], INT64)
    for tensor, kind in BUILDS[name](b, x, k):
        b.output(tensor, kind)
    return b.model()


def prepared(name: str) -> tuple[Graph, list[dict[str, Any]]]:
    model = model_of(name)
    graph = spelled_out(simplify(import_model(model)))
    require_kernels(graph)
    data = data_of(model, 4)
    for sample in data:
        sample["k"] = np.minimum(sample["k"], 2)
        sample["x"] = np.round(sample["x"], 1).astype(np.float32)  # some are equal
    return graph, data


@pytest.mark.parametrize("name", BUILDS)
def test_as_the_runtime(name: str) -> None:
    graph, data = prepared(name)
    net = to_network(graph, {}, Options(precision="float32"))
    for sample in data:
        wanted = FloatSession(graph).run(sample)
        _, found = expected(net, sample)
        for tensor, value, array in zip(graph.outputs, net.outputs, found, strict=True):
            real = net.real(value, array).reshape(wanted[tensor].shape)
            np.testing.assert_allclose(real, wanted[tensor], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_same_bits(precision: str, tmp_path: Path, check_bundle: Callable[..., str]) -> None:
    parts = {name: prepared(name) for name in BUILDS}
    whole = joined({name: graph for name, (graph, _) in parts.items()})
    ranges = {}
    for name, (graph, data) in parts.items():
        arrays = {key: np.concatenate([item[key] for item in data]) for key in graph.inputs}
        known = profile_model(graph, arrays).ranges()
        ranges |= {f"{name}/{tensor}": one for tensor, one in known.items()}
    fed = [
        {f"{n}/{key}": data[i][key] for n, (_, data) in parts.items() for key in data[i]}
        for i in range(3)
    ]
    write_bundle(
        make_bundle(whole, ranges, "choosing", Options(precision=precision)), tmp_path, fed
    )
    for command in (("gcc", "-O3"), ("clang", "-O2"), ("clang", *SANITIZERS)):
        assert "3 of 3" in check_bundle(tmp_path, *command)


def test_masks_keep_what_they_leave() -> None:
    """A constant far outside does not widen the range of 8 bits."""
    graph, data = prepared("masked")
    arrays = {key: np.concatenate([item[key] for item in data]) for key in graph.inputs}
    net = to_network(graph, profile_model(graph, arrays).ranges(), Options())
    for sample in data:
        wanted = FloatSession(graph).run(sample)
        _, found = expected(net, sample)
        for tensor, value, array in zip(graph.outputs, net.outputs, found, strict=True):
            apart = np.abs(net.real(value, array) - wanted[tensor])
            assert apart.max() < 0.06


def test_places_outside_go_to_the_nearest_end() -> None:
    places = np.array([-9, -3, -1, 0, 2, 3, 99], np.int32)
    rows = np.arange(3, dtype=np.float32)[None, :, None]
    named = ("n", ("x", "k"), "y", (1, 3, 1), 7)
    wanted = [0, 0, 2, 0, 2, 2, 2]
    assert Lookup(*named).compute([rows, places]).ravel().tolist() == wanted
    assert Pick(*named).compute([rows, places[None, :, None]]).ravel().tolist() == wanted
    found = OneHot("n", ("k",), "y", 3, 0.0, 1.0).compute([places])
    assert found.sum(axis=1).tolist() == [0, 1, 1, 1, 1, 0, 0]


def test_missing_numbers_are_never_the_largest() -> None:
    row = np.array([[[np.nan], [1.0], [3.0]]], np.float32)
    found = LargestPlaces("n", ("x",), "y", (1, 3, 1), 3).compute([row])
    assert found.dtype == np.int32
    assert found.ravel().tolist()[0] == 0  # nothing is above what is no number


def test_computed_numbers_of_64_bits_are_refused() -> None:
    b = Exported(17)
    k = b.input("k", [1, 4], TensorProto.UINT64)
    b.output(b.node("Add", k, b.array([1], "uint64")), TensorProto.UINT64)
    graph = simplify(import_model(b.model()))
    with pytest.raises(InputError, match="it computes uint64; such numbers are moved"):
        require_kernels(graph)


def test_an_input_of_nothing_is_refused() -> None:
    b = Exported(17)
    x, _ = b.input("x", [1, 3]), b.input("nothing", [0])
    b.output(b.node("Relu", x))
    with pytest.raises(InputError, match=r"'nothing'.*has no elements"):
        to_network(simplify(import_model(b.model())), {}, Options(precision="float32"))


def test_whole_numbers_beyond_32_bits_are_refused() -> None:
    graph, data = prepared("looked_up")
    net = to_network(graph, {}, Options(precision="float32"))
    data[0]["k"] = data[0]["k"] + (1 << 33)
    with pytest.raises(InputError, match="more than 32 bits"):
        expected(net, data[0])


REASONS = {
    "NonZero": "how large its result is follows from values",
    "SplitToSequence": "it gives a sequence",
}


@pytest.mark.parametrize("op", REASONS)
def test_what_has_no_kernel_says_why(op: str) -> None:
    b = Exported(17)
    found = b.node(op, b.input("x", [1, 3]))
    if op == "SplitToSequence":
        found = b.node("SequenceAt", found, b.node("ArgMax", "x", axis=1, keepdims=0))
    b.output(found, TensorProto.INT64 if op == "NonZero" else TensorProto.FLOAT)
    graph = spelled_out(simplify(import_model(b.model())))
    with pytest.raises(InputError, match=REASONS[op]):
        require_kernels(graph, "float32")
