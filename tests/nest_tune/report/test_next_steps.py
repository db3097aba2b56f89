"""What is suggested says the numbers of the table of layers, and only what can be done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compiler_core.executable.report import LayerReport
from nest_tune.report.compiled import LayerRow
from nest_tune.report.data import CompiledPart, NextStep, TaskRow
from nest_tune.report.next_steps import next_steps
from nest_tune.report.shares import ABOVE, HOST_WORK, LAUNCH, Share
from nest_tune.report.spaces import schedules_known, used_up
from nest_tune.study.execution.candidates import Bench
from nest_tune.study.proposals.evidence import interval_text
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.result import StudyResult, compile_trial
from nest_tune.study.tuning.seam import TunedTask
from search_spaces.task_space import task_space


def row(name: str, task: str, cycles: int, bound: int) -> LayerRow:
    layer = LayerReport(name, "s", "vta", "conv2d", "", 0.01, task=task)
    own = replace(layer, cycles=cycles, bound_cycles=bound, utilization=bound / cycles)
    return LayerRow(name, "conv2d", "", None, own, "")


LAYERS = (row("conv1", "task-1", 2_000, 700), row("conv2", "task-2", 684, 280))
TASKS = (
    TaskRow("task-1", 2_600, 2_100, 700, 64, ("conv1",)),
    TaskRow("task-2", 1_500, 1_329, 280, 40, ("conv2",)),
)


def steps(result: StudyResult, **changed: Any) -> list[NextStep]:
    chosen = result.chosen()
    assert chosen is not None
    told = replace(result, trials=(), settings=replace(result.settings, tiling=True))
    shares = (Share(LAUNCH, 0.1, 0.47), Share(ABOVE, 0.1, 0.4))
    part = replace(CompiledPart(layers=LAYERS, shares=shares), **changed)
    return list(next_steps(told, chosen, part, TASKS, result.settings.storage))


def above(found: list[NextStep]) -> NextStep:
    (step,) = [step for step in found if "above their bounds" in step.reason]
    return step


def test_the_layer_above_its_bound_is_that_of_the_table(result: StudyResult) -> None:
    """Its share of a joint program, not what it takes alone."""
    step = above(steps(result))
    assert "the most of it is conv1, 2,000 cycles with a bound of 700" in step.reason
    assert "64 schedules are measured" in step.reason
    assert "task tune task-1 --target vta --trials 128" in step.command
    tasks = step.command.splitlines()[0]
    assert tasks.startswith("nest-tune task list ")
    assert "--calibration" in tasks
    assert "1,329" not in step.reason


def test_a_space_that_is_used_up_is_not_searched_again(result: StudyResult) -> None:
    step = above(steps(result, used_up={"task-1": 64}))
    assert "all 64 schedules of its task are measured" in step.reason
    assert "then comes conv2, 684 cycles with a bound of 280" in step.reason
    assert "task-1" not in step.command
    assert "task tune task-2 --target vta --trials 80" in step.command
    step = above(steps(result, used_up={"task-1": 64, "task-2": 40}))
    assert step.command == ""


@pytest.mark.parametrize("count", [1, 3])
def test_one_launch_cannot_be_fewer(result: StudyResult, count: int) -> None:
    (text,) = [s.reason for s in steps(result, launches=count) if "47 %" in s.reason]
    assert ("need fewer" in text) == (count > 1)
    assert text.startswith("The one launch is 47 %" if count == 1 else "3 launches are 47 %")


def test_measurements_are_schedules_that_are_known() -> None:
    """What was tried beside the space, or replayed twice, is none: `task tune` knows as many."""
    task = TunedTask({}, 1_100, 2_000, 1_000, 128, tuple(map(str, range(64))))
    assert schedules_known(task) == 64
    assert schedules_known(replace(task, records=())) == 128


def test_intervals_have_one_form() -> None:
    assert interval_text((0.9347, 0.9727)) == "[0.935, 0.973]"
    assert interval_text((1234.5, 20_000.0)) == "[1,234, 20,000]"


def test_spaces_are_used_up_when_every_schedule_is_measured(result: StudyResult) -> None:
    """Of the tasks of a real compile, by the number of distinct schedules."""
    ground = survey_ground(result.settings, result.study)
    assert result.default is not None
    compiled = compile_trial(ground, result, result.default)
    tasks, _ = Bench(ground.subjects).tasks({})
    sizes = {n: task_space(t.task.workload, t.unit.machine).size for n, t in tasks.items()}
    small = min(sizes, key=lambda name: sizes[name])

    def found(count: int) -> dict[str, int]:
        known = TunedTask({}, 2, 2, 1, count, tuple(map(str, range(count))))
        return used_up(compiled, {small: known})

    assert found(sizes[small]) == {small: sizes[small]}
    assert found(sizes[small] - 1) == {}


@pytest.mark.parametrize(
    ("target", "words"), [("vta", "no accelerator takes"), ("host", "in its number formats")]
)
def test_work_of_the_cpu_is_explained_by_what_the_target_has(
    result: StudyResult, target: str, words: str
) -> None:
    chosen = result.chosen()
    assert chosen is not None
    told = replace(result, trials=(), settings=replace(result.settings, target=target))
    part = CompiledPart(shares=(Share(HOST_WORK, 0.1, 1.0),))
    (step,) = next_steps(told, chosen, part, (), result.settings.storage)
    assert words in step.reason
    assert f"--target {target}" in step.command
    assert ("--calibration" in step.command) == (target == "host")
