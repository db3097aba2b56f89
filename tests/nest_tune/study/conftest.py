"""A runner in this process, and studies of a small model on it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from nest_tune.runners.runner import (
    Answer,
    Ending,
    Runner,
    Setup,
    Work,
    kind_of,
    make_runner,
    resolve,
)
from nest_tune.study.request.resolve import resolve as resolve_settings
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.request.study_request import StudyRequest
from nest_tune.study.running import lifecycle
from nest_tune.study.running.lifecycle import run_study
from nest_tune.study.running.observer import Observer
from nest_tune.study.store import ground
from nest_tune.study.store.creation import create_study
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.result import StudyResult
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.tuning import from_records as tasks


class InlineRunner:
    """Answers in this process, in any order that its seed says.

    Attributes:
        calls: Functions called so far, with their payloads.
        hurdle: Called before each call; may raise to break off, or return an answer to give.
    """

    def __init__(self, setup: Setup, seed: int = 0) -> None:
        self._setup = setup
        self._state: Any = None
        self._random = random.Random(seed)
        self._waiting: list[Work] = []
        self.calls: list[tuple[str, Any]] = []
        self.hurdle: Callable[[Work], Answer | None] = lambda _work: None

    def submit(self, work: Work) -> None:
        self._waiting.append(work)

    def wait(self, timeout_s: float) -> list[Answer]:
        del timeout_s
        if not self._waiting:
            return []
        work = self._waiting.pop(self._random.randrange(len(self._waiting)))
        given = self.hurdle(work)
        if given is not None:
            return [given]
        self.calls.append((work.function, work.payload))
        if self._state is None:
            self._state = resolve(self._setup.function)(self._setup.payload)
        try:
            value = resolve(work.function)(self._state, work.payload)
        except Exception as error:
            return [Answer(work.ticket, Ending.ERROR, error=kind_of(error), message=str(error))]
        return [Answer(work.ticket, Ending.DONE, value)]

    def cancel(self, ticket: int) -> None:
        self._waiting = [work for work in self._waiting if work.ticket != ticket]

    def close(self) -> None:
        self._waiting.clear()


class Recorder(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.finished_numbers: list[int] = []

    def finished(self, trial: Any) -> None:
        self.finished_numbers.append(trial.number)


class Studies:
    """Runs studies of one model in a folder."""

    def __init__(self, folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._monkeypatch = folder, monkeypatch
        self._model = model
        self.runner: InlineRunner | None = None

    def settings(self, **changes: Any) -> StudySettings:
        flags = StudyRequest(
            name="s",
            model=str(self._model),
            target="vta",
            calibration=str(self.folder / "calib.npz"),
            evaluation=str(self.folder / "eval.npz"),
            spaces=("quantization", "partition"),
            sampler="xgb",
            trials=17,
            trial_timeout="10h",
            storage=f"sqlite:///{self.folder / 'n.db'}",
        )
        return replace(resolve_settings(None, flags, {}), **changes)

    def run(
        self,
        settings: StudySettings,
        *,
        if_exists: str = "fail",
        seed: int = 0,
        hurdle: Callable[[Work], Answer | None] | None = None,
        observer: Observer | None = None,
    ) -> StudyResult:
        def make(name: str, setup: Setup, options: Any) -> Runner:
            if name == "replay":
                return make_runner(name, setup, options)
            self.runner = InlineRunner(setup, seed)
            self.runner.hurdle = hurdle or self.runner.hurdle
            return self.runner

        self._monkeypatch.setattr(lifecycle, "make_runner", make)
        storage = StudyStorage(settings.storage)
        try:
            known = storage.get(settings.name) if if_exists == "resume" else None
            ground = survey_ground(settings, known, storage=storage)
            study = create_study(storage, ground, if_exists)
            return run_study(ground, storage, study, observer or Recorder())
        finally:
            storage.close()


@pytest.fixture
def studies(tmp_path: Path, synthetic: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Studies:
    """Studies of the residual model; subsets of 16 samples, 16 measurements per task."""
    model = synthetic.write("residual", tmp_path)
    calibration, evaluation = synthetic.samples("residual", 8), synthetic.samples("residual", 48, 3)
    labels = np.random.default_rng(1).integers(0, 7, 48)
    np.savez(tmp_path / "calib.npz", **calibration)
    np.savez(tmp_path / "eval.npz", **evaluation, y=labels)
    monkeypatch.setattr(ground, "SUBSET", 16)
    monkeypatch.setattr(tasks, "PER_TASK", 16)
    return Studies(tmp_path, model, monkeypatch)
