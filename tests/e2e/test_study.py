"""Studies from the command line: jobs, kill and resume, interrupts, exit codes, documents."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = str(Path(__file__).resolve().parents[2])


class Commands:
    """Runs ``nest-tune`` in a folder that holds a small model with its data."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, model

    def start(self, *options: str) -> subprocess.Popen[str]:
        files = f"--model {self.model.name} --target vta --calibration c.npz --evaluation e.npz"
        spaces = "--space quantization,partition --sampler tpe"
        return self.popen("study", "start", *files.split(), *spaces.split(), *options)

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "nest_tune", *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NEST_TUNE_CACHE": str(self.folder / "cache"), "PYTHONPATH": ROOT},
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        return finish(self.popen(*arguments))

    def trials(self, name: str, storage: str = "sqlite:///nest-tune.db") -> list[dict[str, Any]]:
        code, out, err = self.run("study", "trials", name, "--json", "--storage", storage)
        assert code == 0, err
        rows: list[dict[str, Any]] = json.loads(out)["trials"]
        return rows

    def wait_for_trials(self, process: subprocess.Popen[str], name: str, count: int) -> None:
        """Until a running study has stored so many trials."""
        from nest_tune.study.store.storage import StudyStorage

        path, end = self.folder / "nest-tune.db", time.monotonic() + 120
        while time.monotonic() < end and process.poll() is None:
            if path.exists():
                storage = StudyStorage(f"sqlite:///{path}")
                study = storage.get(name)
                stored = 0 if study is None else len(storage.trials(study))
                storage.close()
                if stored >= count:
                    return
            time.sleep(0.05)
        raise AssertionError(f"no {count} trials: {process.communicate()}")


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


@pytest.fixture
def commands(tmp_path: Path, synthetic: ModuleType) -> Commands:
    model = synthetic.write("residual", tmp_path)
    labels = np.random.default_rng(1).integers(0, 7, 300)
    np.savez(tmp_path / "c.npz", x=synthetic.samples("residual", 8)["x"])
    np.savez(tmp_path / "e.npz", x=synthetic.samples("residual", 300, 3)["x"], y=labels)
    return Commands(tmp_path, model)


@pytest.mark.parametrize("sampler", ["xgb", "tpe", "nsga2"])
def test_one_worker_two_workers_and_a_kill_give_the_same_trials(
    commands: Commands, sampler: str
) -> None:
    one = "sqlite:///one.db"
    options = ("--name", "s", "--trials", "17", "--sampler", sampler)
    # The kill falls among trials whose tasks are tuned, so that those of before are taken up again.
    options += ("--space", "quantization,partition,tiling") if sampler == "xgb" else ()
    first = commands.start(*options, "--jobs", "1", "--storage", one)
    killed = commands.start(*options, "--jobs", "2")
    commands.wait_for_trials(killed, "s", 10)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert len(commands.trials("s")) < 17
    code, out, err = commands.run("study", "list")
    assert "interrupted" in out
    code, out, err = commands.run("study", "resume", "s", "--jobs", "2", "--json")
    assert code == 0, err
    assert json.loads(out)["trials"] == 17
    code, out, err = finish(first)
    assert code == 0, err
    assert "17 trials" in out
    trials = commands.trials("s")
    assert [trial["number"] for trial in trials] == list(range(17))
    assert all(trial["metrics"] and trial["point"] for trial in trials)
    assert trials == commands.trials("s", one)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_saves_and_says_how_to_go_on(
    commands: Commands, number: signal.Signals, code: int
) -> None:
    process = commands.start("--name", "s", "--trials", "500")
    commands.wait_for_trials(process, "s", 2)
    process.send_signal(number)
    returned, _, err = finish(process)
    assert returned == code
    assert "nest-tune study resume s" in err
    assert "Traceback" not in err
    stored = len(commands.trials("s"))
    assert 2 <= stored < 500
    returned, _, err = commands.run("study", "resume", "s", "--trials", str(stored + 1))
    assert returned == 0, err


def test_stop_lets_trials_finish_and_cancel_does_not(commands: Commands) -> None:
    process = commands.start("--name", "s", "--trials", "500")
    commands.wait_for_trials(process, "s", 1)
    code, out, err = commands.run("study", "stop", "s")
    assert code == 0, err
    assert "stop" in out
    code, out, err = finish(process)
    assert code == 0, err
    assert "ended: stopped" in out
    done = len(commands.trials("s"))
    assert done % 8 == 1
    process = commands.popen("study", "resume", "s")
    commands.wait_for_trials(process, "s", done + 1)
    code, _, err = commands.run("study", "start", "--model", "residual.onnx", "--target", "vta",
                                "--name", "s", "--if-exists", "replace")  # fmt: skip
    assert code == 2
    assert "is running" in err
    assert commands.run("study", "cancel", "s")[0] == 0
    code, out, err = finish(process)
    assert code == 0, err
    assert "ended: cancelled" in out
    code, _, err = commands.run("study", "stop", "s")
    assert code == 2
    assert "is not running" in err


def test_a_study_from_start_to_package_and_lock_file(commands: Commands) -> None:
    (commands.folder / "study.toml").write_text(
        '[study]\nname = "s"\ntrials = 9\n[model]\npath = "residual.onnx"\n'
        '[target]\nname = "vta"\n[data]\ncalibration = "c.npz"\nevaluation = "e.npz"\n'
        '[constraints]\naccuracy_drop = "<= 90%"\n[spaces]\ntiling = false\n'
        '[sampler]\nname = "tpe"\n'
    )
    code, out, err = commands.run("study", "start", "study.toml", "--json", "-o", "package")
    assert code == 0, err
    document = json.loads(out)
    assert list(document)[:7] == [
        "schema", "study", "trials", "chosen", "default", "front", "package"
    ]  # fmt: skip
    assert document["schema"] == "nest-tune/study/1"
    assert document["trials"] == 9
    assert document["default"]["number"] == 0
    assert document["chosen"]["number"] in [trial["number"] for trial in document["front"]]
    code, out, err = commands.run(
        "evaluate", "package", "--data", "e.npz", "--executor", "reference", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["accuracy"] == document["chosen"]["metrics"]["accuracy"]
    code, out, err = commands.run("study", "best", "s", "--pick", "min:latency_ms", "--json")
    fastest = json.loads(out)["chosen"]
    assert fastest["metrics"]["latency_ms"] == min(
        trial["metrics"]["latency_ms"] for trial in document["front"]
    )
    code, _, err = commands.run("study", "export", "s:0", "-o", "best.toml")
    assert code == 0, err
    code, out, err = commands.run(
        "compile", "residual.onnx", "--target", "vta", "--config", "best.toml", "-o", "p", "--json"
    )
    assert code == 0, err
    compiled = json.loads(out)["metrics"]
    assert compiled["latency_ms"] == document["default"]["metrics"]["latency_ms"]
    # The file says something else by now.
    text = (commands.folder / "study.toml").read_text()
    (commands.folder / "study.toml").write_text(text.replace("90%", "80%"))
    code, _, err = commands.run("study", "resume", "s", "--trials", "+8")
    assert code == 2
    assert "constraints.accuracy_drop: '<= 90%' -> '<= 80%'" in err
    code, out, _ = commands.run("study", "show", "s:0")
    assert "latency_ms" in out
    assert commands.run("study", "delete", "s")[0] == 2
    assert commands.run("study", "delete", "s", "--yes")[0] == 0
    code, out, _ = commands.run("study", "list", "--json")
    assert json.loads(out)["studies"] == []


def test_nothing_feasible_ends_with_3_and_the_closest_trials(commands: Commands) -> None:
    process = commands.start("--name", "s", "--trials", "5", "--constraint", "latency_ms<=0.000001")
    code, out, err = finish(process)
    assert code == 3, err
    assert "nothing is feasible (latency_ms <= 1e-06); the closest trials:" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["start"], "no model"),
        (["start", "--model", "nowhere.onnx", "--target", "vta"], "nowhere.onnx"),
        (["start", "--objective", "latency:min"], "did you mean 'latency_ms'"),
        (["start", "--constraint", "latency_ms<=1,>=2"], "contradictory"),
        (["start", "--timeout", "10"], "90s, 10m or 2h"),
        (["start", "--model", "m", "--target", "vta", "--sampler", "tpa"], "did you mean 'tpe'"),
        (["start", "--model", "m", "--target", "vta", "--runner", "lokal"], "mean 'local'"),
        (["resume", "nobody"], "there is no file nest-tune.db"),
        (["list", "--storage", "nonsense"], "database URL"),
    ],
)
def test_wrong_input_is_refused(commands: Commands, arguments: list[str], said: str) -> None:
    code, _, err = commands.run("study", *arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
