"""Frozen values as plain JSON or TOML values, and back with every type checked.

``from_plain`` is the one reader of documents that come from outside: it knows dataclasses, enums,
tuples, string-keyed dictionaries, optional values and unions of dataclasses, refuses unknown and
missing keys, and names the place of whatever is wrong.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from math import isfinite
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean

T = TypeVar("T")


@dataclass(frozen=True)
class PlainReader:
    """In ``Annotated[kind, PlainReader(read)]``: what reads such a value instead.

    Attributes:
        read: Called with the plain value and what errors call its place.
    """

    read: Callable[[Any, str], Any]


PLAIN_WRITER = "plain"
"""Key of a field's metadata: what writes its value instead, called with it."""

ONLY_WHERE_OTHER = "only where other"
"""Key of a field's metadata: documents and digests have the field only where it differs from its
default, so that those from before there was such a field stay as they are."""


def is_written(field: Field[Any], value: Any) -> bool:
    """Whether documents and digests of a frozen value have one of its fields."""
    return not field.metadata.get(ONLY_WHERE_OTHER) or getattr(value, field.name) != field.default


_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a finite number",
    str: "a text",
}

_AS_THEY_ARE = frozenset({bool, int, str})
"""Types of which every value is right."""

_SCALARS = frozenset({bool, int, float, str, type(None)})


def to_plain(value: Any) -> Any:
    """Dataclasses to dictionaries, enums to their values, tuples to lists, at any depth."""
    kind = type(value)
    if kind in _SCALARS:  # most of what there is
        return value
    if is_dataclass(kind):
        return {
            field.name: write(getattr(value, field.name))
            for field, write in _writers(kind)
            if is_written(field, value)
        }
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): to_plain(member) for key, member in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(member) for member in value]
    return value


@lru_cache(maxsize=256)
def _writers(kind: type) -> tuple[tuple[Field[Any], Callable[[Any], Any]], ...]:
    return tuple((field, field.metadata.get(PLAIN_WRITER, to_plain)) for field in fields(kind))


def from_plain(kind: type[T], value: Any, where: str) -> T:
    """The inverse of :func:`to_plain`.

    Args:
        kind: What ``value`` has to be: a dataclass, enum, plain type or a generic of them.
        value: As parsed from JSON or TOML.
        where: What errors call the place of ``value``.

    Raises:
        InputError: A key is unknown or missing, or a value has another type.
    """
    result: T = _read(kind, value, where)
    return result


def _read(kind: Any, value: Any, where: str) -> Any:
    if type(value) is kind and kind in _AS_THEY_ARE:  # most of what documents hold
        return value
    origin = get_origin(kind)
    if origin is Annotated:
        kind, *notes = get_args(kind)
        readers = [note for note in notes if isinstance(note, PlainReader)]
        return readers[0].read(value, where) if readers else _read(kind, value, where)
    if origin in (Union, types.UnionType):
        return _union(get_args(kind), value, where)
    if origin is tuple:
        return _tuple(get_args(kind), value, where)
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return _dictionary(get_args(kind)[1], value, where)
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum(kind, value, where)
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 1 << 53 else value
    if kind not in _KINDS:
        raise TypeError(f"{where}: {kind} has no plain form")
    if type(value) is not kind or (kind is float and not isfinite(value)):
        raise InputError(f"{where}: {_shown(value)}; {_KINDS[kind]} is needed")
    return value


@lru_cache(maxsize=256)
def _members(kind: type) -> dict[str, tuple[Any, bool]]:
    """What a dataclass holds, by name: its type, and whether it has to be there."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: (
            hints[field.name],
            field.default is MISSING and field.default_factory is MISSING,
        )
        for field in fields(kind)
    }


def _dataclass(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where}: {_shown(value)}; a table of keys is needed")
    known = _members(kind)
    refuse_unknown(value, list(known), where)
    result = {}
    for name, (hint, is_needed) in known.items():
        if name in value:
            result[name] = _read(hint, value[name], f"{where}.{name}")
        elif is_needed:
            raise InputError(f"{where}: key {name!r} is missing")
    try:
        return kind(**result)
    except InputError as error:  # what the values mean together is for their class to say
        raise InputError(f"{where}: {error.message}", hint=error.hint) from error


def refuse_unknown(value: Mapping[str, Any], known: list[str], where: str) -> None:
    """Refuses keys that nobody reads.

    Raises:
        InputError: Names the first such key and the nearest known one.
    """
    for key in value:
        if key not in known:
            raise InputError(
                f"{where}: unknown key {_shown(key)}; known are {', '.join(known) or 'none'}",
                hint=did_you_mean(str(key), known),
            )


def _enum(kind: type[Enum], value: Any, where: str) -> Enum:
    for member in kind:
        if type(member.value) is type(value) and member.value == value:
            return member
    allowed = ", ".join(str(member.value) for member in kind)
    raise InputError(f"{where}: {_shown(value)}; allowed are {allowed}")


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise InputError(f"{where}: {_shown(value)}; a list is needed")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise InputError(f"{where}: a list of {len(value)}; {len(kinds)} entries are needed")
    return tuple(
        _read(kind, member, f"{where}[{index}]")
        for index, (kind, member) in enumerate(zip(kinds, value, strict=True))
    )


def _dictionary(kind: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: {_shown(value)}; a table of keys is needed")
    return {str(key): _read(kind, member, f"{where}.{key}") for key, member in value.items()}


def _union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    rest = [kind for kind in kinds if kind is not type(None)]
    if len(rest) == 1:
        return _read(rest[0], value, where)
    # Unions are of dataclasses: the one whose keys fit best speaks, so that errors name its keys.
    keys = set(value) if isinstance(value, dict) else set()
    best = min(rest, key=lambda kind: len(keys ^ {field.name for field in fields(kind)}))
    return _read(best, value, where)


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes, or depth
        return f"a {type(value).__name__} too long to show"
    return text if len(text) <= 60 else text[:57] + "..."
