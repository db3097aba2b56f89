"""JSON documents whose first key names their schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from compiler_core.errors import InputError
from compiler_core.files.visible import json_visible


def json_bytes(schema: str, document: Mapping[str, Any]) -> bytes:
    """A document that diffs well; its first key is ``schema``."""
    text = json.dumps({"schema": schema, **document}, indent=1, allow_nan=False, ensure_ascii=False)
    return (json_visible(text) + "\n").encode()


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
