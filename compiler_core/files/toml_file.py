"""TOML: read from outside, and written with one key per line in the order given."""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from compiler_core.errors import InputError
from compiler_core.files.small_file import read_small_file
from compiler_core.files.toml_depth import check_toml_depth
from compiler_core.files.visible import toml_visible

_BYTES_MAX = 8 << 20
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def read_toml(path: Path, most_bytes: int = _BYTES_MAX) -> dict[str, Any]:
    """A TOML file from outside as plain values.

    Raises:
        InputError: It cannot be read, is too large, or is not TOML.
    """
    return parse_toml(read_small_file(path, most_bytes), str(path))


def parse_toml(content: bytes, where: str) -> dict[str, Any]:
    """TOML that has been read already as plain values.

    Raises:
        InputError: It is not TOML.
    """
    try:
        return tomllib.loads(toml_source(content, where))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not a TOML file: {error}") from error
    except MemoryError as error:
        raise InputError(f"{where}: {len(content)} bytes do not fit into memory") from error


def toml_source(content: bytes, where: str) -> str:
    """The text of a TOML file, which a parser may read.

    Raises:
        InputError: It is UTF-16, or nests too deeply.
        ValueError: It is no UTF-8.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:4]:
        raise InputError(
            f"{where}: not a TOML file: it is UTF-16, or no text; TOML is UTF-8",
            hint="save it as UTF-8: PowerShell's > writes UTF-16, Out-File -Encoding utf8 does not",
        )
    text = content.decode("utf-8-sig")  # some editors write a mark of the order of bytes
    check_toml_depth(text, where)
    return text


def toml_text(document: Mapping[str, Any]) -> str:
    """Plain values as TOML: the keys of a table, then the tables in it, each with its dotted name.

    Args:
        document: Texts, numbers, booleans, lists of texts or numbers, and tables.
    """
    return "\n".join(_lines(document)) + "\n"


def toml_string(text: str) -> str:
    """A text as it stands in TOML."""
    # JSON strings are TOML basic strings, but for the one control character that JSON lets through.
    return toml_visible(json.dumps(text, ensure_ascii=False))


def toml_key(text: str) -> str:
    """A key as it stands in TOML: bare where that is allowed."""
    return text if _BARE_KEY.fullmatch(text) else toml_string(text)


def _lines(document: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Plain keys first, then the tables, each with its dotted name."""
    tables = {key: value for key, value in document.items() if isinstance(value, dict)}
    plain = {key: value for key, value in document.items() if key not in tables}
    if path and (plain or not tables):
        yield ""
        yield f"[{'.'.join(map(toml_key, path))}]"
    for key, value in plain.items():
        yield f"{toml_key(key)} = {_value(value)}"
    for key, value in tables.items():
        yield from _lines(value, (*path, key))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return toml_string(value) if isinstance(value, str) else repr(value)
