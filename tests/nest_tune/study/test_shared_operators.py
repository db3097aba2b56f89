"""A study on units that can share operators: found, chosen, exported, enqueued, compiled again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import nest_tune
from compiler_core.configuration.configuration import read_configuration
from nest_tune.report.compiled import plan_picture
from nest_tune.study.store.result import compile_trial
from nest_tune.study.store.selection import ground_of
from tests import synthetic_models

WAY = "vta/32+int4/64 followed"


def test_a_study_shares_operators_and_its_lock_file_says_how(tmp_path: Path) -> None:
    b = synthetic_models.Builder(2)
    b.conv("x", "a", (96, 16, 1, 1))
    b.conv("a", "d", (96, 1, 3, 3), group=96)
    b.add("GlobalAveragePool", ["d"], "g")
    b.add("Flatten", ["g"], "f")
    b.dense("f", "y", 96, 5)
    model, data = tmp_path / "m.onnx", tmp_path / "data.npz"
    model.write_bytes(b.model({"x": ["n", 16, 6, 6]}, {"y": ["n", 5]}))
    np.savez(data, x=np.random.default_rng(0).normal(size=(32, 16, 6, 6)).astype("f4"))
    study = nest_tune.Study.start(
        model=model,
        target="vta-duo",
        calibration=data,
        evaluation=data,
        spaces=["quantization", "partition"],
        values={"partition.n_a": [WAY]},
        trials=2,
        jobs=1,
        holdout=0,
        storage=f"sqlite:///{tmp_path / 's.db'}",
        name="shared",
    )
    lock = tmp_path / "best.toml"
    study.export(lock, 1)
    plan = read_configuration(lock).plan
    assert plan["n_a"] == plan["n_d"] == "vta/32+int4/64"
    assert nest_tune.check(lock, data).ok
    assert WAY in study.decisions(1).values()
    built = compile_trial(ground_of(study.result), study.result, study.trials[1])
    picture = plan_picture(built, built.executable.target)
    assert "n_a/vta" in picture
    assert "n_a/int4" in picture
