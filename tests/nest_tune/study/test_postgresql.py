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
    postgresql: Any, small_study: Any, tmp_path: Path, repository: Path
) -> None:
    words = ["--model", small_study.model, "--target", "vta"]
    words += ["--calibration", small_study.calibration, "--evaluation", small_study.evaluation]
    words += ["--space", "quantization,partition", "--sampler", "random", "--trials", 17]
    words += ["--constraint", "latency_ms<=0.5", "--json"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(repository),
        "NEST_TUNE_STORAGE": postgresql.url,
        "NEST_TUNE_CACHE": str(tmp_path / "cache"),
    }

    def begin(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "nest_tune", "study", "start", "--name", name]
        return subprocess.Popen(
            [*command, *map(str, words)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    processes = [begin("a"), begin("b")]
    storage = StudyStorage(postgresql.url)

    def stored() -> int:
        return sum(len(storage.trials(study)) for study in storage.studies())

    end = time.monotonic() + 120
    while stored() < 1 and time.monotonic() < end:
        assert all(process.poll() is None for process in processes), processes[0].communicate()
        time.sleep(0.05)
    postgresql.stop()
    time.sleep(2.0)
    assert all(process.poll() is None for process in processes)
    postgresql.start()
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert any("does not answer" in text and "answers again" in text for text in errors)
    assert "pa55-word" not in "".join(errors)
    expected = StudyStorage(small_study.storage)
    wanted = trials_digest(expected.trials(expected.find(small_study.name)))
    for name in ("a", "b"):
        assert trials_digest(storage.trials(storage.find(name))) == wanted
    storage.close()
    expected.close()
