"""Study files: what may stand in them, and how they are read.

Paths in a file are relative to the folder of the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.files.toml_file import read_toml

SamplerName = Literal["xgb", "tpe", "nsga2", "random", "exhaustive"]
RunnerName = Literal["local", "ray", "replay"]
SAMPLER_NAMES: tuple[str, ...] = get_args(SamplerName)
RUNNER_NAMES: tuple[str, ...] = get_args(RunnerName)
_BYTES_MAX = 1 << 20


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Study(_Section):
    name: str | None = None
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    trials: int = Field(default=200, ge=1, le=1_000_000)
    timeout: str | None = None


class _Model(_Section):
    path: str | None = None
    shapes: dict[str, list[int]] = {}


class _Target(_Section):
    name: str | None = None
    path: str | None = None
    measurer: str | None = None


class _Data(_Section):
    calibration: str | None = None
    evaluation: str | None = None
    metric: str | None = None
    judged_output: str | None = None


class _Spaces(_Section):
    quantization: bool = True
    partition: bool = True
    tiling: bool = True
    plan: str | None = None


class _Sampler(_Section):
    name: SamplerName = "xgb"


class _Run(_Section):
    runner: RunnerName = "local"
    jobs: int | None = Field(default=None, ge=1, le=4096)
    storage: str | None = None
    trial_timeout: str = "60s"
    ray_address: str | None = None
    pass_env: list[str] = []


class StudyFile(_Section):
    """The tables of a study file; what is left out has its default."""

    study: _Study = _Study()
    model: _Model = _Model()
    target: _Target = _Target()
    data: _Data = _Data()
    objectives: dict[str, str] = {}
    constraints: dict[str, str] = {}
    spaces: _Spaces = _Spaces()
    sampler: _Sampler = _Sampler()
    run: _Run = _Run()


def read_study_file(path: Path) -> StudyFile:
    """Reads a study file.

    Raises:
        InputError: It cannot be read, or a key or value is wrong; names the nearest known one.
    """
    document = read_toml(path, _BYTES_MAX)
    try:
        return StudyFile.model_validate(document)
    except ValidationError as error:
        raise _first_error(error, path) from error


def file_document(path: Path) -> dict[str, Any]:
    """What a study file says about the search itself, by dotted key; budgets and places where work
    is done are left out.

    Raises:
        InputError: As :func:`read_study_file`.
    """
    document = read_study_file(path).model_dump()
    document.pop("run")
    for name in ("name", "trials", "timeout"):
        document["study"].pop(name)
    return {f"{table}.{key}": v for table, values in document.items() for key, v in values.items()}


def _first_error(error: ValidationError, path: Path) -> InputError:
    found = error.errors()[0]
    place = ".".join(map(str, found["loc"]))
    where = f"{path}: {place}"
    if found["type"] == "extra_forbidden":
        known = _known_keys(found["loc"][:-1])
        key = str(found["loc"][-1])
        return InputError(
            f"{path}: unknown key {place}; known are {', '.join(known)}",
            hint=did_you_mean(key, known) or _elsewhere(key),
        )
    if found["type"] == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(found.get("ctx", {}).get("expected", "")))
        hint = did_you_mean(str(found["input"]), allowed)
        return InputError(
            f"{where}: {found['input']!r}; allowed are {', '.join(allowed)}", hint=hint
        )
    text = found["msg"][0].lower() + found["msg"][1:]
    return InputError(f"{where}: {found['input']!r}: {text}")


def _known_keys(place: Sequence[Any]) -> list[str]:
    model: Any = StudyFile
    for name in place:
        model = model.model_fields[str(name)].annotation
    return list(model.model_fields)


def _elsewhere(key: str) -> str | None:
    for name, section in StudyFile.model_fields.items():
        keys = getattr(section.annotation, "model_fields", {})
        if key in keys:
            return f"{key!r} belongs in [{name}]"
    return None
