"""What a running study tells: on a terminal, elsewhere, and while tasks are tuned."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from nest_tune.study.proposals.problem import PREDICTED
from nest_tune.study.request.goals import Direction, Metric, Objective
from nest_tune.study.running.observer import Budget
from nest_tune.study.store.ended import Ended
from nest_tune.study.trial import Outcome, OuterTrial
from nest_tune.study.views import progress

OBJECTIVES = (Objective(Metric.LATENCY_MS, Direction.MINIMIZE),)


def trial(number: int, latency_ms: float, predicted: float | None = None, **more: Any) -> Any:
    values: dict[str, Any] = {"outcome": Outcome.COMPLETE, "bound_ms": 0.5, **more}
    expected = {} if predicted is None else {PREDICTED: {"latency_ms": predicted}}
    return OuterTrial(
        number, (number,), True, metrics={"latency_ms": latency_ms}, attributes=expected, **values
    )


def search(measurements: int, quality: tuple[float, float] | None = None) -> Any:
    return SimpleNamespace(
        task=SimpleNamespace(id="conv2d-1"),
        measurements=measurements,
        best_cycles=200,
        bound_cycles=100,
        quality=quality,
    )


def shown(view: progress.Progress) -> str:
    assert isinstance(view, progress.Panel)
    stream = io.StringIO()
    Console(file=stream, width=200).print(view.table())
    return stream.getvalue()


def test_lines_tell_counts_bests_and_the_quality_of_the_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    view = progress.Lines(OBJECTIVES)
    view.began([], Budget(200))
    view.finished(trial(0, 2.0))
    for number, (measured, predicted) in enumerate([(1, 1.1), (2, 2.2), (3, 3.3), (4, 4.4)], 1):
        view.finished(trial(number, measured, predicted))
    view.finished(trial(5, 9.0, outcome=Outcome.CONSTRAINTS))
    view.ended(Ended.EXHAUSTED)
    last = capsys.readouterr().err.splitlines()[-1]
    assert "6/200 trials (5 complete, 1 constraints)" in last
    assert "latency_ms: best 1, default 2, bound 0.5" in last
    assert "cost model: latency_ms Kendall tau 1.00, error 10.0%" in last
    assert "every point of the space has been tried" in last


def test_accuracies_have_their_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    view = progress.Lines((Objective(Metric.ACCURACY, Direction.MAXIMIZE),))
    view.began([], Budget(2))
    for number, value in enumerate((0.9, 0.95)):
        ends = {"accuracy": (value - 0.02, value + 0.03)}
        found = trial(number, 1.0, intervals=ends)
        view.finished(replace(found, metrics={"accuracy": value}))
    view.ended(Ended.TRIALS)
    last = capsys.readouterr().err.splitlines()[-1]
    assert "accuracy: best 0.95 [0.93, 0.98], default 0.9 [0.88, 0.93]" in last


def test_lines_come_now_and_then_and_tell_of_the_tuning(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    view = progress.Lines(OBJECTIVES)
    view.began([], Budget(10))
    view.tuning(3)
    view.searching(search(16))
    assert len(capsys.readouterr().err.splitlines()) == 1
    clock[0] += 12.0
    view.searching(search(32, (0.75, 0.031)))
    line = capsys.readouterr().err.strip()
    assert "tuning 3 new tasks (1 begun, 32 measurements, 12 s): conv2d-1 200 cycles, 50%" in line
    assert "cost model: schedules Kendall tau 0.75, error 3.1%" in line


def test_the_time_left_is_that_of_the_latest_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    view = progress.Progress(OBJECTIVES)
    view.began([], Budget(140))
    assert view.seconds_left() is None
    clock[0] = 1000.0  # a slow start
    view.finished(trial(0, 1.0))
    for number in range(1, 40):
        clock[0] += 2.0
        view.finished(trial(number, 1.0))
    assert view.seconds_left() == pytest.approx(200.0)
    view.began(view._trials.values(), Budget(140, timeout_s=30.0))
    clock[0] += 10.0
    view.finished(trial(40, 1.0))
    assert view.seconds_left() == pytest.approx(20.0)


def test_a_terminal_gets_a_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    view = progress.make_progress(OBJECTIVES)
    view.began([trial(0, 2.0)], Budget(7))
    view.tuning(1)
    view.searching(search(16, (0.5, 0.2)))
    text = shown(view)
    assert "1/7 trials" in text
    assert "16 measurements" in text
    assert "schedules Kendall tau 0.50, error 20.0%" in text
    assert isinstance(view, progress.Panel)
    view.close()
    assert "1/7 trials" in sys.stderr.getvalue()  # type: ignore[attr-defined]
