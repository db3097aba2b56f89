"""Accuracy counted the plain way, and what evaluation refuses."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from compiler_core.compile.compile import CompiledModel
from compiler_core.errors import InputError
from compiler_core.executable.backends import Reference
from compiler_core.executable.evaluate import Metric, evaluate
from compiler_core.executable.runner import Runner
from compiler_core.graph.session import FloatSession

Compile = Callable[[str], CompiledModel]


@pytest.fixture
def runner(compiled_model: Compile) -> Runner:
    executable = compiled_model("residual").executable
    return Runner(executable, Reference(executable))


def test_metrics_equal_plain_counts(
    runner: Runner, compiled_model: Compile, synthetic: ModuleType
) -> None:
    inputs = synthetic.samples("residual", 40)
    labels = np.random.default_rng(0).integers(0, 7, 40)
    scores = runner.run(inputs)["y"]
    graph = compiled_model("residual").source.model.graph
    floats = FloatSession(graph).run(inputs, sample_wise=True)["y"]
    top1 = sum(int(np.argmax(row)) == label for row, label in zip(scores, labels, strict=True))
    top5 = sum(label in np.argsort(-row)[:5] for row, label in zip(scores, labels, strict=True))
    same = sum(np.argmax(a) == np.argmax(b) for a, b in zip(scores, floats, strict=True))
    float_top1 = sum(
        int(np.argmax(row)) == label for row, label in zip(floats, labels, strict=True)
    )
    done: list[int] = []
    result = evaluate(
        runner, inputs, labels, Metric.TOP1, output="y", against=graph, progress=done.append
    )
    assert done == [16, 32, 40]
    assert result.accuracy == top1 / 40
    assert result.float_accuracy == float_top1 / 40
    assert result.agreement == same / 40
    assert result.accuracy_drop == float_top1 / 40 - top1 / 40
    assert evaluate(runner, inputs, labels, Metric.TOP5, output="y").accuracy == top5 / 40
    found = evaluate(runner, inputs, None, Metric.AGREEMENT, output="y", against=graph)
    assert found.accuracy == found.agreement == same / 40
    assert found.float_accuracy is None


def test_a_fixed_batch_is_compared_sample_by_sample(
    compiled_model: Compile, synthetic: ModuleType
) -> None:
    compiled = compiled_model("batch_of_two")
    runner = Runner(compiled.executable, Reference(compiled.executable))
    inputs = synthetic.samples("batch_of_two", 6)
    graph = compiled.source.model.graph
    result = evaluate(runner, inputs, None, Metric.AGREEMENT, output="y", against=graph)
    assert result.samples == 6
    assert result.accuracy >= 0.5


@pytest.mark.parametrize(
    ("labels", "metric", "words"),
    [
        (None, Metric.TOP1, "metric top1 needs labels"),
        (None, Metric.AGREEMENT, "needs the float model"),
        (np.zeros(3, int), Metric.TOP1, r"labels 'y' are int64\[3\]; int64\[4\] is needed"),
        (np.zeros(4), Metric.TOP1, "labels 'y' are float64"),
        (np.full(4, 7), Metric.TOP5, "labels 'y' reach from 7 to 7; the model has 7 classes"),
        (np.full(4, -1), Metric.TOP1, "reach from -1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    runner: Runner, synthetic: ModuleType, labels: np.ndarray | None, metric: Metric, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        evaluate(runner, synthetic.samples("residual", 4), labels, metric, output="y")


def test_the_float_model_needs_the_output(
    runner: Runner, compiled_model: Compile, synthetic: ModuleType
) -> None:
    other = compiled_model("float_only").source.model.graph
    with pytest.raises(InputError, match="has no output 'z'"):
        evaluate(
            runner,
            synthetic.samples("residual", 2),
            None,
            Metric.AGREEMENT,
            output="z",
            against=other,
        )
