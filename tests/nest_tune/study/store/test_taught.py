"""Studies of other models say which schemes a new one tries first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from compiler_core.files.plain import to_plain
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.scheme import QuantizationScheme
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.result import StudyResult
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.taught import TAUGHT, lessons_of, taught_schemes
from search_spaces.quantization import QuantizationSpace

SCHEMES = QuantizationSpace.name
Studies = Any


def other_model(studies: Studies) -> str:
    """The same network with other weights."""
    model = onnx.load(studies.settings().model)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array(0.9 * values, tensor.name))
    path = Path(studies.folder) / "other.onnx"
    onnx.save(model, path)
    return str(path)


def schemes_tried(result: StudyResult) -> list[tuple[int, ...]]:
    """Schemes of trials 1 to 4."""
    names = [name for name, _ in result.study.document["parameters"]]
    axes = [n for n, name in enumerate(names) if name.startswith("quantization.")]
    return [tuple(t.point[n] for n in axes) for t in result.trials[1 : 1 + TAUGHT]]


def test_a_new_study_begins_with_what_another_model_has_taught(studies: Studies) -> None:
    first = studies.run(studies.settings(name="first", sampler="random", seed=3))
    with_other = studies.settings(name="second", model=other_model(studies))
    second = studies.run(with_other)
    storage = StudyStorage(with_other.storage)
    digest = dict(second.study.fixed("digests"))["model"]
    lessons = lessons_of(storage, digest)
    assert len(lessons) == 1
    space = next(p for p in survey_ground(with_other).space.parts if p.name == SCHEMES)
    expected = taught_schemes(space, lessons)
    assert len(expected) == TAUGHT
    assert schemes_tried(second) == list(expected)
    drops = {
        tuple(t.point[: len(space.parameters)]): t.metrics["accuracy_drop"]
        for t in first.trials
        if t.outcome.is_measured
    }
    assert all(point in drops for point in expected)

    # What it stands on is kept with it: a later study changes nothing of a resume or a replay.
    studies.run(studies.settings(name="third", sampler="random", seed=9))
    again = survey_ground(with_other, second.study)
    assert again.space.known_guesses[:TAUGHT] == survey_guesses(second)
    replayed = studies.run(replace(with_other, name="replayed", runner="replay"))
    assert [t.point for t in replayed.trials] == [t.point for t in second.trials]
    storage.close()


def survey_guesses(result: StudyResult) -> tuple[tuple[int, ...], ...]:
    return tuple(trial.point for trial in result.trials[1 : 1 + TAUGHT])


def test_a_model_teaches_itself_nothing(studies: Studies) -> None:
    found = [studies.run(studies.settings(name=name, trials=6)) for name in ("one", "two")]
    assert [t.point for t in found[0].trials] == [t.point for t in found[1].trials]
    storage = StudyStorage(studies.settings().storage)
    assert lessons_of(storage, dict(found[0].study.fixed("digests"))["model"]) == ()
    storage.close()


def test_lessons_are_translated_by_the_names_of_decisions(studies: Studies) -> None:
    """Of another space, with a decision that is not known here and without one that is."""
    space = next(p for p in survey_ground(studies.settings()).space.parts if p.name == SCHEMES)
    lesson, points = {}, []
    for loss, granularity in enumerate(Granularity):
        for rescaling in (False, True):
            scheme = QuantizationScheme(granularity=granularity, rescaling=rescaling)
            point = space.point(scheme, nearest=True)
            points.append((loss + rescaling / 2, point))
            shown = {
                p.name: str(to_plain(p.values[index]))
                for p, index in zip(space.parameters, point, strict=True)
            }
            del shown["weight_rounding"]
            lesson[(*shown.items(), ("unknown", "1"))] = -points[-1][0]
    found = taught_schemes(space, [lesson])
    assert list(found) == [point for _, point in sorted(points)]
    few = {scheme[:3]: value for scheme, value in lesson.items()}
    assert taught_schemes(space, [few]) == ()
    assert taught_schemes(space, []) == ()
