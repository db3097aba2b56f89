"""A study on several cores tunes how operators are cut across them; its lock file says how."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nest_tune
from compiler_core.compile.compile import compile_model
from compiler_core.configuration.configuration import read_configuration
from nest_tune.study.store.result import compile_trial
from nest_tune.study.store.selection import ground_of
from tests import synthetic_models


def write(folder: Path) -> tuple[Path, Path]:
    """A model of two convolutions that are worth cutting."""
    b = synthetic_models.Builder(2)
    b.conv("x", "a", (64, 16, 3, 3))
    b.conv("a", "y", (64, 64, 1, 1))
    model, data = folder / "m.onnx", folder / "data.npz"
    model.write_bytes(b.model({"x": ["n", 16, 20, 20]}, {"y": ["n", 64, 20, 20]}))
    np.savez(data, x=np.random.default_rng(0).normal(size=(8, 16, 20, 20)).astype("f4"))
    return model, data


@pytest.mark.parametrize("target", ["vta-x2", "vta-x4"])
def test_a_study_finds_a_slice_that_is_better_than_the_untuned_one(
    target: str, tmp_path: Path
) -> None:
    model, data = write(tmp_path)
    study = nest_tune.Study.start(
        model=model,
        target=target,
        calibration=data,
        spaces=["partition", "tiling"],
        objectives=["latency_ms:min"],
        values={"partition.n_a": ["vta-sliced"], "partition.n_y": ["vta-sliced"]},
        trials=2,
        jobs=1,
        storage=f"sqlite:///{tmp_path / 's.db'}",
        name="cut",
    )
    tuned = [name for name in study.result.tasks if "rows" in name or "channels" in name]
    assert tuned, "cut operators are tasks of the study"
    trial = study.trials[1]
    built = compile_trial(ground_of(study.result), study.result, trial)
    assert built.metrics.latency_ms == trial.metrics["latency_ms"]
    untuned = compile_model(
        replace(built.source, configuration=replace(built.source.configuration, slicing={})),
        built.executable.target,
    )
    assert set(built.cuts) == set(untuned.cuts) == {"n_a", "n_y"}
    assert built.configuration.slicing != untuned.configuration.slicing
    layers = [
        {layer.name: layer.cycles for layer in made.report.layers if layer.name in built.cuts}
        for made in (built, untuned)
    ]
    assert all(layers[0][name] <= layers[1][name] for name in built.cuts)
    assert sum(layers[0].values()) < sum(layers[1].values())

    lock = tmp_path / "best.toml"
    study.export(lock, 1)
    assert read_configuration(lock).slicing == built.configuration.slicing
    assert nest_tune.check(lock).ok
