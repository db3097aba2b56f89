"""Inputs and labels by name, converted, refused."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from compiler_core.accuracy.exam import make_exam
from compiler_core.accuracy.samples import (
    evaluation_data,
    first_row,
    named_samples,
    read_evaluation,
    read_samples,
)
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, Node, TensorType


def graph_of(*inputs: str, dtype: str = "float32") -> Graph:
    """Concatenates its inputs, ``[n, 3]`` each, and multiplies with weights: 4 classes."""
    width = 3 * len(inputs)
    types = {name: TensorType(dtype, (1, 3)) for name in inputs}
    types |= {"c": TensorType(dtype, (1, width)), "out": TensorType(dtype, (1, 4))}
    nodes = (
        Node("c", "Concat", inputs, ("c",), {"axis": 1}),
        Node("m", "MatMul", ("c", "w"), ("out",)),
    )
    weights = np.ones((width, 4), dtype)
    batch = frozenset((*inputs, "c", "out"))
    return Graph("g", inputs, ("out",), nodes, {"w": weights}, types, {"": 13}, dynamic_batch=batch)


ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
LABELS = np.array([0, 1, 2, 3])


def test_x_stands_for_the_only_input() -> None:
    data = evaluation_data({"x": ROWS, "y": LABELS}, graph_of("image"), "f")
    assert data.samples == 4
    assert data.inputs["image"] is ROWS
    assert data.labels is not None


@pytest.mark.parametrize("inputs", [("y",), ("x", "y"), ("y", "z")])
def test_an_input_called_y_is_no_label(inputs: tuple[str, ...]) -> None:
    arrays = {name: ROWS + i for i, name in enumerate(inputs)}
    data = evaluation_data(arrays, graph_of(*inputs), "f")
    assert data.labels is None
    assert (data.inputs["y"] == arrays["y"]).all()
    labelled = evaluation_data({**arrays, "labels": LABELS}, graph_of(*inputs), "f")
    assert labelled.labels is not None


def test_x_and_labels_y_of_a_model_whose_input_is_y() -> None:
    data = evaluation_data({"x": ROWS, "y": LABELS}, graph_of("y"), "f")
    assert (data.inputs["y"] == ROWS).all()
    assert data.labels is LABELS


def test_labels_called_otherwise_are_not_read_where_y_is_free() -> None:
    assert evaluation_data({"x": ROWS, "labels": LABELS}, graph_of("a"), "f").labels is None


@pytest.mark.parametrize("kind", ["uint8", "int64", "float64", "float16", "bool"])
def test_other_types_are_converted_and_it_is_said(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    given = ROWS.astype(kind)
    where = f"{kind}.npz"
    with caplog.at_level(logging.WARNING):
        found = named_samples({"x": given}, graph_of("a"), where)["a"]
        named_samples({"x": given}, graph_of("a"), where)
    assert found.dtype == np.float32
    assert (found == given).all()
    assert caplog.text.count(f"{where}: input 'a' is {kind}; converted to float32") == 1


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (np.full((4, 3), 0.5), "int64"),
        (np.full((4, 3), 300), "uint8"),
        (np.full((4, 3), -1), "uint8"),
        (np.full((4, 3), 1e300), "float32"),
        (np.full((4, 3), np.nan), "int32"),
        (np.full((4, 3), 2), "bool"),
    ],
)
def test_values_that_the_type_cannot_hold_are_refused(given: np.ndarray, dtype: str) -> None:
    with pytest.raises(InputError, match="cannot hold"):
        named_samples({"x": given}, graph_of("a", dtype=dtype), "f")


def test_values_are_checked_up_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler_core.accuracy.samples._BLOCK", 5)
    given = np.zeros((4, 3), np.int64)
    named_samples({"x": given}, graph_of("a", dtype="uint8"), "f")
    for at in range(given.size):
        wrong = given.copy()
        wrong.reshape(-1)[at] = 256
        with pytest.raises(InputError, match="cannot hold"):
            named_samples({"x": wrong}, graph_of("a", dtype="uint8"), "f")


def test_arrays_of_a_wrong_shape_are_refused_before_they_are_converted() -> None:
    large = np.broadcast_to(np.uint8(0), (1 << 40,))  # takes no memory as it is
    with pytest.raises(InputError, match=r"shape \(1099511627776,\)"):
        evaluation_data({"x": large}, graph_of("a"), "f")


def test_what_does_not_fit_is_refused_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    graph = graph_of("a")
    exam = make_exam(graph, None, labelled=True)
    for arrays, words in (
        ({"z": ROWS}, r"input 'a' \(or 'x'\) is missing; it holds 'z'"),
        ({"x": ROWS[:, :2]}, r"shape \(4, 2\)"),
        ({"x": ROWS[:0]}, "at least 1"),
        ({"x": ROWS, "y": LABELS[:3]}, r"labels 'y' are int64\[3\]; int64\[4\] is needed"),
        ({"x": ROWS[:3], "y": LABELS}, r"int64\[4\]; int64\[3\] is needed"),
        ({"x": ROWS, "y": np.eye(4)}, r"float64\[4, 4\]"),
        ({"x": ROWS, "y": LABELS + 1}, "from 1 to 4; the model has 4 classes"),
        ({"x": ROWS, "y": np.int64(3)}, r"labels 'y' are int64\[\]"),
        ({"x": ROWS}, "needs labels"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=words) as error:
            read_evaluation(path, graph).check(exam)
        assert error.value.message.startswith(f"{path}: ")


def test_labels_are_seen_only_where_they_are_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", x=ROWS, y=ROWS)
    assert read_evaluation(tmp_path / "e.npz", graph_of("a")).labels is not None
    assert read_evaluation(tmp_path / "e.npz", graph_of("x", "y")).labels is None


def test_data_that_would_grow_in_the_types_of_the_model_are_refused_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=np.zeros((100, 3), np.uint8))
    monkeypatch.setattr("compiler_core.accuracy.samples._DATA_BYTES", 1200)
    monkeypatch.setattr("compiler_core.accuracy.samples._GROWTH", 0)
    assert read_samples(path, graph_of("a"))["a"].nbytes == 1200
    monkeypatch.setattr("compiler_core.accuracy.samples._DATA_BYTES", 1199)
    with pytest.raises(
        InputError, match=r"is uint8; as float32, .* take 1200 bytes.* 1199"
    ) as told:
        read_samples(path, graph_of("a"))
    assert told.value.hint == "write 'a' as float32, or give fewer samples"
    # Large files may take more: what they hold is there.
    monkeypatch.setattr("compiler_core.accuracy.samples._GROWTH", 4)
    assert read_evaluation(path, graph_of("a")).samples == 100
    # Arrays of the caller are their own matter.
    assert named_samples({"x": np.zeros((1000, 3), np.uint8)}, graph_of("a"), "f")["a"].any() == 0


def test_a_small_file_of_zeros_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.zeros((1000, 3), np.float32))
    monkeypatch.setattr("compiler_core.accuracy.samples._DATA_BYTES", 5000)
    with pytest.raises(InputError, match=r"claims 12128 bytes.*at most 5000") as told:
        read_samples(path, graph_of("a"))
    assert "numpy.savez" in (told.value.hint or "")
    np.savez(path, x=np.zeros((1000, 3), np.float32))
    assert len(read_samples(path, graph_of("a"))["a"]) == 1000


def test_the_first_wrong_row_is_found_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler_core.accuracy.samples._BLOCK", 5)
    array = np.zeros((4, 3), np.float32)
    assert first_row(array, np.isnan) is None
    for at in range(array.size):
        wrong = array.copy()
        wrong.reshape(-1)[at] = np.nan
        assert first_row(wrong, np.isnan) == at // 3
    assert first_row(np.zeros((0, 3), np.float32), np.isnan) is None
    assert first_row(np.array(["nan"]), np.isnan) is None


@pytest.mark.parametrize(
    ("inputs", "outputs", "told"),
    [
        (("x", "h", "c"), ("next_h", "next_c"), "--state next_h=h --state next_c=c"),
        (("x", "h"), ("p", "hn"), "--state hn=h"),
        (("x", "state"), ("out",), "--state out=state"),
        (("x", "a", "b"), ("p", "q"), ""),
    ],
)
def test_states_without_samples_are_told_of(
    inputs: tuple[str, ...], outputs: tuple[str, ...], told: str
) -> None:
    names = (*inputs, *outputs)
    types = {name: TensorType("float32", (1, 3)) for name in names}
    nodes = tuple(
        Node(f"n{name}", "Relu", (inputs[min(i + 1, len(inputs) - 1)],), (name,))
        for i, name in enumerate(outputs)
    )
    graph = Graph("g", inputs, outputs, nodes, {}, types, {"": 13}, dynamic_batch=frozenset(names))
    with pytest.raises(InputError, match="is missing") as caught:
        named_samples({"x": ROWS}, graph, "f")
    assert str(caught.value.hint).endswith(told or "samples along its first axis")
    with pytest.raises(InputError, match="is missing") as caught:
        named_samples({"other": ROWS}, graph, "f")
    assert "--state" not in str(caught.value.hint)
