"""What was fixed at a study's start, as a database that anyone may have changed holds it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compiler_core.errors import InputError
from nest_tune.records.storage_url import StorageUrl
from nest_tune.study_command import study_command


def read_json(text: str, where: str) -> Any:
    """A JSON document.

    Raises:
        InputError: It is none.
    """
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise damaged(where) from error


def read_study_document(text: str, where: str) -> dict[str, Any]:
    """The document of a study; each of its parts that is there has its form.

    Raises:
        InputError: It is damaged.
    """
    document = read_json(text, where)
    if not isinstance(document, dict):
        raise damaged(where)
    for name, fits in _FORMS.items():
        if name in document and not fits(document[name]):
            raise damaged(f"{where}: {name}")
    settings = document.get("settings", {})
    if "storage" in settings:  # older versions stored it as it was given
        settings["storage"] = str(StorageUrl(settings["storage"]))
    return document


def check_point(point: Sequence[int], document: Mapping[str, Any], where: str) -> None:
    """Refuses a point of another search space than the study's.

    Args:
        point: Index of a value per parameter.
        document: Of the study; without ``parameters`` nothing is known about the space.
        where: For the message.

    Raises:
        InputError: Another number of parameters, or a value that there is not.
    """
    parameters = document.get("parameters")
    if parameters is None:
        return
    if len(point) != len(parameters) or not all(
        0 <= index < len(values) for index, (_, values) in zip(point, parameters, strict=True)
    ):
        raise damaged(where)


def damaged(where: str) -> InputError:
    """The error for whatever does not read as it was written."""
    return InputError(
        f"{where} is damaged in the storage",
        hint="restore the database from a copy, or delete the study: nest-tune study delete NAME",
    )


def damaged_part(where: str, name: str) -> InputError:
    """The error for what a study can let go of and make again: a trial, a tuned task.

    Args:
        where: For the message.
        name: Of the study.
    """
    hint = f"{study_command('verify', name, '--repair')} lets go of it, and a resume makes it again"
    return InputError(f"{where} is damaged in the storage", hint=hint)


def _is_settings(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("storage", ""), str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _is_snapshot(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(type(value.get(name)) is int for name in ("newest", "count"))
        and isinstance(value.get("digest"), str)
    )


def _is_parameters(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, list)
        and len(item) == 2
        and isinstance(item[0], str)
        and isinstance(item[1], list)
        and item[1]
        for item in value
    )


def _is_guesses(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(points, list)
        and all(isinstance(point, list) for point in points)
        and all(type(index) is int and index >= 0 for point in points for index in point)
        for points in value.values()
    )


_FORMS: Mapping[str, Callable[[Any], object]] = {
    "settings": _is_settings,
    "folder": lambda value: isinstance(value, str),
    "digests": _is_texts,
    "records": _is_snapshot,
    "file": lambda value: value is None or isinstance(value, dict),
    "default_scheme": lambda value: isinstance(value, dict),
    "guesses": _is_guesses,
    "parameters": _is_parameters,
}
