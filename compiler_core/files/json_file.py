"""JSON documents whose first key names their schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring
from math import isfinite
from typing import Any

from compiler_core.errors import InputError
from compiler_core.files.visible import json_visible


def json_bytes(schema: str, document: Mapping[str, Any]) -> bytes:
    """A document that diffs well; its first key is ``schema``."""
    return (json_visible(indented({"schema": schema, **document})) + "\n").encode()


def indented(document: Any) -> str:
    """What ``json.dumps`` writes with an indent of 1, no NaN and every character as it is.

    The standard library's encoder is compiled only without an indent, and its own loops in Python
    take most of the time that writing a package of many launches does.

    Raises:
        ValueError: A number is not finite.
        TypeError: A value has no JSON form.
    """
    parts: list[str] = []
    _write(document, "\n", parts.append)
    return "".join(parts)


def _write(value: Any, newline: str, put: Callable[[str], None]) -> None:
    if isinstance(value, dict):
        _write_members(value, newline, put)
    elif isinstance(value, list | tuple):
        if not value:
            put("[]")
            return
        inner, lead = newline + " ", "["
        for member in value:
            put(lead + inner)
            _write(member, inner, put)
            lead = ","
        put(newline + "]")
    else:
        put(_scalar(value))


def _write_members(value: dict[Any, Any], newline: str, put: Callable[[str], None]) -> None:
    if not value:
        put("{}")
        return
    inner, lead = newline + " ", "{"
    for key, member in value.items():
        name = encode_basestring(key) if isinstance(key, str) else f'"{_scalar(key)}"'
        kind = type(member)
        if kind is str or kind is int:  # most of what there is
            shown = encode_basestring(member) if kind is str else repr(member)
            put(f"{lead}{inner}{name}: {shown}")
        else:
            put(f"{lead}{inner}{name}: ")
            _write(member, inner, put)
        lead = ","
    put(newline + "}")


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        if not isfinite(value):
            raise ValueError(f"Out of range float values are not JSON compliant: {value!r}")
        return float.__repr__(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def parse_json(content: bytes, schema: str, where: str) -> dict[str, Any]:
    """The inverse of :func:`json_bytes`, without the schema.

    Raises:
        InputError: Not JSON, or of another schema.
    """
    try:
        document = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not a JSON document: {error}") from error
    seen = document.pop("schema", None) if isinstance(document, dict) else None
    if seen != schema:
        raise InputError(f"{where}: schema {seen!r}; {schema!r} is needed")
    return dict(document)
