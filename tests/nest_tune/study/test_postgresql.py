"""Two studies at once on one PostgreSQL server, which goes away in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from nest_tune.study.store.storage import StudyStorage
from tests.nest_tune.trials_digest import trials_digest


def test_two_studies_survive_a_restart_of_their_storage(
    postgresql: Any, small_study: Any, tmp_path: Path, gate: Any
) -> None:
    words = ["--model", small_study.model, "--target", "vta"]
    words += ["--calibration", small_study.calibration, "--evaluation", small_study.evaluation]
    words += ["--space", "quantization,partition", "--sampler", "random", "--trials", 17]
    words += ["--constraint", "latency_ms<=0.5", "--json", *gate.options]
    environment = {
        **os.environ,
        "PYTHONPATH": gate.path,
        "NEST_TUNE_STORAGE": postgresql.url,
        "NEST_TUNE_CACHE": str(tmp_path / "cache"),
    }

    def begin(name: str, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "nest_tune", "study", "start", "--name", name]
        return subprocess.Popen(
            [*command, *map(str, words), *more],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    gate.close_after(5)  # of about 40, so that both are under way when the server goes
    processes = [begin("a"), begin("b")]
    storage = StudyStorage(postgresql.url)

    def stored() -> int:
        return sum(len(storage.trials(study)) for study in storage.studies())

    while stored() < 1:
        assert all(process.poll() is None for process in processes), processes[0].communicate()
        time.sleep(0.05)
    postgresql.stop()
    time.sleep(2.0)
    assert all(process.poll() is None for process in processes)
    postgresql.start()
    gate.open()
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert any("does not answer" in text and "answers again" in text for text in errors)
    assert "pa55-word" not in "".join(errors)
    alone = begin("alone", "--storage", f"sqlite:///{tmp_path / 'alone.db'}")
    assert alone.communicate()[1] is not None
    expected = StudyStorage(f"sqlite:///{tmp_path / 'alone.db'}")
    wanted = trials_digest(expected.trials(expected.find("alone")))
    for name in ("a", "b"):
        assert trials_digest(storage.trials(storage.find(name))) == wanted
    storage.close()
    expected.close()
