"""Study files: what may stand in them, and how they are read.

Paths in a file are relative to the folder of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from compiler_core.errors import InputError
from compiler_core.files.brief import brief
from compiler_core.files.nearest import did_you_mean
from compiler_core.files.toml_file import read_toml
from nest_tune.setting import ARGUMENTS, SHAPES, VALUES, Setting
from nest_tune.study.request.study_request import DEFAULT_SPACES, SPACES, settings

_BYTES_MAX = 1 << 20


_Text = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _tables() -> dict[str, Any]:
    """Sections of a study file: one per table that settings name, and those of another form."""
    keys: dict[str, dict[str, Any]] = {name: {} for name in _ORDER}
    keys["target"]["path"] = (_Text | None, None)
    keys["target"]["host"] = (_Text | list[_Text] | None, None)
    keys["spaces"] = {name: (bool, name in DEFAULT_SPACES) for name in SPACES}
    for setting in settings().values():
        if setting.place:
            table, _, key = setting.place.partition(".")
            keys[table][key] = _entry(setting)
    made: dict[str, Any] = {}
    for name, entries in keys.items():
        if name in _PAIRS:
            made[name] = (dict[str, str], {})
            continue
        ordered = {key: entries[key] for key in sorted(entries, key=_KEYS.get(name, "").find)}
        section = create_model(f"_{name.title()}", __base__=_Section, **ordered)
        made[name] = (section, section())
    return made


def _entry(setting: Setting) -> tuple[Any, Any]:
    """Type and default of a key."""
    if setting.kind is dict:
        return _TABLES[setting.holds], {}
    if setting.kind is list:
        return list[str], []
    kind: Any = _Text if setting.kind is str else setting.kind
    bounds = Field(default=setting.default, ge=setting.least, le=setting.most)
    return (kind if setting.default is not None else kind | None), bounds


_Value = bool | int | float | str
_TABLES: dict[str, Any] = {
    SHAPES: dict[str, list[int]],
    VALUES: dict[str, list[_Value] | _Value],
    ARGUMENTS: dict[str, Any],
}

_ORDER = (
    "study",
    "model",
    "target",
    "data",
    "objectives",
    "constraints",
    "spaces",
    "sampler",
    "run",
)
_KEYS = {
    "study": "name seed trials timeout risk window asynchronous",
    "target": "name path host measurer launches",
}
"""In which order keys are shown, where it is not that of the settings."""

_PAIRS = ("objectives", "constraints")
"""Tables of a metric and a text each."""

StudyFile: Any = create_model("StudyFile", __base__=_Section, **_tables())
"""The tables of a study file; what is left out has its default."""


def read_study_file(path: Path) -> Any:
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
    if found["type"] in ("model_type", "model_attributes_type"):
        known = _known_keys(found["loc"])
        return InputError(
            f"{where}: {brief(found['input'])}: a table is needed, with keys {', '.join(known)}",
            hint=f"[{place}]",
        )
    if found["type"] == "string_too_short":
        key = place.rpartition(".")[2]
        return InputError(f"{where}: is empty", hint=f"leave {key} out for its default")
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
