"""Configurations that somebody asks for are tried next, and only those that the space holds."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from compiler_core.configuration.configuration import configuration_text
from compiler_core.errors import InputError
from compiler_core.partition.plan import Plan, plan_text
from nest_tune.study.domain import Domain
from nest_tune.study.execution.candidates import Bench
from nest_tune.study.proposals.narrowing import as_shown, choices_of
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.enqueued import enqueue, enqueued
from nest_tune.study.store.result import compile_trial
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.wished import wished_point


def test_what_is_asked_for_comes_next(studies: Any) -> None:
    settings = studies.settings(sampler="random", trials=2)
    first = studies.run(settings)
    ground = survey_ground(settings, first.study)
    names = list(choices_of(ground.space))
    at = names.index("quantization.calibration")
    wishes = [
        wished_point(ground, decisions={"quantization.calibration": "one"}),
        wished_point(
            ground,
            decisions={"quantization.calibration": "half", "quantization.bias_correction": "true"},
        ),
    ]
    assert [point[at] for point in wishes] == [0, 1]
    with closing(StudyStorage(settings.storage)) as storage:
        assert [enqueue(storage, first.study, point) for point in wishes] == [0, 1]
        assert enqueued(storage, first.study) == tuple(wishes)
        assert enqueued(storage, first.study, tuple(wishes[:1])) == tuple(wishes)
    result = studies.run(replace(settings, trials=6), if_exists="resume")
    points = [trial.point for trial in result.trials]
    assert points[2:4] == wishes
    assert len(set(points[1:])) == 5


def test_a_lock_file_and_a_plan_are_points_of_the_space(studies: Any) -> None:
    settings = studies.settings(sampler="random", trials=5)
    result = studies.run(settings)
    ground = survey_ground(settings, result.study)
    space, lock, file = ground.space, studies.folder / "lock.toml", studies.folder / "plan.toml"
    trial = next(t for t in reversed(result.trials) if t.point != space.start)
    compiled = compile_trial(ground, result, trial)
    lock.write_text(configuration_text(compiled.configuration))
    point = wished_point(ground, config=lock)
    # What the compiler lays out otherwise is as it lays it out: the same scales, the same plan.
    found = Bench(ground.subjects).quantized(space.decode(point)).configuration
    assert (found.scheme, found.plan) == (
        compiled.configuration.scheme,
        compiled.configuration.plan,
    )
    placed = space.blocks[[part.name for part in space.parts].index("partition")]
    groups = [p.name.partition(".")[2] for p in space.parameters[placed]]
    values = [p.values[0] for p in space.parameters[placed]]
    file.write_text(plan_text(Plan(dict(zip(groups, values, strict=True)))))
    planned = wished_point(ground, plan=file)
    assert planned[placed] == (0,) * len(groups)
    assert planned[: placed.start] == space.start[: placed.start]
    both = wished_point(ground, config=lock, plan=file, decisions={f"partition.{groups[0]}": "vta"})
    assert both[: placed.start] == point[: placed.start]
    assert both[placed][1:] == planned[placed][1:]
    assert space.parameters[placed.start].values[both[placed.start]] == "vta"
    file.write_text(plan_text(Plan({"nothing": "cpu"})))
    with pytest.raises(InputError, match="nothing"):
        wished_point(ground, plan=file)
    other = replace(compiled.configuration, plan={"nothing": "cpu"})
    lock.write_text(configuration_text(other))
    with pytest.raises(InputError, match="names no node of the study's model, but 'nothing'"):
        wished_point(ground, config=lock)


def test_what_the_space_does_not_hold_is_refused(studies: Any) -> None:
    pinned = studies.settings(values={"quantization.calibration": ("all",)})
    ground = survey_ground(pinned)
    with pytest.raises(InputError, match=r"'quantization.calibratio' is no decision") as caught:
        wished_point(ground, decisions={"quantization.calibratio": "one"})
    assert "quantization.calibration" in (caught.value.hint or "")
    with pytest.raises(
        InputError, match=r"^'quantization.calibration': some; allowed are one, half, all$"
    ):
        wished_point(ground, decisions={"quantization.calibration": "some"})
    with pytest.raises(
        InputError, match=r"^not admitted: quantization.calibration is one, not all$"
    ):
        wished_point(ground, decisions={"quantization.calibration": "one"})
    with pytest.raises(InputError, match=r"spaces.values: 'nothing' is no decision"):
        survey_ground(studies.settings(values={"nothing": ("all",)}))


def test_what_was_tried_is_not_asked_for_again(small_study: Any, run: Any) -> None:
    storage = StudyStorage(small_study.storage, create=False)
    study = storage.find(small_study.name)
    names = Domain(study.document["parameters"])
    default = names.params(storage.trials(study)[0].point)
    name, value = next(iter(default.items()))
    words = ("--set", f"{name}={as_shown(value)}", "--storage", small_study.storage)
    code, out, err = run("study", "enqueue", small_study.name, *words)
    assert (code, out) == (0, "study small: trial 0 has tried this configuration\n"), err
    assert enqueued(storage, study) == ()
    storage.close()
