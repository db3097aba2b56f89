"""The digest that ``package.json`` holds over its own fields."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from compiler_core.errors import InputError
from compiler_core.files.json_file import json_bytes, parse_json
from compiler_core.package.manifest import PACKAGE_SCHEMA

_KEY = "manifest_sha256"


def sealed_bytes(document: Mapping[str, Any]) -> bytes:
    """A manifest as written: its last key is the SHA-256 of the document without that key.

    Raises:
        ValueError: The document holds what JSON text cannot hold.
    """
    fields = {name: value for name, value in document.items() if name != _KEY}
    return json_bytes(PACKAGE_SCHEMA, {**fields, _KEY: _digest(fields)})


def unsealed(content: bytes, where: str) -> dict[str, Any]:
    """The inverse of :func:`sealed_bytes`, without schema and digest.

    The digest is over the values, so that a reader may indent the file as it likes.

    Raises:
        InputError: Not a manifest, without a digest, or changed after it was written.
    """
    document = parse_json(content, PACKAGE_SCHEMA, where)
    hint = "compile the package again"
    written = document.pop(_KEY, None)
    if not isinstance(written, str):
        raise InputError(f"{where}: {_KEY} is {written!r}; a digest is needed", hint=hint)
    try:
        digest = _digest(document)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: holds what no manifest holds: {error}") from error
    if digest != written:
        raise InputError(
            f"{where}: was changed: SHA-256 of its fields is {digest[:16]}…, {written[:16]}… was "
            "written",
            hint=hint,
        )
    return document


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json_bytes(PACKAGE_SCHEMA, document)).hexdigest()
