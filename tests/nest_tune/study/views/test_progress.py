"""What a running study shows: lines, a panel with a bar, a bar in a notebook."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from nest_tune.study.request.goals import Direction, Metric, Objective
from nest_tune.study.running.observer import Budget, Observer
from nest_tune.study.store.ended import Ended
from nest_tune.study.trial import Outcome, OuterTrial
from nest_tune.study.views.notebook_progress import NotebookBar, notebook_observer
from nest_tune.study.views.progress import Lines, Panel
from nest_tune.study.views.progress_state import Progress

LATENCY = [Objective(Metric.LATENCY_MS, Direction.MINIMIZE)]


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
