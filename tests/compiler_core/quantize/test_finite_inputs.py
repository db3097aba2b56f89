"""NaN and infinite values in data: refused where they reach what the NPU reads or what is judged,
else left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nest_tune
from compiler_core.accuracy.samples import evaluation_data
from compiler_core.compile.sources import load_model
from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.quantize.finite_inputs import require_finite
from nest_tune.study.request.goals import Direction, Objective, TrialMetric
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.store.examination import examined

GOALS = (Objective(TrialMetric.LATENCY_MS, Direction.MINIMIZE),)
INF, NAN = np.float32(np.inf), np.float32(np.nan)


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
        ({"x": (3, NAN)}, "input 'x' is NaN in sample 3; the NPU reads it"),
        ({"mask": (1, NAN)}, "input 'mask' is NaN in sample 1"),
        ({"t": (1, NAN)}, None),
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
    assert ("clip" in (told.value.hint or "")) == ("infinite" in refused)


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


def _before(operator: str) -> onnx.ModelProto:
    """The CPU makes what the NPU reads of ``image``: what is missing becomes 0, or stays so."""
    weight = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    nodes = {
        "fill": [
            helper.make_node("IsNaN", ["image"], ["m"]),
            helper.make_node("Where", ["m", "zero", "image"], ["v"]),
        ],
        "keep": [helper.make_node("Sigmoid", ["image"], ["v"])],
    }[operator]
    nodes.append(helper.make_node("MatMul", ["v", "w"], ["p"]))
    nodes.append(helper.make_node("Exp", ["bias"], ["e"]))
    nodes.append(helper.make_node("Mul", ["p", "e"], ["s"]))
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 16])
        for name in ("image", "bias", "s")
    }
    constants = [numpy_helper.from_array(weight, "w")]
    if operator == "fill":
        constants.append(numpy_helper.from_array(np.float32(0), "zero"))
    graph = helper.make_graph(
        nodes, "g", [values["image"], values["bias"]], [values["s"]], constants
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("operator", "name", "value", "refused", "judged"),
    [
        ("fill", "image", NAN, None, None),
        ("fill", "image", INF, "input 'image' is infinite in sample 21, and 'v', which", "'v'"),
        ("keep", "image", NAN, "input 'image' is NaN in sample 21, and 'v', which the NPU", "'v'"),
        ("keep", "image", INF, None, None),
        ("keep", "bias", NAN, None, "input 'bias' is NaN in sample 21, and 's', by which"),
        ("keep", "bias", INF, None, "input 'bias' is infinite in sample 21, and 's', by which"),
    ],
)
def test_every_verb_says_the_same_of_what_is_not_finite(
    operator: str,
    name: str,
    value: np.float32,
    refused: str | None,
    judged: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    model, random = tmp_path / "m.onnx", np.random.default_rng(1)
    onnx.save(_before(operator), model)
    arrays = {n: random.normal(size=(24, 16)).astype(np.float32) for n in ("image", "bias")}
    np.savez("good.npz", **arrays)
    package = nest_tune.compile(model, "vta", "good", calibration="good.npz")
    arrays[name][21, 5] = value
    np.savez("bad.npz", **arrays)
    np.savez("labelled.npz", **arrays, y=np.arange(24) % 16)

    source = load_model(model)

    def examine(**data: str) -> object:
        return examined(StudySettings("s", str(model), "vta", objectives=GOALS, **data), source)

    calibrated: list[Callable[[], object]] = [
        lambda: nest_tune.compile(model, "vta", "out", calibration="bad.npz"),
        lambda: nest_tune.show_plan(model, "vta", calibration="bad.npz"),
        lambda: nest_tune.profile_activations(model, "bad.npz"),
        lambda: nest_tune.tasks(model, "vta", calibration="bad.npz"),
        lambda: examine(calibration="bad.npz", evaluation="good.npz"),
    ]
    evaluated: list[Callable[[], object]] = [
        lambda: nest_tune.evaluate(package, "bad.npz", against=model),
        lambda: nest_tune.evaluate(package, "labelled.npz", metric="top1"),
        lambda: nest_tune.sensitivity(model, "vta", calibration="good.npz", data="bad.npz"),
        lambda: examine(calibration="good.npz", evaluation="bad.npz"),
    ]
    for verbs, words in ((calibrated, refused), (evaluated, judged)):
        for verb in verbs:
            if words is None:
                verb()
                continue
            with pytest.raises(InputError, match=words) as told:
                verb()
            assert told.value.message.startswith(("bad.npz: ", "labelled.npz: "))
