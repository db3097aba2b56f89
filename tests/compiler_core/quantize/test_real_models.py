"""Given models, quantized by default with everything on the NPU: accuracy, QDQ, one at a time."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

from compiler_core.graph.importer import import_onnx
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.calibration import calibrate
from compiler_core.quantize.ir import FloatSegment
from compiler_core.quantize.qdq import qdq_model
from compiler_core.quantize.quantize import quantize
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.statistics import TensorRange


@pytest.fixture(scope="session")
def prepared(shared_data, tmp_path_factory):
    """Writes a model's files once."""
    folder = tmp_path_factory.mktemp("models")

    def prepare(name):
        if not (folder / name).exists():
            command = [sys.executable, str(shared_data / "prepare.py"), str(folder), name]
            subprocess.run(command, check=True, capture_output=True)
        return folder / name

    return prepare


def top1(scores, labels):
    return (scores.reshape(len(labels), -1).argmax(axis=1) == labels).mean()


def load(folder):
    graph = simplify(import_onnx(folder / "model.onnx"))
    (name,) = graph.inputs
    with np.load(folder / "calib.npz") as calibration:
        samples = {name: calibration["x"]}
    with np.load(folder / "eval.npz") as evaluation:
        inputs, labels = {name: evaluation["x"]}, evaluation["y"]
    assignment = default_assignment(graph)
    ranges = calibrate(graph, samples, assemble(graph, assignment).calibrated)
    return quantize(graph, assignment, ranges), inputs, labels


@pytest.mark.parametrize(
    ("name", "segments", "drop"),
    [
        ("resnet8_cifar10", 1, 0.015),
        pytest.param("resnet20_cifar10", 1, 0.015, marks=pytest.mark.slow),
        ("dscnn_kws", 1, 0.015),
        ("mnist_cntk", 1, 0.01),
        pytest.param("kwt1_kws", 99, 0.08, marks=pytest.mark.slow),
        pytest.param("squeezenet_v1_1", 1, 0.015, marks=pytest.mark.slow),
    ],
)
def test_accuracy(prepared, name, segments, drop):
    quantized, inputs, labels = load(prepared(name))
    assert len(quantized.segments) == segments
    (output,) = quantized.source.outputs
    executor = ReferenceExecutor(quantized)
    scores = executor.run(inputs)[output]
    session = FloatSession(quantized.source)
    blocks = range(0, len(labels), 16)
    feeds = [{key: value[i : i + 16] for key, value in inputs.items()} for i in blocks]
    expected = np.concatenate([session.run(feed)[output] for feed in feeds])
    assert top1(scores, labels) >= top1(expected, labels) - drop
    for sample in (0, 41):
        alone = {key: value[sample : sample + 1] for key, value in inputs.items()}
        np.testing.assert_array_equal(executor.run(alone)[output], scores[sample : sample + 1])


@pytest.mark.parametrize("name", ["resnet8_cifar10", "dscnn_kws", "mnist_cntk"])
def test_qdq_model_agrees(prepared, name):
    quantized, inputs, labels = load(prepared(name))
    (output,) = quantized.source.outputs
    session = onnxruntime.InferenceSession(qdq_model(quantized).SerializeToString())
    parts = [
        session.run(None, {key: value[i : i + 1] for key, value in inputs.items()})[0]
        for i in range(len(labels))
    ]
    scores = ReferenceExecutor(quantized).run(inputs)[output]
    step = 2.0 ** -quantized.tensors[output].exponent
    assert np.abs(np.concatenate(parts) - scores).max() <= step
    assert abs(top1(np.concatenate(parts), labels) - top1(scores, labels)) <= 0.005


def test_detector_without_labels(shared_data):
    graph = simplify(import_onnx(shared_data / "models" / "ultraface_rfb320.onnx"))
    assignment = default_assignment(graph)
    skeleton = assemble(graph, assignment)
    assert not [n.name for n in graph.nodes if n.op == "Conv" and assignment[n.name] == "cpu"]
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, 240, 320)).astype(np.float32)
    ranges = calibrate(graph, {graph.inputs[0]: x}, skeleton.calibrated)
    assert all(isinstance(found, TensorRange) for found in ranges.values())
    quantized = quantize(graph, assignment, ranges)
    floats = [part for part in quantized.segments if isinstance(part, FloatSegment)]
    assert len(floats) == 1
    result = ReferenceExecutor(quantized).run({graph.inputs[0]: x})
    expected = FloatSession(graph).run({graph.inputs[0]: x})
    for name in graph.outputs:
        assert result[name].shape == expected[name].shape
        assert np.corrcoef(result[name].ravel(), expected[name].ravel())[0, 1] > 0.95
