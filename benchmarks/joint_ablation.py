"""What each part of joint search brings: studies with and without it, on several networks.

Run: ``python benchmarks/joint_ablation.py STORAGE FOLDER... [--trials 32] [--seeds 2]``.

Each FOLDER holds ``model.onnx``, ``calib.npz`` and ``eval.npz`` with labels. All variants of a
network share STORAGE, a file, so that no candidate is judged twice; a study that is there is not
run again, so that a run may be ended and taken up. A quarter of the evaluation data only reports.

A variant is everything but one part. ``nothing`` has none of them: the guided sampler alone.
Printed are the latency of the chosen trial, what it lost on the samples that chose and on those
that report, and what latency is lost by leaving the part out.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from nest_tune.study.choice import chance
from nest_tune.study.request.goals import TrialMetric
from nest_tune.study.request.resolve import resolve
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.request.study_request import StudyRequest
from nest_tune.study.running import moves
from nest_tune.study.running.lifecycle import run_study
from nest_tune.study.running.observer import Observer
from nest_tune.study.store import dependencies
from nest_tune.study.store.creation import create_study
from nest_tune.study.store.result import StudyResult, load_result
from nest_tune.study.store.storage import StudyStorage

LATENCY, DROP = TrialMetric.LATENCY_MS.value, TrialMetric.ACCURACY_DROP.value


def _nothing(*_arguments: object, **_named: object) -> None:
    return None


PARTS: dict[str, tuple[object, str, Any]] = {
    "taught schemes": (dependencies, "first_guesses", lambda *_: (None, ())),
    "schemes with little noise": (moves, "_SCHEMES", 0),
    "repairs": (moves.Moves, "_repair", _nothing),
    "last step": (moves, "last_step", _nothing),
    "faithful pick": (chance, "preferred", lambda chosen, _trials, _objectives: chosen),
}
"""What is put in the place of a part to leave it out."""


def variants() -> dict[str, tuple[str, ...]]:
    """Parts that each variant lacks."""
    alone = {f"without {name}": (name,) for name in PARTS}
    return {"everything": (), **alone, "nothing": tuple(PARTS)}


@contextmanager
def without(parts: tuple[str, ...]) -> Iterator[None]:
    """Search that lacks some parts."""
    with ExitStack() as stack:
        for name in parts:
            owner, attribute, instead = PARTS[name]
            stack.enter_context(mock.patch.object(owner, attribute, instead))
        yield


def run(settings: StudySettings, storage: StudyStorage) -> StudyResult:
    """A study, or what is there of it."""
    known = storage.get(settings.name)
    if known is None or len(storage.trials(known)) < settings.trials:
        ground = dependencies.survey_ground(settings, known, storage=storage)
        study = create_study(storage, ground, "fail" if known is None else "resume")
        return run_study(ground, storage, study, Observer())
    return load_result(storage, known)


def line(result: StudyResult, best: Callable[[float], str]) -> str:
    """The chosen trial of a study."""
    chosen = result.chosen()
    if chosen is None:
        return "nothing feasible"
    told = result.closed.reported.get(chosen.number)
    shown = "" if told is None else f", reporting part {told.drop:+.4f}"
    latency = chosen.metrics[LATENCY]
    return f"{latency:9.4f} ms {best(latency)} drop {chosen.metrics[DROP]:+.4f}{shown}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("storage", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--target", default="vta")
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--max-accuracy-drop", type=float, default=0.01)
    arguments = parser.parse_args()
    storage = StudyStorage(f"sqlite:///{arguments.storage.resolve()}")
    for folder in arguments.folders:
        flags = StudyRequest(
            model=str(folder / "model.onnx"),
            target=arguments.target,
            calibration=str(folder / "calib.npz"),
            evaluation=str(folder / "eval.npz"),
            max_accuracy_drop=str(arguments.max_accuracy_drop),
            holdout="0.25",
            spaces=("quantization", "partition"),
            trials=arguments.trials,
            storage=str(storage.url),
            jobs=1,
        )
        settings = resolve(None, flags, os.environ)
        for seed in range(arguments.seeds):
            whole = 0.0
            for name, parts in variants().items():
                with without(parts):
                    own = replace(settings, seed=seed, name=f"{folder.name} {seed} {name}")
                    result = run(own, storage)
                    chosen = result.chosen()
                    if chosen is not None and name == "everything":
                        whole = chosen.metrics[LATENCY]
                    shown = line(result, lambda ms, w=whole: f"{ms / w:.4f}" if w else "")
                print(f"{folder.name:24} {seed} {name:34} {shown}", flush=True)
    storage.close()


if __name__ == "__main__":
    main()
