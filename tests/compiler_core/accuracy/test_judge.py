"""What outputs are taken for, by the operators that end in them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compiler_core.accuracy.judge import Judge, Kind, judges
from compiler_core.accuracy.regrouping import regrouped
from compiler_core.graph.importer import import_onnx
from compiler_core.graph.passes.simplify import simplify

Judged = Callable[..., dict[str, Judge]]
TYPES = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "b": TensorProto.BOOL}


@pytest.fixture(params=["as imported", "simplified"])
def judged(request: pytest.FixtureRequest, tmp_path: Path) -> Judged:
    """Judges of a model of a few nodes."""

    def build(
        nodes: list[onnx.NodeProto],
        outputs: dict[str, str],
        shape: tuple[int, ...] = (1, 3, 8, 8),
        opset: int = 13,
        **constants: np.ndarray,
    ) -> dict[str, Judge]:
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(n, TYPES[t], None) for n, t in outputs.items()],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9
        )
        path = tmp_path / "m.onnx"
        onnx.save(model, path)
        found = import_onnx(path)
        return judges(simplify(found) if request.param == "simplified" else found)

    return build


def node(op: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def only(found: dict[str, Judge]) -> Judge:
    (judge,) = found.values()
    return judge


CONV = node("Conv", "x w", "c", pads=[1, 1, 1, 1])
POOLED = [CONV, node("GlobalAveragePool", "c", "p"), node("Flatten", "p", "f")]


def test_a_classifier(judged: Judged) -> None:
    nodes = [*POOLED, node("Gemm", "f v", "y")]
    judge = only(judged(nodes, {"y": "f"}, w=weights(16, 3, 3, 3), v=weights(16, 7)))
    assert (judge.kind, judge.axis, judge.classes) == (Kind.CLASSES, 1, 7)


@pytest.mark.parametrize("end", ["Relu", "Sigmoid", "Softmax", "LogSoftmax", "Identity"])
def test_a_segmentation_map_has_its_classes_on_the_channels(judged: Judged, end: str) -> None:
    more = {"axis": 1} if "oftmax" in end else {}
    found = judged([CONV, node(end, "c", "y", **more)], {"y": "f"}, w=weights(5, 3, 3, 3))
    judge = only(found)
    assert (judge.kind, judge.axis, judge.classes) == (Kind.CLASSES, 1, 5)


def test_channels_that_were_moved_last_are_found_there(judged: Judged) -> None:
    nodes = [CONV, node("Transpose", "c", "y", perm=[0, 2, 3, 1])]
    judge = only(judged(nodes, {"y": "f"}, w=weights(8, 3, 3, 3)))
    assert (judge.kind, judge.axis, judge.classes) == (Kind.CLASSES, 3, 8)


def test_tokens_have_their_classes_last(judged: Judged) -> None:
    found = judged([node("MatMul", "x v", "y")], {"y": "f"}, (1, 6, 16), v=weights(16, 6))
    judge = only(found)
    assert (judge.kind, judge.axis, judge.classes) == (Kind.CLASSES, 2, 6)


def test_weights_on_the_left_put_features_on_the_last_axis_but_one(judged: Judged) -> None:
    found = judged([node("MatMul", "v x", "y")], {"y": "f"}, (1, 16, 9), v=weights(5, 16))
    assert (only(found).axis, only(found).classes) == (1, 5)


def test_a_softmax_written_out(judged: Judged) -> None:
    nodes = [
        CONV,
        node("ReduceMax", "c", "m", axes=[1]),
        node("Sub", "c m", "d"),
        node("Exp", "d", "e"),
        node("ReduceSum", "e a", "s"),
        node("Div", "e s", "y"),
    ]
    judge = only(judged(nodes, {"y": "f"}, w=weights(5, 3, 3, 3), a=ints(1)))
    assert (judge.kind, judge.axis) == (Kind.CLASSES, 1)


def test_a_softmax_written_out_as_jax_exports_it(judged: Judged) -> None:
    nodes = [
        *POOLED,
        node("Gemm", "f v", "g"),
        node("ReduceMax", "g", "m", axes=[1], keepdims=0),
        node("Reshape", "m r", "n"),
        node("Expand", "n t", "o"),
        node("Sub", "g o", "d"),
        node("Exp", "d", "e"),
        node("ReduceSum", "e a", "s", keepdims=0),
        node("Reshape", "s r", "q"),
        node("Expand", "q t", "u"),
        node("Div", "e u", "y"),
    ]
    constants = {"a": ints(1), "r": ints(1, 1), "t": ints(1, 7)}
    judge = only(judged(nodes, {"y": "f"}, w=weights(16, 3, 3, 3), v=weights(16, 7), **constants))
    assert (judge.kind, judge.axis, judge.classes) == (Kind.CLASSES, 1, 7)


@pytest.mark.parametrize(
    ("end", "threshold"), [("Sigmoid", 0.5), ("Tanh", 0.0), ("Identity", 0.0), ("Relu", 0.0)]
)
def test_one_value_per_sample(judged: Judged, end: str, threshold: float) -> None:
    nodes = [*POOLED, node("Gemm", "f v", "g"), node(end, "g", "y")]
    judge = only(judged(nodes, {"y": "f"}, w=weights(16, 3, 3, 3), v=weights(16, 1)))
    assert (judge.kind, judge.axis, judge.threshold) == (Kind.REAL, None, threshold)
    assert "one value per sample" in judge.reason


def test_half_of_what_is_computed_from_a_probability_lies_elsewhere(judged: Judged) -> None:
    nodes = [*POOLED, node("Gemm", "f v", "g"), node("Sigmoid", "g", "s"), node("Mul", "s h", "y")]
    found = judged(
        nodes, {"y": "f"}, w=weights(16, 3, 3, 3), v=weights(16, 1), h=np.float32([10.0])
    )
    assert only(found).threshold == 0.0


def test_one_value_per_pixel(judged: Judged) -> None:
    nodes = [CONV, node("Sigmoid", "c", "y")]
    judge = only(judged(nodes, {"y": "f"}, w=weights(1, 3, 3, 3)))
    assert (judge.kind, judge.axis, judge.threshold) == (Kind.REAL, None, 0.5)


def test_integers(judged: Judged) -> None:
    nodes = [CONV, node("ArgMax", "c", "y", axis=1)]
    judge = only(judged(nodes, {"y": "i"}, w=weights(5, 3, 3, 3)))
    assert (judge.kind, judge.classes) == (Kind.INTEGERS, 5)


def test_whole_numbers_that_were_made_floats(judged: Judged) -> None:
    nodes = [CONV, node("ArgMax", "c", "i", axis=1), node("Cast", "i", "y", to=TensorProto.FLOAT)]
    assert only(judged(nodes, {"y": "f"}, w=weights(5, 3, 3, 3))).kind is Kind.INTEGERS


@pytest.mark.parametrize("joint", ["Add", "Concat"])
@pytest.mark.parametrize("first", [True, False])
def test_counts_beside_scores_are_no_whole_numbers(judged: Judged, joint: str, first: bool) -> None:
    """As votes and what tells equal ones apart, of support vector machines."""
    more = {"axis": 1} if joint == "Concat" else {}
    nodes = [
        CONV,
        node("Greater", "c h", "above"),
        node("Cast", "above", "votes", to=TensorProto.FLOAT),
        node("Abs", "c", "sizes"),
        node(joint, "votes sizes" if first else "sizes votes", "y", **more),
    ]
    found = judged(nodes, {"y": "f"}, w=weights(5, 3, 3, 3), h=np.float32(0))
    assert only(found).kind is not Kind.INTEGERS


def test_counts_beside_counts_are_whole_numbers(judged: Judged) -> None:
    nodes = [
        CONV,
        node("Greater", "c h", "above"),
        node("Less", "c l", "below"),
        *(node("Cast", n, f"{n}_f", to=TensorProto.FLOAT) for n in ("above", "below")),
        node("Add", "above_f below_f", "y"),
    ]
    found = judged(nodes, {"y": "f"}, w=weights(5, 3, 3, 3), h=np.float32(1), l=np.float32(-1))
    assert only(found).kind is Kind.INTEGERS


@pytest.mark.parametrize("last_is_real", [True, False])
def test_many_counts_are_added(judged: Judged, last_is_real: bool) -> None:
    """More of them than calls may lie within one another."""
    nodes = [CONV, node("Greater", "c h", "above"), node("Cast", "above", "s0", to=1)]
    for number in range(600):
        nodes.append(node("Less", f"c l{number % 2}", f"b{number}"))
        nodes.append(node("Cast", f"b{number}", f"f{number}", to=1))
        nodes.append(node("Add", f"f{number} s{number}", f"s{number + 1}"))
    nodes.append(node("Add", f"s600 {'c' if last_is_real else 's0'}", "y"))
    ends = {name: np.float32(value) for name, value in (("h", 1), ("l0", -1), ("l1", 0.5))}
    found = judged(nodes, {"y": "f"}, w=weights(5, 3, 3, 3), **ends)
    assert (only(found).kind is Kind.INTEGERS) != last_is_real


def test_top_k(judged: Judged) -> None:
    nodes = [*POOLED, node("Gemm", "f v", "g"), node("TopK", "g k", "values places")]
    outputs = {"values": "f", "places": "i"}
    found = judged(nodes, outputs, w=weights(16, 3, 3, 3), v=weights(16, 9), k=ints(3))
    assert found["values"].kind is Kind.REAL
    assert "sorted" in found["values"].reason
    assert found["places"].kind is Kind.INTEGERS
    assert (found["places"].ranked, found["places"].classes) == (1, 9)


def head(channels: str, name: str, scored: bool) -> list[onnx.NodeProto]:
    """A detector's head: features of anchors, one row each."""
    end = "r" if scored else "y"
    nodes = [
        node("Conv", f"x {channels}", f"c_{name}", pads=[1, 1, 1, 1]),
        node("Transpose", f"c_{name}", f"t_{name}", perm=[0, 2, 3, 1]),
        node("Reshape", f"t_{name} shape_{name}", f"{end}_{name}"),
    ]
    return [*nodes, node("Softmax", f"r_{name}", f"y_{name}", axis=2)] if scored else nodes


@pytest.mark.parametrize("scored", [True, False])
def test_boxes_beside_scores_are_no_classes(judged: Judged, scored: bool) -> None:
    found = judged(
        [*head("ws", "scores", scored), *head("wb", "boxes", False)],
        {"y_scores": "f", "y_boxes": "f"},
        ws=weights(6, 3, 3, 3),
        wb=weights(12, 3, 3, 3),
        shape_scores=ints(1, -1, 2),
        shape_boxes=ints(1, -1, 4),
    )
    assert (found["y_scores"].kind, found["y_scores"].axis) == (Kind.CLASSES, 2)
    assert found["y_boxes"].kind is Kind.REAL
    assert "'y_scores'" in found["y_boxes"].reason


def test_one_box_beside_scores(judged: Judged) -> None:
    """Of a network that finds one thing, with scores as they are."""
    nodes = [*POOLED, node("Gemm", "f v", "y_class"), node("Gemm", "f b", "y_box")]
    constants = {"w": weights(16, 3, 3, 3), "v": weights(16, 7), "b": weights(16, 4)}
    found = judged(nodes, {"y_class": "f", "y_box": "f"}, **constants)
    assert (found["y_class"].kind, found["y_box"].kind) == (Kind.CLASSES, Kind.REAL)
    assert "'y_class'" in found["y_box"].reason


@pytest.mark.parametrize("end", ["Identity", "Sigmoid", "Clip"])
def test_what_makes_its_input_again_holds_no_scores(judged: Judged, end: str) -> None:
    """Autoencoders and filters of images: the largest of the colours says nothing."""
    nodes = [CONV, node("Relu", "c", "r"), node("Conv", "r v", "d"), node(end, "d", "y")]
    judge = only(judged(nodes, {"y": "f"}, w=weights(16, 3, 3, 3), v=weights(3, 16, 1, 1)))
    assert (judge.kind, judge.axis, judge.classes) == (Kind.REAL, 1, 3)
    assert "input 'x'" in judge.reason


def test_classes_of_the_shape_of_the_input(judged: Judged) -> None:
    nodes = [CONV, node("Softmax", "c", "y", axis=1)]
    judge = only(judged(nodes, {"y": "f"}, w=weights(3, 3, 3, 3)))
    assert judge.kind is Kind.CLASSES


def test_coordinates_that_were_decoded(judged: Judged) -> None:
    """Scaled and moved by anchors, then joined from centres and sizes."""
    nodes = [
        *head("wb", "boxes", False),
        node("Split", "y_boxes", "centre size", axis=2),
        node("Exp", "size", "e"),
        node("Mul", "centre anchors", "m"),
        node("Concat", "m e", "y", axis=2),
    ]
    constants = {"wb": weights(12, 3, 3, 3), "shape_boxes": ints(1, -1, 4)}
    judge = only(judged(nodes, {"y": "f"}, anchors=weights(1, 192, 2), **constants))
    assert judge.kind is Kind.REAL
    assert "joined" in judge.reason


def test_logits_beside_their_probabilities_are_classes(judged: Judged) -> None:
    nodes = [*POOLED, node("Gemm", "f v", "logits"), node("Softmax", "logits", "y", axis=1)]
    outputs = {"logits": "f", "y": "f"}
    found = judged(nodes, outputs, w=weights(16, 3, 3, 3), v=weights(16, 7))
    assert {judge.kind for judge in found.values()} == {Kind.CLASSES}


def test_features_below_a_classifier_are_none(judged: Judged) -> None:
    nodes = [*POOLED, node("Gemm", "f v", "y")]
    found = judged(nodes, {"y": "f", "f": "f"}, w=weights(16, 3, 3, 3), v=weights(16, 7))
    assert (found["y"].kind, found["f"].kind) == (Kind.CLASSES, Kind.REAL)
    assert "'y' is computed from it" in found["f"].reason


def test_embeddings_of_unit_length_are_none(judged: Judged) -> None:
    nodes = [
        *POOLED,
        node("ReduceL2", "f", "n", axes=[1]),
        node("Div", "f n", "y"),
    ]
    assert only(judged(nodes, {"y": "f"}, w=weights(16, 3, 3, 3))).kind is Kind.REAL


def test_pixels_and_channels_in_one_axis_are_none(judged: Judged) -> None:
    judge = only(judged([CONV, node("Flatten", "c", "y")], {"y": "f"}, w=weights(5, 3, 3, 3)))
    assert judge.kind is Kind.REAL
    assert "no axis" in judge.reason


def test_sequence_first(judged: Judged) -> None:
    nodes = [
        CONV,
        node("ReduceMean", "c", "r", axes=[2], keepdims=0),
        node("Transpose", "r", "t", perm=[2, 0, 1]),
        node("MatMul", "t v", "y"),
    ]
    judge = only(judged(nodes, {"y": "f"}, w=weights(16, 3, 3, 3), v=weights(16, 9)))
    assert (judge.kind, judge.rank, judge.axis, judge.classes) == (Kind.CLASSES, 3, 2, 9)


def test_what_nothing_computes_is_not_judged(judged: Judged) -> None:
    found = judged([CONV], {"c": "f", "x": "f"}, w=weights(5, 3, 3, 3))
    assert list(found) == ["c"]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.data())
def test_a_regrouped_axis_holds_the_same_features(shape: list[int], data: st.DataObject) -> None:
    """Values that differ along one axis alone differ along the found one alone, at its end."""
    total = prod(shape)
    first = data.draw(st.sampled_from([n for n in range(1, total + 1) if total % n == 0]))
    after = [first, total // first]
    for axis, to in regrouped(shape, after).items():
        index = np.broadcast_to(
            np.arange(shape[axis]).reshape([-1] + [1] * (len(shape) - axis - 1)), shape
        )
        moved = np.moveaxis(np.ascontiguousarray(index).reshape(after), to, -1)
        assert (moved % after[to] == np.arange(after[to])).all()
