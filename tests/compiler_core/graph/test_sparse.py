"""Sparse constants: what onnxruntime computes of them, and damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model, import_onnx
from compiler_core.graph.session import FloatSession


def sparse(
    name: str, dims: list[int], values: list[float], places: object
) -> onnx.SparseTensorProto:
    found = onnx.SparseTensorProto(dims=dims)
    found.values.CopyFrom(numpy_helper.from_array(np.array(values, np.float32), name))
    found.indices.CopyFrom(numpy_helper.from_array(np.array(places, np.int64), f"{name}_at"))
    return found


def model(weight: onnx.SparseTensorProto, *, as_node: bool = False) -> onnx.ModelProto:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    if as_node:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], sparse_value=weight))
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [2, 4]), ("y", [2, 3]))
    ]
    graph = helper.make_graph(nodes, "m", infos[:1], infos[1:])
    if not as_node:
        graph.sparse_initializer.append(weight)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


FLAT = [4, 3], [2.0, -1.0, 0.5], [1, 5, 11]
PLACES = [4, 3], [2.0, -1.0, 0.5], [[0, 1], [1, 2], [3, 2]]


@pytest.mark.parametrize("parts", [FLAT, PLACES])
@pytest.mark.parametrize("as_node", [False, True])
def test_as_the_runtime_reads_them(tmp_path: Path, parts: tuple, as_node: bool) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(model(sparse("w", *parts), as_node=as_node), path)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = FloatSession(import_onnx(path)).run({"x": x})["y"]
    np.testing.assert_array_equal(found, session.run(None, {"x": x})[0])
    assert np.count_nonzero(found)


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        (([4, 3], [1.0], [12]), "index 12"),
        (([4, 3], [1.0], [-1]), "index -1"),
        (([4, 3], [1.0], [[0, 3]]), "index 3"),
        (([4, 3], [1.0, 2.0], [1]), "indices int64"),
        (([4, 3], [1.0], [[0, 1, 2]]), "indices int64"),
        (([], [1.0], [0]), "shape"),
        (([-4, 3], [1.0], [0]), "shape"),
        (([1 << 40, 1 << 20], [1.0], [0]), "bytes"),
    ],
)
def test_damaged_ones_are_refused(parts: tuple, word: str) -> None:
    with pytest.raises(InputError, match=word):
        import_model(model(sparse("w", *parts)))
