"""Accuracy counted the plain way, and what evaluation refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from compiler_core.accuracy.exam import make_exam
from compiler_core.accuracy.samples import evaluation_data
from compiler_core.compile.compile import CompiledModel
from compiler_core.errors import InputError
from compiler_core.executable.backends import Reference
from compiler_core.executable.evaluate import PackageEvaluation
from compiler_core.executable.evaluate import evaluate as evaluate_checked
from compiler_core.executable.runner import PackageRunner
from compiler_core.graph.ir import Graph
from compiler_core.graph.session import FloatSession

Compile = Callable[[str], CompiledModel]


@pytest.fixture
def runner(compiled_model: Compile) -> PackageRunner:
    executable = compiled_model("residual").executable
    return PackageRunner(executable, Reference(executable))


@pytest.fixture
def graph(compiled_model: Compile) -> Graph:
    return compiled_model("residual").source.model.graph


def evaluate(
    runner: PackageRunner,
    graph: Graph,
    inputs: dict[str, Any],
    labels: np.ndarray | None,
    metric: str | None,
    *,
    against: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> PackageEvaluation:
    arrays = inputs if labels is None else {**inputs, "y": labels}
    data = evaluation_data(arrays, graph, "eval.npz")
    exam = make_exam(graph, metric, labelled=labels is not None)
    data.check(exam)
    return evaluate_checked(
        runner, data, exam, against=graph if against else None, progress=progress
    )


def test_metrics_equal_plain_counts(
    runner: PackageRunner, graph: Graph, synthetic: ModuleType
) -> None:
    inputs = synthetic.samples("residual", 40)
    labels = np.random.default_rng(0).integers(0, 7, 40)
    scores = runner.run(inputs)["y"]
    floats = FloatSession(graph).run(inputs, sample_wise=True)["y"]
    top1 = sum(int(np.argmax(row)) == label for row, label in zip(scores, labels, strict=True))
    top5 = sum(label in np.argsort(-row)[:5] for row, label in zip(scores, labels, strict=True))
    same = sum(np.argmax(a) == np.argmax(b) for a, b in zip(scores, floats, strict=True))
    float_top1 = sum(
        int(np.argmax(row)) == label for row, label in zip(floats, labels, strict=True)
    )
    done: list[int] = []
    result = evaluate(runner, graph, inputs, labels, "top1", against=True, progress=done.append)
    assert done == [16, 32, 40]
    assert result.accuracy == result.value == top1 / 40
    assert result.float_accuracy == float_top1 / 40
    assert result.agreement == same / 40
    assert result.accuracy_drop == (float_top1 - top1) / 40
    assert evaluate(runner, graph, inputs, labels, "top5").accuracy == top5 / 40
    found = evaluate(runner, graph, inputs, None, "agreement", against=True)
    assert found.value == found.agreement == same / 40
    assert (found.accuracy, found.float_accuracy) == (None, None)
    assert found.interval is not None
    assert found.interval.low < found.value <= found.interval.high


@pytest.mark.parametrize("metric", ["sqnr_db", "cosine"])
def test_noise_is_that_of_all_samples(
    runner: PackageRunner, graph: Graph, synthetic: ModuleType, metric: str
) -> None:
    inputs = synthetic.samples("residual", 40)
    ours = runner.run(inputs)["y"].astype(np.float64)
    theirs = FloatSession(graph).run(inputs, sample_wise=True)["y"].astype(np.float64)
    found = evaluate(runner, graph, inputs, None, metric, against=True)
    expected = {
        "sqnr_db": 10 * np.log10((theirs**2).sum() / ((ours - theirs) ** 2).sum()),
        "cosine": np.mean(
            [
                a @ b / np.linalg.norm(a) / np.linalg.norm(b)
                for a, b in zip(ours, theirs, strict=True)
            ]
        ),
    }
    assert found.value == pytest.approx(expected[metric], rel=1e-6)
    assert found.accuracy is None


def test_a_user_s_metric_sees_all_samples_at_once(
    runner: PackageRunner,
    graph: Graph,
    synthetic: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "seen_at_once.py").write_text(
        "def count(outputs, labels):\n    return len(outputs['y']) + labels.sum() / 1000\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = evaluate(
        runner, graph, synthetic.samples("residual", 40), np.ones(40, int), "seen_at_once:count"
    )
    assert found.accuracy == 40.04


def test_a_user_s_metric_is_imported_before_anything_runs(
    runner: PackageRunner, graph: Graph, synthetic: ModuleType
) -> None:
    seen: list[int] = []
    inputs = synthetic.samples("residual", 4)
    with pytest.raises(InputError, match="'nowhere_at_all:f' cannot be imported"):
        evaluate(runner, graph, inputs, None, "nowhere_at_all:f", progress=seen.append)
    assert seen == []


def test_a_fixed_batch_is_compared_sample_by_sample(
    compiled_model: Compile, synthetic: ModuleType
) -> None:
    compiled = compiled_model("batch_of_two")
    runner = PackageRunner(compiled.executable, Reference(compiled.executable))
    inputs = synthetic.samples("batch_of_two", 6)
    graph = compiled.source.model.graph
    result = evaluate(runner, graph, inputs, None, "agreement", against=True)
    assert result.samples == 6
    assert result.value >= 0.5


@pytest.mark.parametrize(
    ("labels", "metric", "words"),
    [
        (None, "top1", "metric top1 needs labels"),
        (None, "agreement", "needs the float model"),
        (None, "sqnr_db", "needs the float model"),
        (np.zeros(3, int), "top1", r"eval.npz: labels 'y' are int64\[3\]; int64\[4\] is needed"),
        (np.zeros(5, int), "top1", r"int64\[5\]; int64\[4\] is needed"),
        (np.zeros(4), "top1", "labels 'y' are float64"),
        (np.eye(7, dtype=int)[:4], "top1", r"int64\[4, 7\]"),
        (np.full(4, 7), "top5", "labels 'y' reach from 7 to 7; the model has 7 classes"),
        (np.full(4, -1), "top1", "reach from -1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    runner: PackageRunner,
    graph: Graph,
    synthetic: ModuleType,
    labels: np.ndarray | None,
    metric: str,
    words: str,
) -> None:
    with pytest.raises(InputError, match=words):
        evaluate(runner, graph, synthetic.samples("residual", 4), labels, metric)


def test_labels_that_are_not_asked_for_are_not_looked_at(
    runner: PackageRunner, graph: Graph, synthetic: ModuleType
) -> None:
    inputs = synthetic.samples("residual", 4)
    found = evaluate(runner, graph, inputs, np.zeros(99), "agreement", against=True)
    assert found.samples == 4


def test_the_float_model_needs_the_output(
    runner: PackageRunner, graph: Graph, compiled_model: Compile, synthetic: ModuleType
) -> None:
    other = compiled_model("float_only").source.model.graph
    data = evaluation_data(synthetic.samples("residual", 2), graph, "eval.npz")
    exam = make_exam(graph, "agreement", labelled=False)
    other = replace(other, outputs=("other",))
    with pytest.raises(InputError, match="has no output 'y'"):
        evaluate_checked(runner, data, exam, against=other)
