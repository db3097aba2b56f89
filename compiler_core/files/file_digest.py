"""Digest of a file of any size."""

from __future__ import annotations

import hashlib
from pathlib import Path

from compiler_core.files.exhausted import cannot_be_read


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex.

    Raises:
        InputError: It cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise cannot_be_read(path, error) from error
