"""Borders between layers as decisions of studies: few, inert elsewhere, kept by lock files."""

from __future__ import annotations

from pathlib import Path

import pytest

import nest_tune
from compiler_core.compile.sources import load_model
from compiler_core.configuration.configuration import configuration_text, parse_configuration
from compiler_core.errors import InputError
from compiler_core.targets.load import load_target
from nest_tune.study.proposals.borders_part import FOUND, OWN_LAUNCH
from nest_tune.study.proposals.outer_space import make_space
from search_spaces.joint import JointSpace


def space(repository: Path, target: str, **options: bool) -> JointSpace:
    graph = load_model(repository / "examples" / "digits" / "model.onnx").graph
    asked = {"quantization": False, "partition": False, "joins_layers": True, "borders": True}
    return make_space(graph, load_target(target), **{**asked, **options})


@pytest.mark.parametrize("target", ["vta", "vta-x4", "vta-duo", "vta-aim", "vta-int4"])
def test_borders_with_room_are_offered_and_the_default_leaves_all_open(
    repository: Path, target: str
) -> None:
    found = space(repository, target)
    assert 0 < len(found.parameters) <= 8
    assert found.decode(found.default) == {"borders": {}}
    for parameter in found.parameters:
        assert parameter.values[:2] == (FOUND, OWN_LAUNCH)
        assert len(parameter) > 2


def test_a_kind_without_joined_layers_has_no_borders(repository: Path) -> None:
    assert space(repository, "aim-gddr6").parameters == ()


def test_layers_apart_have_no_borders(repository: Path) -> None:
    with pytest.raises(InputError, match="layers have a launch each"):
        space(repository, "vta", joins_layers=False)
    with pytest.raises(InputError, match="layers have a launch each"):
        space(repository, "host")


def test_a_study_decides_borders_and_its_lock_gives_the_same_bytes(
    repository: Path, tmp_path: Path
) -> None:
    digits = repository / "examples" / "digits"
    model, data = digits / "model.onnx", digits / "calib.npz"
    study = nest_tune.Study.start(
        name="b",
        model=model,
        target="vta",
        calibration=data,
        evaluation=digits / "eval.npz",
        spaces=["borders"],
        values={"borders.pointwise": (OWN_LAUNCH,), "borders.pool": ("found", "all early")},
        trials=4,
        sampler="random",
        storage=f"sqlite:///{tmp_path / 's.db'}",
    )
    best = study.trials[-1]
    assert best.metrics["latency_ms"] > study.default.metrics["latency_ms"]
    assert study.decisions(best.number)["borders.pointwise"] == OWN_LAUNCH
    assert "borders." in str(study.explain(best.number))
    made = study.compile(tmp_path / "one", trial=best.number)
    assert made.metrics.latency_ms == best.metrics["latency_ms"]
    assert made.metrics.launches >= 2
    lock = tmp_path / "lock.toml"
    study.export(lock, trial=best.number)
    again = nest_tune.compile(model, "vta", tmp_path / "two", config=lock, calibration=data)
    assert again.metrics == made.metrics
    one, two = (
        {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.bin")}
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    assert one
    assert one == two


def test_pinned_borders_hold_and_others_are_found(repository: Path, tmp_path: Path) -> None:
    digits = repository / "examples" / "digits"
    model, data = digits / "model.onnx", digits / "calib.npz"
    whole = nest_tune.compile(model, "vta", tmp_path / "whole", calibration=data)
    text = configuration_text(whole.configuration)
    rest = text[: text.index("[launches]")]
    pins = (
        "[launches]\nmerge = true\n[launches.pinned.pool]\nown = 1\n[launches.pinned.pointwise]\n"
        "ahead = 1\nearly = 0\nmicro_ops_early = 0\n"
    )
    asked = parse_configuration((rest + pins).encode(), "config.toml")
    assert parse_configuration(configuration_text(asked).encode(), "again.toml") == asked
    made = nest_tune.compile(model, "vta", tmp_path / "made", config=asked)
    found = made.configuration.launches
    assert found.borders is not None
    assert not found.pinned
    assert set(found.borders) == set(whole.configuration.launches.borders or {}) - {"pool"}
    assert found.borders["pointwise"] == {"ahead": 1, "early": 0, "micro_ops_early": 0}
    assert made.metrics.launches == whole.metrics.launches + 1
    assert nest_tune.run(tmp_path / "made", data, check=True).bit_exact


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("[launches.pinned.polo]\nown = 1\n", r"launches\.pinned\.polo: the model has no such"),
        ("[launches.pinned.pool]\nahead = 1\n", r"keys \['ahead'\]"),
        ("[launches.pinned.pool]\nown = 1\n[launches.borders]\n", "need the version"),
        ("lowering = 2\n[launches.pinned.pool]\nown = 1\n[launches.borders]\n", "say it all"),
    ],
)
def test_wrong_pins_are_refused(repository: Path, tmp_path: Path, table: str, message: str) -> None:
    digits = repository / "examples" / "digits"
    path = tmp_path / "config.toml"
    path.write_text(f'schema = "nest-tune/config/1"\n[launches]\nmerge = true\n{table}')
    with pytest.raises(InputError, match=message):
        nest_tune.compile(
            digits / "model.onnx",
            "vta",
            tmp_path / "out",
            config=path,
            calibration=digits / "calib.npz",
        )
