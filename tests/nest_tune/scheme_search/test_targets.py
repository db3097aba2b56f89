"""Accuracy of trained models: chosen on the even half of the evaluation set, reported on the odd.

What is not chosen, the drop with every supported layer on the NPU, is of the whole set.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from compiler_core.compile.sources import load_model
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.qdq import qdq_model
from nest_tune.scheme_search.evaluation import SchemeEvaluator
from nest_tune.scheme_search.search import search_schemes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

POINTS = 0.01


@pytest.mark.parametrize(
    ("name", "uniform", "mixed"),
    [
        ("resnet8_cifar10", 1.0, 0.5),
        ("resnet20_cifar10", 1.0, 0.5),
        ("dscnn_kws", 1.0, 0.5),
        ("mnist_cntk", 1.0, 0.5),
        ("squeezenet_v1_1", 1.0, 0.5),
        ("kwt1_kws", 1.5, 0.5),
        ("mobilenet_v1_025_224", 6.0, 2.0),
    ],
)
def test_drop(prepared_model, name, uniform, mixed):
    folder = prepared_model(name)
    graph = load_model(folder / "model.onnx").graph
    (entry,) = graph.inputs
    calibration = np.load(folder / "calib.npz")["x"]
    profile = profile_model(graph, {entry: calibration})
    with np.load(folder / "eval.npz") as data:
        x, y = data["x"], data["y"]
    units = default_assignment(graph)
    even, odd, whole = (
        SchemeEvaluator(graph, units, profile, {entry: x[part]}, y[part])
        for part in (slice(0, None, 2), slice(1, None, 2), slice(None))
    )
    plain = SchemeEvaluator(graph, units, profile, {entry: calibration}, None)
    found = search_schemes(even, unlabelled=plain)
    assert found.mixed.npu_share >= 0.9

    def drop(evaluator, scheme):
        lost = evaluator.float_accuracy().correct.mean()
        return lost - evaluator.evaluate(scheme).correct.mean()

    # The margin is for the last digit of a fraction, not for accuracy.
    assert drop(whole, found.uniform.scheme) <= uniform * POINTS + 1e-9
    assert drop(odd, found.mixed.scheme) <= mixed * POINTS + 1e-9
    model = qdq_model(whole.apply(found.mixed.scheme).quantized).SerializeToString()
    session = onnxruntime.InferenceSession(model)
    parts = [session.run(None, {entry: x[i : i + 1]})[0].reshape(-1) for i in range(len(x))]
    exported = (np.stack(parts).argmax(axis=1) == y).mean()
    reference = whole.evaluate(found.mixed.scheme).correct.mean()
    assert abs(exported - reference) <= 0.5 * POINTS
