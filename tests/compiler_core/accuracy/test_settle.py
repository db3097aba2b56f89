"""The metric that follows from what the float model says."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import onnx
import pytest

from compiler_core.accuracy.samples import EvaluationData
from compiler_core.accuracy.settle import settled_exam
from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify

Make = Callable[[list[float]], Graph]


@pytest.fixture(params=["n", 1, 2])
def classifier(request: pytest.FixtureRequest, synthetic: ModuleType) -> Make:
    """Three of four inputs as scores of classes, beside given biases, by batch."""

    def make(bias: list[float]) -> Graph:
        builder = synthetic.Builder()
        names = [
            builder.constant("w", np.eye(4, 3, dtype="f4")),
            builder.constant("b", np.array(bias, "f4")),
        ]
        builder.add("Gemm", ["x", *names], "y")
        batch = request.param
        model = onnx.load_from_string(builder.model({"x": [batch, 4]}, {"y": [batch, 3]}))
        return simplify(import_model(model))

    return make


def data(samples: int, odd: int | None = None, labels: bool = False) -> EvaluationData:
    """Scores of class 0 for all samples but ``odd``."""
    x = np.random.default_rng(0).uniform(0, 0.1, (samples, 4)).astype("f4")
    x[:, 0] += 1
    if odd is not None:
        x[odd, 2] += 2
    return EvaluationData("data", {"x": x}, np.arange(samples) % 3 if labels else None, samples)


def test_noise_is_measured_where_the_float_model_says_the_same_for_all(classifier: Make) -> None:
    exam, told = settled_exam(classifier([0, 0, 0]), data(40), None)
    assert exam.metric == "sqnr_db"
    assert "output 'y': the float model says the same for all 40 samples" in told[0]


@pytest.mark.parametrize("odd", [0, 1, 17, 38, 39])
def test_agreement_is_measured_where_one_sample_differs(classifier: Make, odd: int) -> None:
    assert settled_exam(classifier([0, 0, 0]), data(40, odd), None)[0].metric == "agreement"


def test_few_samples_labels_and_what_is_asked_for_settle_it(classifier: Make) -> None:
    graph = classifier([0, 0, 0])
    assert settled_exam(graph, data(6), None)[0].metric == "agreement"
    assert settled_exam(graph, data(40, labels=True), None)[0].metric == "top1"
    for metric in ("agreement", "cosine", "mine:points"):
        exam, told = settled_exam(graph, data(40), metric)
        assert (exam.metric, told) == (metric, ())
    with pytest.raises(InputError, match="no such output"):
        settled_exam(graph, data(40), None, "z")
    with pytest.raises(InputError):
        settled_exam(graph, EvaluationData("data", {"x": np.ones((8, 5), "f4")}, None, 8), None)
