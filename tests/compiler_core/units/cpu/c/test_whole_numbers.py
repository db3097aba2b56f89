"""Arithmetic of integers of every size: numpy's, which wraps around, and the same bits in C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.units.cpu.c.bundles.bundle import expected, write_bundle
from compiler_core.units.cpu.c.convert.convert import require_kernels, to_network
from compiler_core.units.cpu.c.convert.options import Options
from tests.compiler_core.units.cpu.c.cases import joined
from tests.compiler_core.units.cpu.c.made import make_bundle
from tests.compiler_core.units.cpu.c.test_random_networks import SANITIZERS

FLOAT32 = Options(precision="float32")
DTYPES = ("int8", "uint8", "int16", "uint16", "int32")
Wanted = Callable[[Any, Any], Any]


def _shifted(a: Any, b: Any, *, left: bool) -> Any:
    """Numbers as long as their type, by 0 … 15 bits and more."""
    bits = np.iinfo(a.dtype).bits
    far = np.where(b.astype(np.int64) > bits - 1, bits, b).astype(np.int64)
    wide = a.astype(np.int64)
    return ((wide << far) if left else (wide >> np.minimum(far, 62))).astype(a.dtype)


PAIRS: dict[str, tuple[Wanted, dict[str, Any]]] = {
    "Add": (np.add, {}),
    "Sub": (np.subtract, {}),
    "Mul": (np.multiply, {}),
    "Max": (np.maximum, {}),
    "Min": (np.minimum, {}),
    "BitwiseAnd": (np.bitwise_and, {}),
    "BitwiseOr": (np.bitwise_or, {}),
    "BitwiseXor": (np.bitwise_xor, {}),
    "Mod": (lambda a, b: np.where(b == 0, 0, np.mod(a, np.where(b == 0, 1, b))), {}),
    "BitShift:left": (lambda a, b: _shifted(a, b & 15, left=True), {"direction": "LEFT"}),
    "BitShift:right": (lambda a, b: _shifted(a, b & 15, left=False), {"direction": "RIGHT"}),
    "Pow": (lambda a, b: np.power(a.astype(np.int64), b & 7).astype(a.dtype), {}),
}
ONES: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "Abs": (np.abs, {}),
    "Neg": (np.negative, {}),
    "Sign": (np.sign, {}),
    "Relu": (lambda a: np.maximum(a, 0), {}),
    "BitwiseNot": (np.invert, {}),
    "MaxPool": (lambda a: np.maximum(a[..., :-1], a[..., 1:]), {"kernel_shape": [2]}),
    "ReduceMax": (lambda a: a.max(axis=1, keepdims=True), {"axes": [1]}),
    "ReduceMin": (lambda a: a.min(axis=2, keepdims=True), {"axes": [2]}),
    "ReduceSum": (lambda a: a.sum(keepdims=True, dtype=a.dtype), {}),
}


def graph_of(name: str, dtype: str, *shapes: tuple[int, ...]) -> Graph:
    """A graph of one operator, of powers and distances that are small enough."""
    op, attributes = name.partition(":")[0], (PAIRS | ONES)[name][1]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    names = [f"x{i}" for i in range(len(shapes))]
    ports = [helper.make_tensor_value_info(n, kind, s) for n, s in zip(names, shapes, strict=True)]
    nodes, few = [], {"BitShift": 15, "Pow": 7}.get(op)
    constants = []
    if few is not None:
        constants.append(helper.make_tensor("few", kind, [1], [few]))
        nodes.append(helper.make_node("BitwiseAnd", ["x1", "few"], ["small"]))
        names[1] = "small"
    nodes.append(helper.make_node(op, names, ["y"], **attributes))
    result = [helper.make_tensor_value_info("y", kind, None)]
    graph = helper.make_graph(nodes, "numbers", ports, result, constants)
    opset = [helper.make_opsetid("", 28 if op == "BitShift" else 18 if few else 13)]
    if op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"):
        opset = [helper.make_opsetid("", 18)]
    if op == "ReduceMax" or op == "ReduceMin":
        opset = [helper.make_opsetid("", 12)]
    return simplify(import_model(helper.make_model(graph, opset_imports=opset, ir_version=8)))


def drawn(random: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Any:
    """Numbers of the whole range, and often its ends, 0, and small ones."""
    known = np.iinfo(dtype)
    some = random.integers(known.min, known.max, shape, dtype=dtype, endpoint=True)
    ends = np.array([known.min, known.max, 0, 1, 3], dtype)
    return np.where(random.random(shape) < 0.4, random.choice(ends, shape), some).astype(dtype)


@given(st.data())
def test_pairs_are_those_of_their_type(data: st.DataObject) -> None:
    name, dtype = data.draw(st.sampled_from(sorted(PAIRS))), data.draw(st.sampled_from(DTYPES))
    full = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    kept = data.draw(st.lists(st.booleans(), min_size=len(full), max_size=len(full)))
    small = tuple(n if keep else 1 for n, keep in zip(full, kept, strict=True))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    feeds = {"x0": drawn(random, dtype, full), "x1": drawn(random, dtype, small)}
    net = to_network(graph_of(name, dtype, full, small), {}, FLOAT32)
    _, (found,) = expected(net, feeds)
    with np.errstate(all="ignore"):
        wanted = PAIRS[name][0](feeds["x0"], feeds["x1"])
    np.testing.assert_array_equal(net.real(net.outputs[0], found), wanted.astype(dtype))


@given(st.sampled_from(sorted(ONES)), st.sampled_from(DTYPES), st.integers(0, 99))
def test_functions_are_those_of_their_type(name: str, dtype: str, seed: int) -> None:
    shape = (1, 3, 5)
    x = drawn(np.random.default_rng(seed), dtype, shape)
    if name == "MaxPool" and dtype not in ("int8", "uint8"):
        return
    net = to_network(graph_of(name, dtype, shape), {}, FLOAT32)
    _, (found,) = expected(net, {"x0": x})
    with np.errstate(all="ignore"):
        wanted = ONES[name][0](x)
    real = net.real(net.outputs[0], found)
    np.testing.assert_array_equal(real, np.asarray(wanted, dtype).reshape(real.shape))


def test_same_bits(tmp_path: Path, check_bundle: Callable[..., str]) -> None:
    shape, parts = (1, 3, 8), {}
    for at, name in enumerate(PAIRS | ONES):
        dtype = "uint8" if name == "MaxPool" else DTYPES[at % 5]
        shapes = (shape, (3, 1)) if name in PAIRS else (shape,)
        parts[f"{name}_{dtype}"] = graph_of(name, dtype, *shapes)
    random, whole = np.random.default_rng(1), joined(parts)
    fed = []
    for _ in range(3):
        sample = {}
        for tensor in whole.inputs:
            known = whole.types[tensor]
            sample[tensor] = drawn(random, known.dtype, tuple(known.shape or ()))
        fed.append(sample)
    write_bundle(make_bundle(whole, {}, "numbers", FLOAT32), tmp_path, fed)
    for command in (("gcc", "-O3"), ("clang", *SANITIZERS)):
        assert "3 of 3" in check_bundle(tmp_path, *command)


@pytest.mark.parametrize("fmod", [0, 1])
@given(seed=st.integers(0, 199))
def test_rests_of_real_numbers(fmod: int, seed: int) -> None:
    """Exactly, whatever the sizes; with the sign of the divisor, or of the dividend."""
    net = to_network(_rests(fmod), {}, FLOAT32)
    feeds = _wild(seed)
    _, (found,) = expected(net, feeds)
    with np.errstate(all="ignore"):
        wanted = (np.fmod if fmod else np.mod)(feeds["x0"], feeds["x1"])
    np.testing.assert_array_equal(found.ravel(), wanted.ravel())


def test_same_bits_of_rests(tmp_path: Path, check_bundle: Callable[..., str]) -> None:
    fed = [{f"{k}/{n}": x for k in "ab" for n, x in _wild(seed).items()} for seed in range(3)]
    whole = joined({"a": _rests(0), "b": _rests(1)})
    write_bundle(make_bundle(whole, {}, "rests", FLOAT32), tmp_path, fed)
    for command in (("gcc", "-O3"), ("clang", *SANITIZERS)):
        assert "3 of 3" in check_bundle(tmp_path, *command)


def _rests(fmod: int) -> Graph:
    ports = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, [40]) for i in range(2)]
    result = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [40])]
    node = helper.make_node("Mod", ["x0", "x1"], ["y"], fmod=fmod)
    graph = helper.make_graph([node], "rests", ports, result)
    opset = [helper.make_opsetid("", 13)]
    return simplify(import_model(helper.make_model(graph, opset_imports=opset, ir_version=8)))


def _wild(seed: int) -> dict[str, Any]:
    """Numbers of all sizes; those that are divided by are not zero."""
    random = np.random.default_rng(seed)
    a = random.normal(0, 1, 40) * 10.0 ** random.integers(-40, 38, 40)
    b = a * random.normal(1, 3, 40) * 10.0 ** random.integers(-3, 3, 40)
    b = np.where(np.abs(b) < 1e-45, 1, np.clip(b, -1e38, 1e38))
    return {"x0": a.astype(np.float32), "x1": b.astype(np.float32)}


def test_powers_with_fractions_are_refused() -> None:
    ports = [helper.make_tensor_value_info("x", TensorProto.INT32, [3])]
    result = [helper.make_tensor_value_info("y", TensorProto.INT32, [3])]
    half = helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5])
    graph = helper.make_graph(
        [helper.make_node("Pow", ["x", "half"], ["y"])], "roots", ports, result, [half]
    )
    opset = [helper.make_opsetid("", 15)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    with pytest.raises(InputError, match="its powers have fractions"):
        require_kernels(simplify(import_model(model)), "float32")
