"""What a running study shows: lines, a panel with a bar, a bar in a notebook."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from nest_tune.study.request.goals import Direction, Objective, TrialMetric
from nest_tune.study.running.observer import Budget, Observer
from nest_tune.study.store.ended import Ended
from nest_tune.study.trial import Outcome, OuterTrial
from nest_tune.study.tuning.seam import TunedTask
from nest_tune.study.views.notebook_progress import NotebookBar, notebook_observer
from nest_tune.study.views.progress import Lines, Panel
from nest_tune.study.views.progress_state import Progress

LATENCY = [Objective(TrialMetric.LATENCY_MS, Direction.MINIMIZE)]


def trial(number: int, latency: float, **more: Any) -> OuterTrial:
    metrics = {"latency_ms": latency}
    return OuterTrial(number, (), False, Outcome.COMPLETE, metrics, bound_ms=latency / 2, **more)


def told(progress: Progress, *trials: OuterTrial) -> None:
    progress.began([], Budget(8))
    for item in trials:
        progress.finished(item)


def test_the_best_is_told_in_per_cent_of_the_default() -> None:
    progress = Progress(LATENCY)
    told(progress, trial(0, 0.2), trial(1, 0.15))
    [(name, text)] = progress.best_lines()
    assert name == "latency_ms"
    assert text.startswith("best 0.150 (-25.0 %), default 0.200")
    assert progress.share_done == 0.25
    assert progress.counts_text().startswith("2/8 trials (2 complete), 0 s")


def test_how_trials_ended_is_told_in_words() -> None:
    progress = Progress(LATENCY)
    broken = replace(trial(1, 0.1), outcome=Outcome.CONSTRAINTS)
    late = replace(trial(2, 0.1), outcome=Outcome.TIMEOUT, metrics={})
    told(progress, trial(0, 0.2), broken, late)
    assert progress.counts_text().startswith(
        "3/8 trials (1 complete, 1 beyond a limit, 1 out of time)"
    )


def test_time_left_is_told_from_the_third_trial_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 0.0, 100.0, 102.0, 104.0])
    clock = SimpleNamespace(monotonic=lambda: next(now, 104.0))
    monkeypatch.setattr("nest_tune.study.views.progress_state.time", clock)
    progress = Progress(LATENCY)
    progress.began([], Budget(13))
    for number in range(2):
        progress.finished(trial(number, 0.2))
    assert progress.seconds_left() is None
    progress.finished(trial(2, 0.2))
    assert progress.seconds_left() == 20.0  # two seconds each: the start is no trial
    assert progress.counts_text() == "3/13 trials (3 complete), 1 min 44 s, about 20 s left"


def test_the_first_tuning_does_not_make_the_rest_look_long(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [0.0, 540.0, 542.0, 544.0, 546.0]
    now = iter([0.0, 0.0, *moments])
    clock = SimpleNamespace(monotonic=lambda: next(now, moments[-1]))
    monkeypatch.setattr("nest_tune.study.views.progress_state.time", clock)
    progress = Progress(LATENCY)
    progress.began([], Budget(15))
    for number in range(5):
        progress.finished(trial(number, 0.2))
    assert progress.seconds_left() == (2 + 2 + 2 + 6) / 4 * 10


def test_a_task_that_is_tuned_is_told_by_what_it_is() -> None:
    progress = Progress(LATENCY)
    progress.began([], Budget(8))
    progress.tuning(1)
    assert progress.doing_text() == "tuning 1 new task"
    work = SimpleNamespace(operator="conv2d", shape="1x16x8x8 k3x3 s1x1 -> 16x8x8")
    task = SimpleNamespace(id="conv2d-0123456789abcdef", workload=work)
    search: Any = SimpleNamespace(
        task=task,
        measurements=1200,
        spent=1200,
        best_cycles=1500,
        bound_cycles=1000,
        quality=None,
        machine=SimpleNamespace(kind="vta"),
    )
    progress.searching(search)
    assert progress.doing_text().endswith(
        "conv2d 1x16x8x8 k3x3 s1x1 -> 16x8x8: best 1,500 cycles, lower bound 1,000"
    )


def test_a_bound_is_told_where_there_is_one() -> None:
    progress = Progress(LATENCY)
    told(progress, trial(0, 0.2))
    assert progress.best_lines()[0][1].endswith(", bound 0.100")
    bare = Progress(LATENCY)
    told(bare, replace(trial(0, 0.2), bound_ms=0.0))
    assert "bound" not in bare.best_lines()[0][1]


def test_differences_within_noise_have_no_number() -> None:
    progress = Progress(LATENCY)
    old = trial(0, 0.2, intervals={"latency_ms": (0.18, 0.22)})
    new = trial(1, 0.19, intervals={"latency_ms": (0.17, 0.21)})
    told(progress, old, new)
    assert "%" not in progress.best_lines()[0][1]


def test_the_default_alone_is_not_compared_with_itself() -> None:
    progress = Progress(LATENCY)
    told(progress, trial(0, 0.2))
    assert progress.best_lines()[0][1].startswith("best 0.200, default 0.200")


@pytest.mark.parametrize("verbose", [False, True])
def test_quality_of_models_is_for_those_who_ask(
    verbose: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Progress, "quality_text", lambda _: "Kendall tau 0.5")
    told(Lines(LATENCY, verbose=verbose), trial(0, 0.2))
    assert ("Kendall" in capsys.readouterr().err) == verbose
    panel = Panel(LATENCY, verbose=verbose)
    monkeypatch.setattr(panel, "show", lambda **_: None)
    told(panel, trial(0, 0.2))
    shown = io.StringIO()
    Console(file=shown, width=100).print(panel.table())
    assert ("Kendall" in shown.getvalue()) == verbose
    assert "1/8 trials" in shown.getvalue()


class Handle:
    """A cell's output."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []

    def __call__(self, bundle: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        self.shown.append(bundle)
        return self

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.shown.append(bundle)


def test_a_notebook_shows_one_bar_and_no_markup_of_others() -> None:
    handle = Handle()
    bar = NotebookBar(LATENCY, "top1", handle)
    bar.began([], Budget(2))
    bar.finished(trial(0, 0.2))
    bar._doing = "<script>"
    bar.ended(Ended.TRIALS)
    bar._doing = "<script>"
    bar.show(urgent=True)
    last = handle.shown[-1]
    assert '<progress max="1" value="0.5000">' in last["text/html"]
    assert "<script>" not in last["text/html"]
    assert "1/2 trials" in last["text/plain"]


def test_only_the_kernel_of_a_notebook_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert type(notebook_observer(LATENCY, "top1")) is Observer
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    shells = [None, SimpleNamespace(), SimpleNamespace(kernel=1)]
    found = []
    for shell in shells:
        ipython = ModuleType("IPython")
        ipython.get_ipython = lambda shell=shell: shell  # type: ignore[attr-defined]
        display = ModuleType("IPython.display")
        display.display = Handle()  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "IPython", ipython)
        monkeypatch.setitem(sys.modules, "IPython.display", display)
        found.append(type(notebook_observer(LATENCY, "top1")))
    assert found == [Observer, Observer, NotebookBar]


def test_lines_of_a_long_study_are_few_and_say_what_is_new(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An hour of tuning is at most about a hundred lines; a best that stays is told once."""
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    for module in ("progress", "progress_state"):
        monkeypatch.setattr(f"nest_tune.study.views.{module}.time", clock)
    lines = Lines(LATENCY)
    lines.began([], Budget(8))
    lines.tuning(3)
    assert "latency_ms: not measured yet" in capsys.readouterr().err
    lines.finished(trial(0, 0.2))
    assert "latency_ms: best 0.200" in capsys.readouterr().err
    for _ in range(3600):
        now[0] += 1.0
        lines.tuning(3)
    shown = capsys.readouterr().err.splitlines()
    assert 30 < len(shown) < 110
    assert not any("latency_ms" in line for line in shown)
    lines.finished(trial(1, 0.1))
    now[0] += 300.0
    lines.tuning(3)
    assert "best 0.100 (-50.0 %)" in capsys.readouterr().err
    lines.ended(Ended.TRIALS)
    assert "best 0.100 (-50.0 %)" in capsys.readouterr().err


def test_a_trial_that_is_tuned_does_not_end_the_tuning_of_others() -> None:
    """Several trials are tuned side by side; what was spent is told from when the first began."""
    progress = Progress(LATENCY)
    progress.began([], Budget(8))
    progress.tuned({})
    progress.tuning(1, 64)
    progress.tuning(2, 128)
    assert progress.doing_text() == "tuning 3 new tasks"
    done = TunedTask({}, 10, 10, 10, 4)
    progress.tuned({"a": done})
    assert progress.doing_text() == "tuning 2 new tasks"
    progress.tuned({"a": done, "b": done, "c": done})
    assert progress.doing_text() == "evaluating"
