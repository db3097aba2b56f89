"""From a dry run over a start without a name to a resume that knows what it was asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compiler_core.accuracy.holdout import reported_runs
from nest_tune.study.store.storage import StudyStorage

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def words(repository: Path, tmp_path: Path) -> list[str]:
    digits = repository / "examples" / "digits"
    found = ["study", "start", "--model", digits / "model.onnx", "--target", "vta", "--calibration"]
    found += [digits / "calib.npz", "--evaluation", digits / "eval.npz", "--space", "quantization"]
    found += ["--storage", f"sqlite:///{tmp_path}/s.db", "--sampler", "random"]
    return [str(word) for word in found]


def test_a_resume_knows_rule_and_output(
    nest_tune: Command, words: list[str], tmp_path: Path
) -> None:
    folder, url = tmp_path / "out", f"sqlite:///{tmp_path}/s.db"
    more = ("--trials", "1", "--output", str(folder), "--pick", "max:accuracy", "--json")
    code, out, err = nest_tune(*words, *more)
    assert code == 0, err
    first = json.loads(out)
    assert (first["study"], first["package"]) == ("model-vta-1", str(folder))
    (folder / "model.qdq.onnx").unlink()
    again = ("study", "resume", first["study"], "--trials", "2", "--storage", url, "--json")
    code, out, err = nest_tune(*again)
    assert code == 0, err
    second = json.loads(out)
    assert second["package"] == str(folder)
    assert (folder / "model.qdq.onnx").is_file()
    best = max(t["metrics"]["accuracy"] for t in second["front"])
    assert second["chosen"]["metrics"]["accuracy"] == best
    code, out, _ = nest_tune("study", "best", first["study"], "--storage", url, "--json")
    assert json.loads(out)["chosen"] == second["chosen"]
    code, out, err = nest_tune(*words, "--trials", "1", "--json")
    assert json.loads(out)["study"] == "model-vta-2"


def test_a_resume_that_cannot_begin_leaves_the_study_as_it_was(
    nest_tune: Command, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "mine_for_once.py"
    module.write_text("import optuna\nclass Plain(optuna.samplers.RandomSampler): pass\n")
    words[words.index("random")] = "mine_for_once:Plain"
    code, _, err = nest_tune(*words, "--trials", "1", "--name", "s")
    assert code == 0, err
    storage = StudyStorage(f"sqlite:///{tmp_path}/s.db")
    before = storage.find("s")
    resume = ("study", "resume", "s", "--trials", "3", "--storage", f"sqlite:///{tmp_path}/s.db")
    for wrong in (("--runner", "nowhere"), ("--runner", "ray", "--ray-address", "127.0.0.1:1")):
        code, _, err = nest_tune(*resume, *wrong)
        assert code in (2, 5), err
        now = storage.find("s")
        assert (now.status, now.document) == (before.status, before.document)
    module.unlink()
    sys.modules.pop("mine_for_once", None)
    code, _, err = nest_tune(*resume)
    assert code == 2, err
    assert "mine_for_once" in err
    now = storage.find("s")
    assert (now.status, now.document) == (before.status, before.document)
    storage.close()


@pytest.mark.parametrize("wrong", ["labels", "keys", "calibration", "output", "name"])
def test_a_dry_run_finds_what_the_first_trial_would(
    nest_tune: Command, words: list[str], repository: Path, tmp_path: Path, wrong: str
) -> None:
    digits = repository / "examples" / "digits"
    data = dict(np.load(digits / "eval.npz"))
    words = [*words, "--dry-run"]
    if wrong == "labels":
        data["y"] = data["y"] + 1000
        expected = "eval.npz"
    elif wrong == "keys":
        data = {"z": data["x"], "y": data["y"]}
        expected = "is missing"
    elif wrong == "calibration":
        x = np.load(digits / "calib.npz")["x"].copy()
        x[-1] = np.nan
        np.savez(tmp_path / "calib.npz", x=x)
        words[words.index("--calibration") + 1] = str(tmp_path / "calib.npz")
        expected = "NaN"
    elif wrong == "output":
        (tmp_path / "taken").mkdir()
        (tmp_path / "taken" / "mine.txt").write_text("x")
        words += ["--output", str(tmp_path / "taken")]
        expected = "taken"
    else:
        storage = StudyStorage(f"sqlite:///{tmp_path}/s.db")
        storage.create("mine", {"settings": {}})
        storage.close()
        words += ["--name", "mine"]
        expected = "the name is taken"
    np.savez(tmp_path / "eval.npz", **data)
    words[words.index("--evaluation") + 1] = str(tmp_path / "eval.npz")
    code, _, err = nest_tune(*words)
    assert code == 2
    assert expected in err
    assert wrong == "name" or not (tmp_path / "s.db").exists()


def test_a_dry_run_calibrates_with_few_samples_and_leaves_nothing(
    nest_tune: Command, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nest_tune.study.store.dependencies._WORK", 1)
    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))
    code, out, err = nest_tune(*words, "--dry-run", "--json")
    assert code == 0, err
    assert json.loads(out)["settings"]["name"] == "model-vta-1"
    assert not list(tmp_path.glob("cache/profiles/*"))
    assert not (tmp_path / "s.db").exists()


def test_what_reports_never_chooses(
    nest_tune: Command, words: list[str], repository: Path, tmp_path: Path
) -> None:
    """With other labels and images in the reporting part every trial is the same; only the report
    differs."""
    data = dict(np.load(repository / "examples" / "digits" / "eval.npz"))
    out = reported_runs(len(data["y"]), 0.25)
    found = []
    for seed in (0, 1):
        changed = {name: array.copy() for name, array in data.items()}
        if seed:
            changed["y"][out] = (changed["y"][out] + 1) % 10
        np.savez(tmp_path / f"{seed}.npz", **changed)
        words[words.index("--evaluation") + 1] = str(tmp_path / f"{seed}.npz")
        more = ("--trials", "3", "--name", f"s{seed}", "--max-accuracy-drop", "5%", "--json")
        code, text, err = nest_tune(*words, *more)
        assert code == 0, err
        found.append(json.loads(text))
    one, other = found
    assert one["chosen"] == other["chosen"]
    assert one["front"] == other["front"]
    assert one["holdout"]["samples"] == 150
    assert other["holdout"]["float"]["accuracy"] < 0.1 < one["holdout"]["float"]["accuracy"]
    low, high = one["holdout"]["default"]["intervals"]["accuracy_drop"]
    assert low <= one["holdout"]["default"]["accuracy_drop"] <= high
    accuracy = one["default"]["metrics"]["accuracy"]
    low, high = one["default"]["intervals"]["accuracy"]
    assert low < accuracy < high
    assert one["default"]["accuracy_samples"] == 450
    assert one["changes_percent"]["float"]["latency_ms"] < 0
    storage = ("--storage", f"sqlite:///{tmp_path}/s.db")
    code, text, _ = nest_tune("study", "show", "s0:0", *storage)
    assert "on 150 samples that nothing was chosen by" in text
    code, text, err = nest_tune("study", "export", "s0", *storage, "-o", str(tmp_path / "b.toml"))
    assert code == 0, err
    assert nest_tune("ci", "check", str(tmp_path / "b.toml"))[0] == 0


def test_samples_of_their_own_report(
    nest_tune: Command, words: list[str], repository: Path, tmp_path: Path
) -> None:
    data = dict(np.load(repository / "examples" / "digits" / "eval.npz"))
    for name, part in (("some", slice(0, 300)), ("rest", slice(300, None))):
        np.savez(tmp_path / f"{name}.npz", **{key: array[part] for key, array in data.items()})
    words[words.index("--evaluation") + 1] = str(tmp_path / "some.npz")
    more = ("--trials", "1", "--holdout", str(tmp_path / "rest.npz"), "--name", "own", "--json")
    code, text, err = nest_tune(*words, *more)
    assert code == 0, err
    found = json.loads(text)
    assert found["holdout"]["samples"] == 300
    assert found["default"]["accuracy_samples"] == 300
    code, text, err = nest_tune(*words, "--trials", "1", "--name", "none", "--json")
    assert json.loads(text)["holdout"] is None
    code, _, err = nest_tune(*words, "--holdout", "0.999", "--dry-run")
    assert code == 2
    assert "leaves nothing to choose by" in err


def test_what_is_reckoned_is_the_same_for_any_number_of_workers(
    nest_tune: Command, words: list[str], tmp_path: Path
) -> None:
    """Repairs and the last step among the trials; the last ones are changes of the chosen trial."""
    words = [*words, "--space", "partition", "--trials", "30", "--max-accuracy-drop", "0.2%"]
    words += ["--sampler", "xgb", "--json"]
    points = []
    for jobs in (1, 2):
        code, text, err = nest_tune(*words, "--name", f"j{jobs}", "--jobs", str(jobs))
        assert code in (0, 3), err
        storage = StudyStorage(f"sqlite:///{tmp_path}/s.db")
        trials = storage.trials(storage.find(f"j{jobs}"))
        storage.close()
        points.append([(trial.point, trial.attributes.get("move")) for trial in trials])
    assert points[0] == points[1]
    moved = [move for _, move in points[0]]
    assert "changed back" in moved or "changed to a neighbour" in moved
    assert not any(moved[:8])
    number = next(n for n, move in enumerate(moved) if move)
    url = ("--storage", f"sqlite:///{tmp_path}/s.db")
    code, text, _ = nest_tune("study", "show", f"j1:{number}", *url, "--json")
    assert json.loads(text)["move"] == {
        "why": moved[number],
        "of": json.loads(text)["move"]["of"],
    }
