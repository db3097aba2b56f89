"""Models whose shapes are computed, whose batch is not the first axis, or that hold infinities.

Each is compiled and run, and compared with what onnxruntime gives sample by sample.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import nest_tune
from compiler_core.compile.sources import load_model

RANDOM = np.random.default_rng(0)


def weight(name: str, *shape: int) -> onnx.TensorProto:
    values = RANDOM.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)
    return numpy_helper.from_array(values.astype(np.float32), name)


def ints(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def write(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int | str]],
    outputs: dict[str, list[int | str]],
    constants: list[onnx.TensorProto],
) -> Path:
    def info(values: dict[str, list[int | str]]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in values.items()
        ]

    graph = helper.make_graph(nodes, "m", info(inputs), info(outputs), constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, path)
    return path


def head_with_computed_shapes(path: Path) -> Path:
    """As a detector's head is exported: half of the channels, by arithmetic on ``Shape``."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Shape", ["a"], ["s"]),
        helper.make_node("Gather", ["s", "one"], ["c"]),
        helper.make_node("Div", ["c", "two"], ["half"]),
        helper.make_node("Slice", ["a", "zero", "half", "one"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["y"]),
    ]
    constants = [weight("w1", 32, 16, 3, 3), weight("w2", 16, 16, 1, 1)]
    constants += [ints("one", 1), ints("two", 2), ints("zero", 0)]
    return write(path, nodes, {"x": [1, 16, 8, 8]}, {"y": [1, 16, 8, 8]}, constants)


def sequence_first(path: Path, batch: int | str) -> Path:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["t", "w"], ["y"]),
    ]
    outputs: dict[str, list[int | str]] = {"y": [6, batch, 5]}
    return write(path, nodes, {"x": [batch, 6, 8]}, outputs, [weight("w", 8, 5)])


def rows_of_windows(path: Path) -> Path:
    """The batch folded into rows, and out of them again."""
    nodes = [
        helper.make_node("Reshape", ["x", "rows"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["m"]),
        helper.make_node("Reshape", ["m", "back"], ["y"]),
    ]
    constants = [weight("w", 8, 5), ints("rows", -1, 8), ints("back", -1, 6, 5)]
    return write(path, nodes, {"x": ["n", 6, 8]}, {"y": ["n", 6, 5]}, constants)


def masked_attention(path: Path) -> Path:
    mask = np.triu(np.full((6, 6), -np.inf, np.float32), 1)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["q"]),
        helper.make_node("Transpose", ["q"], ["k"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "k"], ["scores"]),
        helper.make_node("Add", ["scores", "mask"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "q"], ["y"]),
    ]
    constants = [weight("w", 8, 8), numpy_helper.from_array(mask, "mask")]
    return write(path, nodes, {"x": ["n", 6, 8]}, {"y": ["n", 6, 8]}, constants)


def compiled_output(path: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    folder = path.with_suffix("")
    nest_tune.compile(path, "vta", folder, calibration=inputs)
    result = nest_tune.run(folder, inputs, check=True)
    assert result.bit_exact
    return result.outputs["y"]


def runtime_output(path: Path, inputs: dict[str, np.ndarray], axis: int = 0) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    count = len(inputs["x"])
    parts = [session.run(["y"], {"x": inputs["x"][i : i + 1]})[0] for i in range(count)]
    return np.concatenate(parts, axis=axis)


@pytest.mark.parametrize(
    ("make", "shape", "axis"),
    [
        (head_with_computed_shapes, (5, 16, 8, 8), 0),
        (lambda path: sequence_first(path, "n"), (5, 6, 8), 1),
        (lambda path: sequence_first(path, 1), (5, 6, 8), 1),
        (rows_of_windows, (5, 6, 8), 0),
        (masked_attention, (5, 6, 8), 0),
    ],
    ids=["computed-shapes", "sequence-first-dynamic", "sequence-first", "rows", "masked"],
)
def test_outputs_are_those_of_the_runtime_but_for_rounding(
    tmp_path: Path, make: object, shape: tuple[int, ...], axis: int
) -> None:
    assert callable(make)
    path = make(tmp_path / "m.onnx")
    inputs = {"x": RANDOM.standard_normal(shape).astype(np.float32)}
    expected = runtime_output(path, inputs, axis)
    got = compiled_output(path, inputs)
    assert got.shape == expected.shape
    noise = np.square(got - expected).mean() / np.square(expected).mean()
    assert noise < 0.01


def test_computed_shapes_are_gone_and_every_type_is_known(tmp_path: Path) -> None:
    graph = load_model(head_with_computed_shapes(tmp_path / "m.onnx")).graph
    assert [node.op for node in graph.nodes] == ["Conv", "Slice", "Conv"]
    assert all(None not in (graph.types[node.output].shape or (None,)) for node in graph.nodes)


def test_what_depends_on_the_batch_is_compiled_for_one_sample(tmp_path: Path) -> None:
    graph = load_model(rows_of_windows(tmp_path / "m.onnx")).graph
    assert not graph.dynamic_batch
    assert not graph.batch_dependent


def test_a_damaged_weight_that_nobody_reads_does_not_matter(tmp_path: Path) -> None:
    path = sequence_first(tmp_path / "m.onnx", 1)
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.full(3, np.nan, np.float32), "gone"))
    onnx.save(model, path)
    assert "gone" not in load_model(path).graph.constants


def recurrent_with_state(path: Path) -> Path:
    """A GRU whose state is an input and an output: its leading axis counts layers."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("GRU", ["t", "w", "r", "", "", "h"], ["all", "last"], hidden_size=4),
        helper.make_node("Squeeze", ["all", "one"], ["s"]),
        helper.make_node("MatMul", ["s", "v"], ["y"]),
    ]
    constants = [weight("w", 1, 12, 8), weight("r", 1, 12, 4), weight("v", 4, 5), ints("one", 1)]
    inputs: dict[str, list[int | str]] = {"x": [1, 6, 8], "h": [1, 1, 4]}
    outputs: dict[str, list[int | str]] = {"y": [6, 1, 5], "last": [1, 1, 4]}
    return write(path, nodes, inputs, outputs, constants)


def test_a_gain_and_a_state_are_calibrated_run_and_evaluated(tmp_path: Path) -> None:
    path = recurrent_with_state(tmp_path / "m.onnx")
    inputs = {
        "x": RANDOM.standard_normal((5, 6, 8)).astype(np.float32),
        "h": RANDOM.standard_normal((5, 1, 4)).astype(np.float32),
    }
    stacked = {"x": inputs["x"], "h": inputs["h"][:, None]}
    package = tmp_path / "package"
    nest_tune.compile(path, "vta", package, calibration=stacked)
    result = nest_tune.run(package, stacked, check=True)
    assert result.bit_exact
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = [
        session.run(None, {"x": inputs["x"][i : i + 1], "h": inputs["h"][i : i + 1]})
        for i in range(5)
    ]
    assert result.outputs["y"].shape == (6, 5, 5)
    error = result.outputs["y"] - np.concatenate([run[0] for run in expected], axis=1)
    assert np.square(error).mean() < 0.01


def test_sequences_of_different_lengths_side_by_side(tmp_path: Path) -> None:
    """Their first axes hold no samples, and differ: each run takes its part of each."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["s"], perm=[1, 0, 2]),
        helper.make_node("Transpose", ["z"], ["t"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["s", "w"], ["u"]),
        helper.make_node("MatMul", ["t", "w"], ["v"]),
        helper.make_node("Concat", ["u", "v"], ["y"], axis=0),
    ]
    inputs: dict[str, list[int | str]] = {"x": [1, 6, 8], "z": [1, 9, 8]}
    path = write(tmp_path / "m.onnx", nodes, inputs, {"y": [15, 1, 5]}, [weight("w", 8, 5)])
    data = {
        name: RANDOM.standard_normal((5, *shape[1:])).astype(np.float32)
        for name, shape in (("x", [1, 6, 8]), ("z", [1, 9, 8]))
    }
    package = tmp_path / "package"
    nest_tune.compile(path, "vta", package, calibration=data)
    result = nest_tune.run(package, data, check=True)
    assert result.bit_exact
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    runs = [{name: array[i : i + 1] for name, array in data.items()} for i in range(5)]
    expected = np.concatenate([session.run(None, run)[0] for run in runs], axis=1)
    error = result.outputs["y"] - expected
    assert np.square(error).mean() < 0.01 * np.square(expected).mean()


def test_sizes_that_are_put_together_from_the_batch_and_others_are_known(tmp_path: Path) -> None:
    """As ``interpolate(a, size=b.shape[2:])`` is exported: batch and channels of one tensor, rows
    and columns of another."""
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], strides=[2, 2]),
        helper.make_node("Shape", ["a"], ["s"]),
        helper.make_node("Slice", ["s", "zero", "two", "zero"], ["front"]),
        helper.make_node("Shape", ["x"], ["t"]),
        helper.make_node("Slice", ["t", "two", "four", "zero"], ["back"]),
        helper.make_node("Concat", ["front", "back"], ["sizes"], axis=0),
        helper.make_node("Resize", ["a", "", "", "sizes"], ["r"]),
        helper.make_node("Conv", ["r", "w2"], ["y"]),
    ]
    constants = [weight("w1", 16, 16, 1, 1), weight("w2", 16, 16, 1, 1)]
    constants += [ints("zero", 0), ints("two", 2), ints("four", 4)]
    shapes: dict[str, list[int | str]] = {"x": ["n", 16, 8, 8]}
    path = write(tmp_path / "m.onnx", nodes, shapes, {"y": ["n", 16, 8, 8]}, constants)
    graph = load_model(path).graph
    assert [node.op for node in graph.nodes] == ["Conv", "Resize", "Conv"]
    inputs = {"x": RANDOM.standard_normal((5, 16, 8, 8)).astype(np.float32)}
    got, expected = compiled_output(path, inputs), runtime_output(path, inputs)
    assert np.square(got - expected).mean() < 0.01 * np.square(expected).mean()
