"""Studies from the command line: jobs, kill and resume, interrupts, exit codes, documents."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.tables import RUNS

ROOT = str(Path(__file__).resolve().parents[2])


class Commands:
    """Runs ``nest-tune`` in a folder that holds a small model with its data."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, model

    def start(self, *options: str, file_bytes: int | None = None) -> subprocess.Popen[str]:
        """A study; with ``file_bytes`` no file of it grows beyond them, as on a full disk."""
        return self.popen(*self.start_words(*options), file_bytes=file_bytes)

    def start_words(self, *options: str) -> list[str]:
        """Of the command that starts a study."""
        files = f"--model {self.model.name} --target vta --calibration c.npz --evaluation e.npz"
        spaces = "--space quantization,partition --sampler tpe"
        return ["study", "start", *files.split(), *spaces.split(), *options]

    def popen(self, *arguments: str, file_bytes: int | None = None) -> subprocess.Popen[str]:
        limit = [] if file_bytes is None else ["prlimit", f"--fsize={file_bytes}"]
        path = os.pathsep.join([ROOT, str(self.folder)])
        return subprocess.Popen(
            [*limit, sys.executable, "-m", "nest_tune", *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NEST_TUNE_CACHE": str(self.folder / "cache"), "PYTHONPATH": path},
            preexec_fn=hear_hangups,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        return finish(self.popen(*arguments))

    def trials(self, name: str, storage: str = "sqlite:///nest-tune.db") -> list[dict[str, Any]]:
        code, out, err = self.run("study", "trials", name, "--json", "--storage", storage)
        assert code == 0, err
        rows: list[dict[str, Any]] = json.loads(out)["trials"]
        return rows


def hear_hangups() -> None:
    """What starts the tests may ignore SIGHUP, as nohup does; a command that inherits that keeps
    to it."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.fixture
def commands(tmp_path: Path, synthetic: ModuleType) -> Commands:
    model = synthetic.write("residual", tmp_path)
    labels = np.random.default_rng(1).integers(0, 7, 300)
    np.savez(tmp_path / "c.npz", x=synthetic.samples("residual", 8)["x"])
    np.savez(tmp_path / "e.npz", x=synthetic.samples("residual", 300, 3)["x"], y=labels)
    return Commands(tmp_path, model)


@pytest.mark.parametrize(
    "sampler", ["xgb", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tpe", "nsga2"))]
)
def test_one_worker_two_workers_and_a_kill_give_the_same_trials(
    commands: Commands, gate: Any, sampler: str
) -> None:
    one = "sqlite:///one.db"
    options = ("--name", "s", "--trials", "17", "--sampler", sampler, *gate.options)
    # The kill falls among trials whose tasks are tuned, so that those of before are taken up again.
    options += ("--space", "quantization,partition,tiling") if sampler == "xgb" else ()
    gate.close(10)
    killed = commands.start(*options, "--jobs", "2")
    gate.wait(killed, 10)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    gate.open()
    assert 10 <= len(commands.trials("s")) < 17
    code, out, err = commands.run("study", "list")
    assert "interrupted" in out
    code, out, err = commands.run("study", "resume", "s", "--jobs", "2", "--json")
    assert code == 0, err
    assert json.loads(out)["trials"] == 17
    code, out, err = finish(commands.start(*options, "--jobs", "1", "--storage", one))
    assert code == 0, err
    assert "17 trials" in out
    trials = commands.trials("s")
    assert [trial["number"] for trial in trials] == list(range(17))
    assert all(trial["metrics"] and trial["point"] for trial in trials)
    assert trials == commands.trials("s", one)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_an_interrupt_saves_and_says_how_to_go_on(
    commands: Commands, gate: Any, number: signal.Signals, code: int
) -> None:
    gate.close(2)
    process = commands.start("--name", "s", "--trials", "500", *gate.options)
    gate.wait(process, 2)
    process.send_signal(number)
    returned, _, err = finish(process)
    gate.open()
    assert returned == code
    assert "saved; go on with: nest-tune study resume s\n" in err
    assert "Traceback" not in err
    stored = len(commands.trials("s"))
    assert 2 <= stored < 500
    returned, _, err = commands.run("study", "resume", "s", "--trials", str(stored + 1))
    assert returned == 0, err


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_full_disk_ends_with_5_and_the_study_goes_on_when_there_is_room(
    commands: Commands, kind: str
) -> None:
    url = f"{kind}:///n.db"
    options = ("--name", "s", "--trials", "40", "--storage", url, "--sampler", "random")
    process = commands.start(*options, file_bytes=1_000_000 if kind == "sqlite" else 60_000)
    code, _, err = finish(process)
    assert code == 5, err
    assert f"saved; go on with: nest-tune study resume s --storage {url}\n" in err
    assert "nothing more can be stored" in err
    assert "Traceback" not in err
    stored = commands.trials("s", url)
    assert 0 < len(stored) < 40
    code, _, err = commands.run("study", "resume", "s", "--storage", url)
    assert code == 0, err
    assert commands.trials("s", url)[: len(stored)] == stored


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_storage_that_is_removed_ends_a_study_that_is_not_said_to_be_saved(
    commands: Commands, gate: Any, kind: str
) -> None:
    url = f"{kind}:///other.db"
    gate.close_after(calls=3)
    process = commands.start("--name", "s", "--trials", "500", "--storage", url, *gate.options)
    calls = commands.folder / "calls"
    while not calls.exists() or calls.stat().st_size < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    for path in commands.folder.glob("other.db*"):
        path.unlink()
    gate.open()
    code, _, err = finish(process)
    assert code == 5
    assert "is gone" in err
    assert "saved" not in err
    assert not list(commands.folder.glob("other.db*"))


def test_a_sleeper_ends_when_another_driver_has_taken_its_study(
    commands: Commands, gate: Any
) -> None:
    gate.close(3)
    process = commands.start("--name", "s", "--trials", "6", "--jobs", "1", *gate.options)
    gate.wait(process, 3)
    process.send_signal(signal.SIGSTOP)
    try:
        with closing(StudyStorage(f"sqlite:///{commands.folder / 'nest-tune.db'}")) as storage:
            long_ago = RUNS.update().values(beat_s=0.0)  # as after a minute
            storage.run(lambda connection: connection.execute(long_ago))
            gate.open()
            code, out, err = commands.run("study", "resume", "s")
            assert code == 0, err
            assert "6 trials" in out
            trials = storage.trials(storage.find("s"))
            process.send_signal(signal.SIGCONT)
            code, _, err = finish(process)
            assert code == 1
            assert "study 's' was taken over by another process" in err
            assert "saved" not in err
            assert storage.trials(storage.find("s")) == trials
    finally:
        process.kill()


def test_what_others_do_with_optuna_steers_nothing_and_a_deletion_ends_it(
    commands: Commands, gate: Any
) -> None:
    url = "sqlite:///nest-tune.db"
    code, _, err = commands.run(
        *commands.start_words("--name", "calm", "--trials", "9", *gate.options)
    )
    assert code == 0, err
    calm = commands.trials("calm")
    gate.close(len(calm) + 3)
    process = commands.start("--name", "s", "--trials", "9", *gate.options)
    gate.wait(process, len(calm) + 3)
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{commands.folder}/nest-tune.db")
    best = study.get_trials(states=[TrialState.COMPLETE])[0]
    study.enqueue_trial(best.params)
    study.add_trial(
        optuna.trial.create_trial(
            params=best.params, distributions=best.distributions, values=[1e-6, 1.0]
        )
    )
    study.tell(study.ask(best.distributions), [2e-6, 1.0])
    gate.open()
    code, _, err = finish(process)
    assert code == 0, err
    compared = ("number", "point", "metrics")
    found = commands.trials("s")
    assert [[t[key] for key in compared] for t in found] == [
        [t[key] for key in compared] for t in calm
    ]
    gate.close(len(calm) + 10)
    process = commands.popen("study", "resume", "s", "--trials", "500")
    gate.wait(process, len(calm) + 10)
    optuna.delete_study(study_name="s", storage=f"sqlite:///{commands.folder}/nest-tune.db")
    gate.open()
    code, _, err = finish(process)
    assert code == 5
    assert f"study 's' was deleted from {url}" in err
    assert "saved" not in err


def test_stop_lets_trials_finish_and_cancel_does_not(commands: Commands, gate: Any) -> None:
    gate.close(1)
    process = commands.start("--name", "s", "--trials", "500", *gate.options)
    gate.wait(process, 1)
    code, out, err = commands.run("study", "stop", "s")
    assert code == 0, err
    assert "to stop study s, once the trials that it has begun are done" in out
    assert "nest-tune study cancel s" in out
    gate.open()
    code, out, err = finish(process)
    assert code == 0, err
    assert "; it was asked to stop" in out
    done = len(commands.trials("s"))
    assert 2 <= done < 500
    gate.close(done + 1)
    process = commands.popen("study", "resume", "s")
    gate.wait(process, done + 1)
    code, _, err = commands.run("study", "start", "--model", "residual.onnx", "--target", "vta",
                                "--name", "s", "--if-exists", "replace")  # fmt: skip
    assert code == 2
    assert "is running" in err
    assert commands.run("study", "cancel", "s")[0] == 0
    code, out, err = finish(process)
    assert code == 0, err
    assert "; it was cancelled" in out
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
    assert next(iter(document)) == "schema"
    assert {"study", "trials", "chosen", "default", "front", "package"} <= document.keys()
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
        (["resume", "nobody"], "there is no file"),
        (["list", "--storage", "nonsense"], "database URL"),
    ],
)
def test_wrong_input_is_refused(commands: Commands, arguments: list[str], said: str) -> None:
    code, _, err = commands.run("study", *arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
