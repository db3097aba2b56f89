"""Studies side by side: equal numbers of trials, hypervolume, decisions, notes, the command."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.accuracy.score import counted
from compiler_core.accuracy.tally import Tally
from compiler_core.errors import InputError
from nest_tune.study.proposals.front import pareto_front
from nest_tune.study.proposals.hypervolume import hypervolume
from nest_tune.study.request.goals import Direction, Objective, TrialMetric
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.store.result import StudyResult
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import Status, StoredStudy
from nest_tune.study.trial import Outcome, OuterTrial
from nest_tune.study.tuning.seam import TunedTask
from nest_tune.study.views.compare import compare

Run = Callable[..., tuple[int, str, str]]

LATENCY = Objective(TrialMetric.LATENCY_MS, Direction.MINIMIZE)
ACCURACY = Objective(TrialMetric.ACCURACY, Direction.MAXIMIZE)
PARAMETERS = [["scheme", ["a", "b"]], ["place", ["npu", "cpu"]]]


def study(
    name: str,
    values: Sequence[tuple[float, float]],
    *,
    goals: tuple[Objective, ...] = (LATENCY, ACCURACY),
    **digests: str,
) -> StudyResult:
    """A study whose trials have these latencies and accuracies."""
    trials = tuple(
        OuterTrial(
            number,
            (number % 2, 0),
            number > 0,
            Outcome.COMPLETE,
            {"latency_ms": latency, "accuracy": accuracy},
            wall_s=2.0,
        )
        for number, (latency, accuracy) in enumerate(values)
    )
    document = {"digests": digests, "parameters": PARAMETERS}
    stored = StoredStudy(1, name, 0.0, Status.DONE, "", 0.0, document)
    settings = StudySettings(name, "m.onnx", "vta", objectives=goals, sampler="tpe", seed=7)
    return StudyResult(stored, settings, trials, {}, pareto_front(trials, goals))


SHORT = study("short", [(4.0, 0.5), (2.0, 0.5), (3.0, 0.9)])
LONG = study("long", [(4.0, 0.5), (1.0, 0.6), (4.0, 0.7), (0.5, 0.99)])


def test_only_as_many_trials_as_all_have_count() -> None:
    found = compare([SHORT, LONG])
    assert found.trials == 3
    assert [c.all_trials for c in found.contenders] == [3, 4]
    best = [c.checkpoints[-1].best for c in found.contenders]
    assert (best[0]["latency_ms"].value, best[0]["latency_ms"].trial) == (2.0, 1)
    assert (best[1]["latency_ms"].value, best[1]["latency_ms"].trial) == (1.0, 1)
    assert found.winners("latency_ms") == ("long",)
    assert found.winners("accuracy") == ("short",)
    assert [c.work_s for c in found.contenders] == [6.0, 6.0]
    # The box runs from (1, -0.9) to (4, -0.5); (4, 0.7) lies on its border and adds nothing.
    share = [c.checkpoints[-1].hypervolume for c in found.contenders]
    assert share[0] == pytest.approx(1 / 3)  # (3, 0.9): a third of the width, the whole height
    assert share[1] == pytest.approx(1 / 4)


def test_checkpoints_never_get_worse() -> None:
    found = compare([SHORT, LONG], trials=2)
    assert [step.trials for step in found.contenders[0].checkpoints] == [1, 2]
    for contender in found.contenders:
        shares = [step.hypervolume or 0.0 for step in contender.checkpoints]
        assert shares == sorted(shares)


def test_decisions_of_the_chosen_trials_that_differ() -> None:
    found = compare([SHORT, LONG], rule="max:accuracy")
    assert [c.chosen.number if c.chosen else None for c in found.contenders] == [2, 2]
    assert found.decisions == {}
    found = compare([SHORT, LONG], rule="min:latency_ms")
    assert found.decisions == {}
    found = compare([SHORT, study("default", [(1.0, 1.0), (2.0, 0.5)])], rule="min:latency_ms")
    assert found.decisions == {"scheme": ("b", "a"), "tiling": ("tuned", "untuned")}


def test_each_study_hands_out_what_it_would_alone() -> None:
    """By its own rule, and of what chance alone tells apart the more faithful trial."""
    asked = replace(LONG, settings=replace(LONG.settings, pick="max:accuracy"))
    assert [c.chosen and c.chosen.number for c in compare([SHORT, asked]).contenders] == [1, 2]
    ruled = compare([SHORT, replace(asked, settings=replace(asked.settings, pick="fastest"))])
    assert [c.chosen and c.chosen.number for c in ruled.contenders] == [1, 1]
    hits = counted([Tally(np.array([1] * 9 + [0], np.int64))])
    told = {"accuracy_samples": 10, "all_hits": hits.hits, "intervals": {"accuracy": (0.6, 1.0)}}
    lucky = replace(SHORT.trials[2], **told, fidelity={"agreement": 0.8})
    faithful = replace(lucky, number=3, fidelity={"agreement": 0.9})
    worse = replace(SHORT.trials[1], metrics={"latency_ms": 5.0, "accuracy": 0.4})
    own = replace(SHORT, trials=(SHORT.trials[0], worse, lucky, faithful))
    alone = replace(own, front=pareto_front(own.trials, own.settings.objectives)).chosen()
    found = compare([own, study("other", [(1.0, 0.5)] * 4)]).contenders[0].chosen
    assert alone is found is faithful


def test_tasks_that_all_have_tuned_are_summed() -> None:
    tasks = {"x": TunedTask({}, 100, 200, 50, 8), "only here": TunedTask({}, 7, 7, 7, 8)}
    others = {"x": TunedTask({}, 90, 200, 50, 16)}
    found = compare([replace(SHORT, tasks=tasks), replace(LONG, tasks=others)])
    assert found.tasks == 1
    assert [c.task_cycles for c in found.contenders] == [100, 90]
    assert [c.measurements for c in found.contenders] == [8, 16]


def test_nothing_feasible_is_shown_as_such() -> None:
    trials = tuple(replace(t, outcome=Outcome.CONSTRAINTS) for t in LONG.trials)
    found = compare([SHORT, replace(LONG, trials=trials, front=())])
    assert found.contenders[1].chosen is None
    assert found.contenders[1].checkpoints[-1].best == {}
    assert found.contenders[1].checkpoints[-1].hypervolume == 0
    assert found.winners("accuracy") == ("short",)
    assert found.decisions["scheme"][1] is None


def test_what_makes_numbers_incomparable_is_noted() -> None:
    other = study("other", [(1.0, 1.0)], goals=(LATENCY,), model="b")
    found = compare([replace(SHORT, study=replace(SHORT.study, document={"digests": {}})), other])
    assert found.objectives == (LATENCY,)
    assert found.contenders[0].checkpoints[-1].hypervolume is None
    assert any("model" in note for note in found.notes)
    assert any("objectives" in note for note in found.notes)


def test_studies_that_knew_different_measurements_are_noted() -> None:
    document = {"digests": {}, "records": {"digest": "ab", "count": 7}, "parameters": PARAMETERS}
    later = replace(LONG, study=replace(LONG.study, document=document))
    found = compare([SHORT, later])
    assert [c.known_records for c in found.contenders] == [0, 7]
    assert any("different measurements" in note for note in found.notes)


@pytest.mark.parametrize(
    ("results", "trials", "words"),
    [
        ([SHORT], None, "two or more"),
        ([SHORT, SHORT], None, "two or more"),
        ([SHORT, LONG], 4, "'short' has fewer than 4"),
        ([SHORT, study("empty", [])], None, "'empty' has fewer than 1"),
        ([SHORT, study("x", [(1, 1)], goals=())], None, "no objective in common"),
    ],
)
def test_wrong_comparisons_are_refused(
    results: list[StudyResult], trials: int | None, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        compare(results, trials=trials)


@given(st.integers(1, 4).flatmap(
    lambda d: st.lists(st.tuples(*[st.integers(0, 6)] * d), min_size=1, max_size=7)
))  # fmt: skip
def test_hypervolume_counts_dominated_cells(points: list[tuple[int, ...]]) -> None:
    size = 5
    cells = np.zeros((size,) * len(points[0]), bool)
    for point in points:
        cells[tuple(slice(value, None) for value in point)] = True
    assert hypervolume(points, [size] * len(points[0])) == cells.sum()


def test_command_prints_tables_markdown_and_json(small_study: Any, nest_tune: Run) -> None:
    storage = StudyStorage(small_study.storage, create=False)
    small = storage.find("small")
    settings = {**small.document["settings"], "limits": []}
    other = storage.create("a|<b>", {**small.document, "settings": settings})
    for trial in storage.trials(small)[:3]:
        storage.finish(other, trial)
    storage.close()
    compared = ("study", "compare", "small", "a|<b>", "--storage", small_study.storage)
    code, output, errors = nest_tune(*compared, "--json")
    assert code == 0, errors
    document = json.loads(output)
    assert next(iter(document.items())) == ("schema", "nest-tune/study-compare/1")
    assert document["trials"] == 3
    assert [s["study"] for s in document["studies"]] == ["small", "a|<b>"]
    assert document["notes"] != []  # one has a constraint
    code, output, _ = nest_tune(*compared)
    assert code == 0
    assert "after 3 trials each" in output
    code, output, _ = nest_tune(*compared, "--format", "md")
    assert code == 0
    rows = [line for line in output.splitlines() if line.startswith("| ")]
    assert "a\\|\\<b\\>" in output
    assert "<b>" not in output.replace("\\<b\\>", "")
    assert len(rows) >= 6
    code, _, errors = nest_tune(*compared, "--trials", 9)
    assert code == 2
    assert "fewer than 9" in errors
    assert nest_tune("study", "delete", "a|<b>", "--yes", *compared[-2:])[0] == 0
