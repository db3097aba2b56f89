"""Outputs behind a selection are judged by what the selection reads."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import nest_tune
from compiler_core.compile.sources import load_model
from compiler_core.quantize.good_enough import excess, judged_by, reason_against, shortfall, worst
from compiler_core.quantize.quality import OutputQuality
from compiler_core.quantize.selections import selected

_FLOAT = onnx.TensorProto.FLOAT


def _detector(tmp_path, *, ends: str, seed: int = 0):
    """Two heads over a convolution, and TopK or non-maximum suppression behind them; weights are
    random, so that many scores are nearly equal."""
    draw = np.random.default_rng(seed)
    nodes, constants = [], []

    def constant(name: str, values) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def conv(name: str, source: str, inputs: int, outputs: int) -> str:
        weights = draw.standard_normal((outputs, inputs, 3, 3)) / np.sqrt(9 * inputs)
        constant(f"{name}.w", weights.astype(np.float32))
        nodes.append(
            helper.make_node("Conv", [source, f"{name}.w"], [name], pads=[1] * 4, name=name)
        )
        return name

    def add(op: str, inputs: list[str], *outputs: str, **attributes) -> str:
        nodes.append(helper.make_node(op, inputs, list(outputs), **attributes))
        return outputs[0]

    add("Relu", [conv("first", "x", 3, 16)], "features")
    scores = add("Sigmoid", [conv("score", "features", 16, 1)], "scores")
    conv("box", "features", 16, 4)
    add("Reshape", ["box", constant("box.shape", np.array([1, 4, -1]))], "box.flat")
    boxes = add("Transpose", ["box.flat"], "boxes", perm=[0, 2, 1])
    if ends == "TopK":
        pooled = add(
            "MaxPool", [scores], "pooled", kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4
        )
        same = add("Cast", [add("Equal", [scores, pooled], "same")], "mask", to=_FLOAT)
        peaks = add("Mul", [scores, same], "peaks")
        flat = add("Reshape", [peaks, constant("flat.shape", np.array([1, -1]))], "flat")
        add("TopK", [flat, constant("k", np.array([32]))], "best", "places")
        add("Gather", [boxes, "places"], "chosen.all", axis=1)
        outputs = [("best", _FLOAT, [1, 32]), ("chosen.all", _FLOAT, [1, 1, 32, 4])]
    else:
        flat = add("Reshape", [scores, constant("flat.shape", np.array([1, 1, -1]))], "flat")
        most, overlap = constant("most", np.array([8])), constant("overlap", np.float32(0.5))
        add("NonMaxSuppression", [boxes, flat, most, overlap], "places")
        outputs = [("places", onnx.TensorProto.INT64, [None, 3])]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("x", _FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info(*output) for output in outputs],
        constants,
    )
    path = tmp_path / f"{ends}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)
    return path, draw.standard_normal((8, 3, 16, 16)).astype(np.float32)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ("TopK", {"best": {"scores", "pooled"}, "chosen.all": {"scores", "pooled", "boxes"}}),
        ("NonMaxSuppression", {"places": {"boxes", "flat"}}),
    ],
)
def test_what_a_selection_reads_is_found(tmp_path, ends: str, expected) -> None:
    path, _ = _detector(tmp_path, ends=ends)
    found = {name: {*names} for name, names in selected(load_model(path).graph).items()}
    assert found == expected


@pytest.mark.parametrize("ends", ["TopK", "NonMaxSuppression"])
def test_the_convolutions_of_a_detector_stay_on_the_npu(tmp_path, ends: str) -> None:
    path, samples = _detector(tmp_path, ends=ends)
    made = nest_tune.compile(path, "vta", tmp_path / "package", calibration={"x": samples})
    assert made.macs_share_npu > 0.99
    assert made.ladder.good_enough
    assert made.quality.output in {"scores", "pooled", "flat", "boxes"}
    result = nest_tune.run(tmp_path / "package", {"x": samples[:2]}, check=True)
    assert result.bit_exact
    if ends == "TopK":
        # Peaks are what a max pool leaves as it is: both sides have to be the same numbers.
        assert (result.outputs["best"] > 0).mean() > 0.8


def _quality(output: str, sqnr_db: float, *before: OutputQuality) -> OutputQuality:
    return OutputQuality(output, sqnr_db, None, None, 0, exact=False, samples=8, before=before)


def test_an_output_behind_a_selection_is_as_good_as_the_worst_that_is_read() -> None:
    found = _quality("best", 2.0, _quality("scores", 30.0), _quality("boxes", 16.0))
    assert judged_by(found).output == "boxes"
    assert shortfall(found) == shortfall(_quality("boxes", 16.0))
    assert excess(found) == excess(_quality("boxes", 16.0))
    assert worst([found, _quality("other", 25.0)]).output == "boxes"
    assert reason_against([found]).startswith("output 'boxes'")
    assert reason_against([_quality("best", 2.0, _quality("scores", 30.0))]) == ""


def test_an_output_that_is_good_itself_is_judged_by_itself() -> None:
    found = _quality("best", 25.0, _quality("scores", 3.0))
    assert judged_by(found).output == "best"
    assert shortfall(found) == 0
    assert excess(found) <= 1
