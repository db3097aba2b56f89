"""Settings of a study, each said in three ways: as an option, as a key of a file, by keyword."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

import nest_tune
from compiler_core.errors import InputError
from nest_tune.cli.study_verbs import app
from nest_tune.setting import Setting
from nest_tune.study.request.resolve import resolve
from nest_tune.study.request.settings import settings_document
from nest_tune.study.request.study_file import StudyFile
from nest_tune.study.request.study_request import StudyRequest, settings

VALUES: dict[str, Any] = {
    "model": "m.onnx",
    "target": "vta-x4",
    "calibration": "c.npz",
    "evaluation": "e.npz",
    "metric": "top5",
    "holdout": "0.3",
    "risk": "5%",
    "judged_output": "logits",
    "measurer": "board",
    "launches": "merged",
    "shapes": {"x": [1, 3, 8, 8]},
    "plan": "p.toml",
    "values": {"partition.conv": ["cpu"]},
    "sampler": "nsga2",
    "sampler_arguments": {"population_size": 8},
    "window": 16,
    "asynchronous": True,
    "trials": 17,
    "timeout": "7m",
    "trial_timeout": "8s",
    "jobs": 3,
    "runner": "replay",
    "ray_address": "host:6379",
    "pass_env": ["HOME"],
    "storage": "sqlite:///other.db",
    "seed": 9,
    "name": "mine",
}
"""One that is not the default, of every setting that a file has as a key."""

PLACED = {name: setting for name, setting in settings().items() if setting.place}


def option_of(name: str, setting: Setting) -> str:
    return setting.option or f"--{name.replace('_', '-')}"


def write(folder: Path, **values: Any) -> Path:
    """A study file with such settings."""
    tables: dict[str, dict[str, Any]] = {"model": {"path": "m.onnx"}, "target": {"name": "vta"}}
    for name, value in values.items():
        table, _, key = settings()[name].place.partition(".")
        tables.setdefault(table, {})[key] = value
    lines = []
    for table, entries in tables.items():
        lines.append(f"[{table}]")
        for key, value in entries.items():
            shown = repr(value) if not isinstance(value, bool) else str(value).lower()
            if isinstance(value, dict):
                (inner, own), *_ = value.items()
                shown = f"{{'{inner}' = {own!r}}}"
            lines.append(f"{key} = {shown.replace(chr(39), chr(34))}")
    path = folder / "study.toml"
    path.write_text("\n".join(lines))
    assert tomllib.loads(path.read_text())
    return path


def test_every_setting_has_its_value_here() -> None:
    assert VALUES.keys() == PLACED.keys()


@pytest.mark.parametrize("name", VALUES)
def test_a_key_and_a_keyword_say_the_same(name: str, tmp_path: Path) -> None:
    environment = {"HOME": "/home"}
    value = VALUES[name]
    known: dict[str, Any] = {"model": "m.onnx", "target": "vta", "name": "n", "evaluation": "e.npz"}
    if name in ("model", "calibration", "evaluation", "plan"):
        by_keyword = StudyRequest.of(**known | {name: str(tmp_path / value)})
    else:
        by_keyword = StudyRequest.of(**known | {name: value})
    spoken = settings_document(resolve(None, by_keyword, environment))
    others = {key: entry for key, entry in known.items() if key != name}
    request = StudyRequest.of(**{k: v for k, v in others.items() if k not in ("model", "target")})
    if name not in ("model", "target"):
        request = StudyRequest.of(**others)
    written = settings_document(resolve(write(tmp_path, **{name: value}), request, environment))
    for document in (spoken, written):
        del document["file"]
        document["model"] = Path(document["model"]).name
    assert written == spoken
    usual = settings_document(resolve(None, StudyRequest.of(**known), environment))
    assert spoken != usual | {"file": None}


def test_every_setting_is_an_option_with_its_help() -> None:
    start = typer.main.get_command(app).commands["start"]  # type: ignore[attr-defined]
    options = {option: parameter for parameter in start.params for option in parameter.opts}
    for name, setting in settings().items():
        assert options[option_of(name, setting)].help == setting.help


def test_every_setting_is_a_keyword_and_a_documented_attribute() -> None:
    keywords = inspect.signature(nest_tune.Study.start).parameters
    assert settings().keys() <= keywords.keys()
    for name, setting in settings().items():
        assert f"{name}: {setting.help}" in (StudyRequest.__doc__ or "")
        assert f"{name}: " in (nest_tune.Study.start.__doc__ or "")


def test_every_place_is_a_key_of_the_file() -> None:
    document = StudyFile().model_dump()
    for setting in PLACED.values():
        table, _, key = setting.place.partition(".")
        assert document[table][key] == (setting.default or document[table][key])


@pytest.mark.parametrize(
    ("given", "said", "hint"),
    [
        ({"sampel": "xgb"}, "study setting 'sampel' is not known; known are config, model", "samp"),
        ({"trials": "8"}, "trials '8': a whole number is needed", ""),
        ({"trials": 0}, "trials 0: at least 1 is needed", ""),
        ({"jobs": 5000}, "jobs 5000: at most 4096 is allowed", ""),
        ({"spaces": "partition"}, "spaces 'partition': a list of texts is needed", ""),
        ({"shapes": [1, 2]}, r"shapes \[1, 2\]: a mapping is needed", ""),
        ({"name": ["a"]}, r"name \['a'\]: a text or a path is needed", ""),
    ],
)
def test_wrong_keywords_are_refused(given: dict[str, Any], said: str, hint: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        nest_tune.Study.start(**given)
    assert hint in (caught.value.hint or "")
