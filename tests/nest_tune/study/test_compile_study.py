"""``nest-tune compile --study``: the configuration of a trial gives what the trial measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nest_tune.cli.app import _run


def test_compile_takes_a_trial_or_the_pick_of_a_study(
    studies: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder: Path = studies.folder
    monkeypatch.setenv("NEST_TUNE_CACHE", str(folder / "cache"))
    settings = studies.settings(tiling=True, trials=6)
    result = studies.run(settings)

    def compiled(*options: str) -> tuple[int, str, str]:
        words = ["compile", settings.model, "--target", "vta", "-o", str(folder / "p"), "--json"]
        words += ["--calibration", settings.calibration, "--storage", settings.storage]
        code = _run([*words, *options], debug=False, as_json=True)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    fastest = result.chosen("min:latency_ms")
    for options, trial in (
        (["--study", "s:0"], result.trials[0]),
        (["--study", "s:5"], result.trials[5]),
        (["--study", "s", "--pick", "min:latency_ms"], fastest),
    ):
        code, out, err = compiled(*options)
        assert code == 0, err
        metrics = json.loads(out)["metrics"]
        for name in ("latency_ms", "npu_cycles", "energy_mj", "size_bytes"):
            assert metrics[name] == trial.metrics[name]
    for options, said in (
        (["--study", "s:99"], "study 's' has no trial 99; it has 6"),
        (["--study", "t"], "study 't': not in"),
        (["--study", "s:x"], "NAME:TRIAL with a trial number"),
        (["--study", "s", "--config", "best.toml"], "--config and --study are both given"),
        (["--study", "s", "--pick", "smallest"], "--pick smallest"),
    ):
        code, _, err = compiled(*options)
        assert code == 2
        assert said in err
