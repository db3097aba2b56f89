"""Exams: what tells nothing apart is refused, or told."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from compiler_core.accuracy.exam import Exam, Sameness, make_exam
from compiler_core.accuracy.judge import Judge, Kind
from compiler_core.accuracy.labels import check_labels
from compiler_core.accuracy.tally import chosen_samples
from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify

BOTH = np.arange(12) % 2


@pytest.fixture
def exam(synthetic: ModuleType) -> Exam:
    """One value per sample, which no sigmoid has written."""
    builder = synthetic.Builder()
    builder.dense("x", "wide", 4, 1)
    zero, one = (builder.constant(n, np.float32(v)) for n, v in (("low", 0), ("high", 1)))
    builder.add("Clip", ["wide", zero, one], "y")
    model = onnx.load_from_string(builder.model({"x": ["n", 4]}, {"y": ["n", 1]}))
    return make_exam(simplify(import_model(model)), "top1", labelled=True)


def looked(exam: Exam, values: npt.NDArray[Any]) -> Sameness:
    found = Sameness(exam)
    half = len(values) // 2
    for part in (values[:half], values[half:]):
        found.add({"y": part.astype(np.float32)[:, None]}, len(part))
    return found


@pytest.mark.parametrize(("low", "side"), [(0.01, "above 0"), (-1.0, "not above 0")])
def test_a_threshold_that_tells_nothing_apart_is_refused(exam: Exam, low: float, side: str) -> None:
    """A destroyed model that always says so would have the float model's accuracy."""
    found = looked(exam, np.linspace(low, low + 0.9, 12))
    with pytest.raises(InputError, match=f"'y'.* {side}") as error:
        found.check(BOTH)
    assert "--metric sqnr_db" in error.value.message
    assert found.notes()


def test_what_says_both_or_has_one_label_or_few_samples_is_taken(exam: Exam) -> None:
    above = np.linspace(0.1, 0.9, 12)
    looked(exam, np.where(BOTH, above, -above)).check(BOTH)
    looked(exam, above).check(np.ones(12, int))
    looked(exam, above).check(None)
    looked(exam, above[:6]).check(BOTH[:6])


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        (np.eye(3, dtype=int)[[0, 1, 2, 1]], "argmax"),
        (np.eye(3)[[0, 1, 2, 1]], "argmax"),
        (np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]]), "several classes"),
        (np.random.default_rng(0).random((4, 3)), "several classes"),
        (np.zeros((4, 2), int), "one label per sample"),
        (np.array([0.0, 1.0, 2.0, 1.0]), "astype"),
        (np.array([0.5, 1.0, 2.0, 1.0]), "sqnr_db"),
        (np.array([np.nan, 1.0, 2.0, 1.0]), "sqnr_db"),
    ],
)
def test_labels_by_class_are_told_apart(labels: npt.NDArray[Any], hint: str) -> None:
    judge = Judge("y", Kind.CLASSES, (1, 3), axis=1, classes=3)
    with pytest.raises(InputError, match=r"labels 'y' are") as error:
        check_labels(judge, labels, 4)
    assert hint in str(error.value.hint)


def test_outputs_without_values_are_judged_by_nobody(synthetic: ModuleType) -> None:
    builder = synthetic.Builder()
    builder.dense("x", "y", 4, 3)
    nothing = builder.constant("none", np.zeros((4, 0), np.float32))
    builder.add("MatMul", ["x", nothing], "z")
    model = builder.model({"x": ["n", 4]}, {"y": ["n", 3], "z": ["n", 0]})
    graph = simplify(import_model(onnx.load_from_string(model)))
    assert list(make_exam(graph, None, labelled=False).judges) == ["y"]
    with pytest.raises(InputError, match="output 'z' holds no values"):
        make_exam(graph, None, labelled=False, output="z")


@pytest.mark.parametrize("shape", [(6, 3), (6, 0), (12, 2), (12, 0, 5)])
def test_samples_of_outputs_with_and_without_values_are_chosen(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random(shape)
    found = chosen_samples({"y": values}, 6, np.array([4, 1]))["y"]
    each = shape[0] // 6
    expected = np.concatenate([values[4 * each : 5 * each], values[each : 2 * each]])
    np.testing.assert_array_equal(found, expected)
