"""One target file: read, held against the schema, every number with its origin.

Each number states its origin, either itself, ``{ value = 16, origin = "measured", source = "…" }``,
or through ``origin`` and ``source`` of its table, which hold for the plain numbers written in that
table and the tables below it *in the same file*: a file that overrides a number says where its own
number comes from.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel

from compiler_core.errors import InputError
from compiler_core.files.exhausted import cannot_be_read
from compiler_core.files.toml_file import toml_source
from compiler_core.targets.schema import TARGET_SCHEMA
from compiler_core.targets.target import Origin, OriginKind

MAX_FILE_BYTES = 16 * 1024
"""Six times the largest bundled file; the TOML reader is quadratic in the depth of dotted keys."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
FILE_HINT = "docs/targets.md says how a target is written"
_HEADER = ("schema", "name", "inherit", "description")
_KEYS_HINT = "nest-tune target show vta lists all keys"
_ORIGIN_KINDS = ", ".join(kind.value for kind in OriginKind)


UNITS = "units"
"""Table of the units by name."""

INHERIT = "inherit"
"""Key of a file, and of a unit in :data:`UNITS`: the target that it is derived from."""

Schema: TypeAlias = "type[BaseModel] | Mapping[str, Schema]"
"""Tables by name, down to those of fixed keys."""


@dataclass(frozen=True)
class Leaf:
    """A value of one file; numbers have an origin, texts have none."""

    value: int | float | str
    origin: Origin | None
    file: str


@dataclass(frozen=True)
class TargetFile:
    """One file of a lineage.

    Attributes:
        label: Of it in errors.
        folder: It lies in.
        name, description, inherit: Of its header.
        leaves: By keys from the outermost table inwards.
    """

    label: str
    folder: Path
    name: str
    description: str | None
    inherit: str | None
    leaves: dict[tuple[str, ...], Leaf]


def read_target_file(
    path: Path, label: str, child: TargetFile | None, sections: Schema
) -> TargetFile:
    """Reads one file, not what it inherits.

    Args:
        path: Of the file.
        label: Of it in errors.
        child: That inherits it; ``None`` for the first of a lineage.
        sections: Its schema.

    Raises:
        InputError: It is missing, unreadable or wrong.
    """
    table = parse_target_file(path, label, child)
    schema = table.get("schema")
    if schema != TARGET_SCHEMA:
        seen = "is missing" if schema is None else f"= {shown(schema)}"
        raise InputError(
            f'{label}: schema {seen}; this version reads schema = "{TARGET_SCHEMA}"',
            hint=FILE_HINT,
        )
    for key in _HEADER:
        if not isinstance(table.get(key, ""), str):
            raise InputError(
                f"{label}: {key} = {shown(table[key])} must be a text", hint=_KEYS_HINT
            )
    name = table.get("name", "")
    if not NAME.fullmatch(name):
        raise InputError(
            f"{label}: name = {shown(name)} must be at most 64 "
            "lower-case letters, digits, '.', '_' and '-'",
            hint=_KEYS_HINT,
        )
    body = {key: value for key, value in table.items() if key not in _HEADER}
    leaves = dict(_leaves(body, sections, (), None, _Context(label, name)))
    return TargetFile(
        label, path.parent, name, table.get("description"), table.get("inherit"), leaves
    )


def parse_target_file(path: Path, label: str, child: TargetFile | None) -> dict[str, Any]:
    """The keys of one file, whatever they are; raises as :func:`read_target_file`."""
    wanted_by = f" (inherited by {child.label})" if child else ""
    try:
        if not path.is_file():
            kind = "is not a file" if path.exists() else "does not exist"
            raise InputError(
                f"{label}: {kind}{wanted_by}; a target is a .toml file",
                hint="nest-tune target list",
            )
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise cannot_be_read(f"{shown(label)}{wanted_by}", error, FILE_HINT) from error
    except ValueError as error:
        raise InputError(
            f"{shown(label)}: cannot be read{wanted_by}: {error}", hint=FILE_HINT
        ) from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(
            f"{label}: larger than the {MAX_FILE_BYTES} bytes allowed{wanted_by}", hint=FILE_HINT
        )
    try:
        return tomllib.loads(toml_source(data, label))
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise InputError(f"{label}: not a TOML file: {reason}", hint=FILE_HINT) from error


@dataclass(frozen=True)
class _Context:
    label: str
    name: str


def _leaves(
    table: dict[str, Any],
    schema: Schema,
    place: tuple[str, ...],
    origin: Origin | None,
    context: _Context,
) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    """Flattens one file against the schema, giving each number its origin."""
    origin = _origin(table, origin, place, context)
    known = _keys(schema)
    for key, value in table.items():
        if key in ("origin", "source") or _derives(key, value, place):
            continue
        inner = (*place, key)
        where = f"{context.label}: {'.'.join(inner)}"
        if key not in known:
            raise InputError(
                f"{context.label}: unknown key {shown(key)} in {table_name(place)}"
                f"{nearest(key, tuple(known))}; known are {', '.join(known) or 'none'}",
                hint=_KEYS_HINT,
            )
        section = known[key]
        if section is not None:
            if not isinstance(value, dict):
                raise InputError(f"{where} = {shown(value)} must be a table", hint=_KEYS_HINT)
            yield from _leaves(value, section, inner, origin, context)
            continue
        own = origin
        if isinstance(value, dict):
            wrong = sorted(value.keys() - {"value", "origin", "source"})
            if wrong or "value" not in value:
                raise InputError(
                    f"{where} has {shown(wrong[0]) if wrong else 'no value'}; "
                    "allowed are value, origin and source",
                    hint=_KEYS_HINT,
                )
            own = _origin(value, origin, inner, context)
            value = value["value"]
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InputError(
                f"{where} = {shown(value)} must be a number or a text", hint=_KEYS_HINT
            )
        if isinstance(value, str):
            own = None
        elif own is None:
            raise InputError(
                f"{where} = {shown(value)} does not say where it comes from",
                hint=f"add origin ({_ORIGIN_KINDS}) and source to {table_name(place)} or to the "
                "number",
            )
        yield inner, Leaf(value, own, context.label)


def _keys(schema: Schema) -> dict[str, Schema | None]:
    """Keys of a table, with the schema of those that are tables."""
    if isinstance(schema, Mapping):
        return dict(schema)
    found: dict[str, Schema | None] = {}
    for key, field in schema.model_fields.items():
        kind: Any = field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        found[key] = kind if nested else None
    return found


def _derives(key: str, value: Any, place: tuple[str, ...]) -> bool:
    """Whether a key says what a unit is derived from; it is no value of the unit's own."""
    return key == INHERIT and len(place) == 2 and place[0] == UNITS and isinstance(value, str)


def _origin(
    table: dict[str, Any], outer: Origin | None, place: tuple[str, ...], context: _Context
) -> Origin | None:
    if "origin" not in table and "source" not in table:
        return outer
    where = f"{context.label}: {table_name(place)}"
    kind, source = table.get("origin"), table.get("source")
    if kind not in [known.value for known in OriginKind]:  # a list: it may be unhashable
        raise InputError(
            f"{where}: origin = {shown(kind)}; allowed are {_ORIGIN_KINDS}", hint=_KEYS_HINT
        )
    if not isinstance(source, str) or not source.strip():
        raise InputError(
            f"{where}: source = {shown(source)} must be a text that says where the number is from",
            hint=_KEYS_HINT,
        )
    return Origin(OriginKind(kind), source, context.name)


def table_name(place: tuple[str, ...]) -> str:
    """A table as errors name it."""
    return f"[{'.'.join(place)}]" if place else "the file"


def nearest(key: str, known: tuple[str, ...]) -> str:
    """The known key that was probably meant, in brackets; empty where none is near."""
    close = get_close_matches(key, known, n=1)
    return f" (nearest: {close[0]})" if close else ""


def shown(value: object) -> str:
    """A value as errors show it, however long it is."""
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return "a number of more than 64 bits"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
