"""Infinite values in evaluation data: refused where the NPU reads them, else left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nest_tune
from compiler_core.accuracy.samples import evaluation_data
from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.quantize.infinite_inputs import require_finite

INF = np.float32(np.inf)


def _model() -> onnx.ModelProto:
    """``x`` goes into a product on the NPU, ``mask`` is added to what it gives, ``t`` is for the
    CPU alone."""
    weight = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "mask"], ["s"]),
        helper.make_node("Tanh", ["t"], ["u"]),
    ]
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 16])
        for name in ("x", "mask", "t", "s", "u")
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [values[name] for name in ("x", "mask", "t")],
        [values[name] for name in ("s", "u")],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return simplify(import_model(_model()))


def _arrays(**changed: tuple[int, np.float32]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    arrays = {name: random.normal(size=(5, 16)).astype(np.float32) for name in ("x", "mask", "t")}
    for name, (sample, value) in changed.items():
        arrays[name][sample, 7] = value
    return arrays


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({"x": (3, INF)}, "input 'x' is infinite in sample 3"),
        ({"x": (0, -INF)}, "input 'x' is infinite in sample 0"),
        ({"mask": (4, INF)}, "input 'mask' is infinite in sample 4"),
        ({"mask": (4, -INF)}, None),
        ({"t": (1, INF)}, None),
        ({}, None),
    ],
)
def test_what_the_npu_reads_has_to_be_finite(
    changed: dict[str, tuple[int, np.float32]], refused: str | None, graph: Graph
) -> None:
    data = evaluation_data(_arrays(**changed), graph, "e.npz")
    if refused is None:
        require_finite(data, graph)
        return
    with pytest.raises(InputError, match=refused) as told:
        require_finite(data, graph)
    assert told.value.message.startswith("e.npz: ")
    assert "clip" in (told.value.hint or "")


def test_a_package_knows_what_its_programs_read(tmp_path: Path) -> None:
    onnx.save(_model(), tmp_path / "m.onnx")
    package = nest_tune.compile(tmp_path / "m.onnx", "vta", tmp_path / "out", calibration=_arrays())
    for name, refused in (("x", True), ("mask", True), ("t", False)):
        data = _arrays(**{name: (2, INF)})
        if refused:
            with pytest.raises(InputError, match=f"input '{name}' is infinite in sample 2"):
                nest_tune.evaluate(package, data, against=tmp_path / "m.onnx")
        else:
            assert nest_tune.evaluate(package, data, against=tmp_path / "m.onnx").samples == 5
