"""ArrayFeatureExtractor as Gather: what onnxruntime takes, with a known shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import nest_tune
from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession


def model_of(data: str, indices: str, *, given: np.ndarray | None = None) -> onnx.ModelProto:
    """The operator on ``x``, or on what is given, with computed indices."""
    source = "x" if given is None else "labels"
    text = f"""
        <ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>
        features ({data} x, {indices} i) => (float y) {{
            y = ai.onnx.ml.ArrayFeatureExtractor ({source}, i)
        }}
    """
    model = onnx.parser.parse_model(text)
    if given is not None:
        model.graph.initializer.append(numpy_helper.from_array(given, "labels"))
    return model


@pytest.mark.parametrize(
    ("shape", "places", "labels"),
    [((2, 5), (3,), None), ((2, 3, 5), (2, 2), None), ((5,), (2, 3), None), ((1,), (1, 1), 7)],
)
def test_the_same_values(
    shape: tuple[int, ...], places: tuple[int, ...], labels: int | None
) -> None:
    given = None if labels is None else np.linspace(-1, 1, labels).astype(np.float32)
    sizes = [",".join(map(str, known)) for known in (shape, places)]
    graph = import_model(model_of(f"float[{sizes[0]}]", f"int64[{sizes[1]}]", given=given))
    found = simplify(graph)
    assert {node.op for node in found.nodes} <= {"Gather", "Reshape"}
    random = np.random.default_rng(0)
    feed = {
        "x": random.standard_normal(shape).astype(np.float32),
        "i": random.integers(0, labels or shape[-1], places),
    }
    feed = {name: feed[name] for name in graph.inputs}
    expected = FloatSession(graph).run(feed)["y"]
    result = FloatSession(found).run({name: feed[name] for name in found.inputs})["y"]
    np.testing.assert_array_equal(result, expected)
    assert found.types["y"].shape == expected.shape


def test_labels_of_a_classifier_are_written_as_c(tmp_path: Path) -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>
        classifier (float[N,4] x) => (int64[N] label) {
            scores = MatMul (x, w)
            best = ArgMax <axis = 1> (scores)
            found = ai.onnx.ml.ArrayFeatureExtractor (classes, best)
            shape = Constant <value_ints = [-1]> ()
            label = Reshape (found, shape)
        }
    """)
    random = np.random.default_rng(0)
    for name, array in (
        ("w", random.standard_normal((4, 3)).astype(np.float32)),
        ("classes", np.array([10, 20, 30], np.int64)),
    ):
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    x = random.standard_normal((20, 4)).astype(np.float32)
    made = nest_tune.compile_bundle(model, "c99", tmp_path / "out", calibration={"x": x})
    assert made.quality is not None
    assert made.quality.agreement is not None
    assert made.quality.agreement > 0.9
    assert not nest_tune.compile(model, "vta", tmp_path / "npu", calibration={"x": x}).warnings
