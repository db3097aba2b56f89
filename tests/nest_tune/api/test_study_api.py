"""A study by its Python interface; the small stored study of the other tests is only read."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

import nest_tune
from compiler_core.files.npz import read_npz
from nest_tune.study.running.observer import Observer
from nest_tune.study.trial import OuterTrial


class Count(Observer):
    """Numbers of the trials that ended."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def finished(self, trial: OuterTrial) -> None:
        self.numbers.append(trial.number)


def accuracy_of_zeros(outputs: dict[str, Any], labels: Any) -> float:
    """A user's own metric: the share of samples of class 0 that are taken for one."""
    (scores,) = outputs.values()
    zeros = labels == 0
    return float((scores.argmax(axis=1)[zeros] == 0).mean())


@pytest.fixture
def study(workplace: Path, digits: Path, monkeypatch: pytest.MonkeyPatch) -> nest_tune.Study:
    """Two trials, with a user's own metric in a module of the working folder."""
    source = Path(__file__).read_text().partition("class Count")[0]
    own = source + "def zeros(" + Path(__file__).read_text().partition("def accuracy_of_zeros(")[2]
    (workplace / "own_metric.py").write_text(own.partition("@pytest.fixture")[0])
    monkeypatch.setattr(sys, "path", list(sys.path))
    return nest_tune.Study.start(
        model=digits / "model.onnx",
        target="vta",
        calibration=digits / "calib.npz",
        evaluation=digits / "eval.npz",
        metric="own_metric:zeros",
        spaces=["quantization"],
        sampler="random",
        max_accuracy_drop="10%",
        trials=2,
        holdout=0,
        name="mine",
    )


def test_a_study_from_start_to_lock_file(
    study: nest_tune.Study, workplace: Path, digits: Path
) -> None:
    """Resumed, picked, compiled, reported, exported; the stored accuracy is that of the user's own
    metric on all samples."""
    counted = Count()
    assert [trial.number for trial in study.trials] == [0, 1]
    assert study.resume(trials="+1", observer=counted) is study
    assert counted.numbers == [2]
    opened = nest_tune.Study.open("mine")
    assert opened == study
    assert len(opened.trials) == 3
    best = opened.best("min:latency_ms")
    assert best in opened.front
    assert best.metrics["latency_ms"] == min(t.metrics["latency_ms"] for t in opened.front)
    assert opened.decisions(0) == {}
    package = opened.compile(workplace / "package", best.number)
    assert package.metrics.latency_ms == best.metrics["latency_ms"]
    data = read_npz(digits / "eval.npz")
    outputs = nest_tune.run(package, data).outputs
    assert best.metrics["accuracy"] == accuracy_of_zeros(dict(outputs), data["y"])
    page = opened.report(workplace / "report.html").read_text()
    assert "mine" in page
    locked = opened.export(workplace / "best.toml", 0)
    assert locked.number == 0
    with pytest.raises(nest_tune.InputError, match="trial 7"):
        opened.export(workplace / "other.toml", 7)
    opened.delete()
    with pytest.raises(nest_tune.InputError, match="'mine'"):
        _ = opened.trials


def test_a_study_goes_on_with_files_that_have_moved(workplace: Path, digits: Path) -> None:
    """Told where they are, as the command line is; without it, or with others, it is refused."""
    names = {"model": "model.onnx", "calibration": "calib.npz", "evaluation": "eval.npz"}
    (workplace / "old").mkdir()
    for name in names.values():
        shutil.copy(digits / name, workplace / "old" / name)
    study = nest_tune.Study.start(
        **{kind: workplace / "old" / name for kind, name in names.items()},
        target="vta",
        spaces=["partition"],
        sampler="random",
        trials=1,
        name="moved",
    )
    (workplace / "old").rename(workplace / "new")
    moved = {kind: workplace / "new" / name for kind, name in names.items()}
    with pytest.raises(nest_tune.InputError, match=r"no such file") as refused:
        study.resume(trials="+1", **{**moved, "calibration": None})
    assert "--calibration" in str(refused.value.hint)
    with pytest.raises(nest_tune.InputError, match="digest"):
        study.resume(trials="+1", **{**moved, "evaluation": moved["calibration"]})
    assert len(study.resume(trials="+1", **moved).trials) == 2
    assert len(study.resume(trials="+1").trials) == 3


def test_a_study_takes_what_is_in_memory(workplace: Path, digits: Path) -> None:
    """Kept as files of their own, the same content once, so that it is the study of the files."""
    given = {
        "model": onnx.load(digits / "model.onnx"),
        "calibration": read_npz(digits / "calib.npz"),
        "evaluation": dict(read_npz(digits / "eval.npz")),
    }
    asked = {"target": "vta", "spaces": ["partition"], "sampler": "random", "trials": 1}
    study = nest_tune.Study.start(**given, **asked, name="memory")
    kept = sorted(path.name for path in (workplace / "nest-tune-data").iterdir())
    assert [name.partition("-")[0] for name in kept] == ["calibration", "evaluation", "model"]
    files = {"model": "model.onnx", "calibration": "calib.npz", "evaluation": "eval.npz"}
    other = nest_tune.Study.start(
        **{kind: digits / name for kind, name in files.items()}, **asked, name="files"
    )
    assert [trial.metrics for trial in study.trials] == [trial.metrics for trial in other.trials]
    nest_tune.Study.start(**{**given, "calibration": given["calibration"]["x"]}, **asked, name="x")
    assert sorted(path.name for path in (workplace / "nest-tune-data").iterdir()) == kept
    del given["model"]
    for model in (digits / "model.onnx", onnx.load(digits / "model.onnx")):
        study = nest_tune.Study.start(model, **given, **asked)
        assert [trial.metrics for trial in study.trials] == [item.metrics for item in other.trials]
    with pytest.raises(nest_tune.InputError, match="given twice"):
        nest_tune.Study.start(model, model=model, **given, **asked)
    assert len(nest_tune.Study.open("memory").resume(trials="+1").trials) == 2
    with pytest.raises(nest_tune.InputError, match=r"calibration: 'x' is a list"):
        nest_tune.Study.start(**{**given, "calibration": {"x": [object()]}}, **asked)


@pytest.mark.usefixtures("workplace")
def test_wrong_studies_are_input_errors(digits: Path) -> None:
    with pytest.raises(nest_tune.InputError, match="no model"):
        nest_tune.Study.start(target="vta")
    with pytest.raises(nest_tune.InputError, match="latency_sm"):
        nest_tune.Study.start(
            model=digits / "model.onnx", target="vta", objectives=["latency_sm:min"]
        )
    with pytest.raises(nest_tune.InputError, match="duration"):
        nest_tune.Study.start(model=digits / "model.onnx", target="vta", timeout="soon")
    with pytest.raises(nest_tune.InputError, match=r"studies\.db"):
        nest_tune.Study.open("nothing")


class Ask(Observer):
    """Asks for the end after the first trial, as another thread or process would."""

    def __init__(self, name: str, verb: str) -> None:
        self.name = name
        self.verb = verb

    def finished(self, trial: OuterTrial) -> None:
        if trial.number == 0:
            getattr(nest_tune.Study.open(self.name), self.verb)()


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("verb", ["stop", "cancel"])
def test_a_running_study_ends_when_asked(digits: Path, verb: str) -> None:
    study = nest_tune.Study.start(
        digits / "study.toml",
        spaces=["quantization"],
        sampler="random",
        trials=400,
        name="asked",
        observer=Ask("asked", verb),
    )
    assert 1 <= len(study.trials) < 400
    with pytest.raises(nest_tune.InputError, match="'asked' is not running"):
        getattr(study, verb)()


def test_studies_are_compared_after_as_many_trials(study: nest_tune.Study, digits: Path) -> None:
    longer = nest_tune.Study.start(
        digits / "study.toml", spaces=["quantization"], sampler="random", trials=3, name="longer"
    )
    found = nest_tune.compare(study, longer)
    assert found.trials == 2
    assert [contender.all_trials for contender in found.contenders] == [2, 3]
    lowest = min(trial.metrics["latency_ms"] for trial in study.trials)
    assert found.contenders[0].checkpoints[-1].best["latency_ms"].value == lowest
    with pytest.raises(nest_tune.InputError, match="fewer than 3 trials"):
        nest_tune.compare(study, longer, trials=3)
    with pytest.raises(nest_tune.InputError, match="two or more"):
        nest_tune.compare(study)
