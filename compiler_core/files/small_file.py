"""Files from outside that are held in memory as a whole, so that their size is bounded."""

from __future__ import annotations

from pathlib import Path

from compiler_core.errors import InputError
from compiler_core.files.exhausted import cannot_be_read


def read_small_file(path: Path, most_bytes: int, where: str = "") -> bytes:
    """The bytes of a file.

    Args:
        path: Of the file.
        most_bytes: A larger file is refused before it is read to its end.
        where: How errors name it; its path where that is all.

    Raises:
        InputError: It cannot be read, or is larger.
    """
    where = where or str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(most_bytes + 1)
    except OSError as error:
        raise cannot_be_read(where, error) from error
    if len(content) > most_bytes:
        raise InputError(f"{where}: more than {most_bytes} bytes")
    return content
