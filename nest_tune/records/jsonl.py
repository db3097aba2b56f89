"""Records as JSON lines: one record per line, to keep, send and merge."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from compiler_core.errors import InputError
from compiler_core.files.exhausted import cannot_be_read
from nest_tune.records.record import Record, record_from_plain, record_to_plain

MAXIMUM_LINE = 1 << 16
"""Bytes of the longest line that is read."""


def write_records(records: Iterable[Record], stream: IO[bytes]) -> int:
    """Writes records; returns how many."""
    count = 0
    for record in records:
        text = json.dumps(record_to_plain(record), sort_keys=True, separators=(",", ":"))
        stream.write(text.encode() + b"\n")
        count += 1
    return count


def read_records(path: Path) -> Iterator[tuple[int, Record | InputError]]:
    """Reads a file line by line.

    Yields:
        Line number, and the record or what is wrong with the line.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            number = 0
            while line := stream.readline(MAXIMUM_LINE + 1):
                number += 1
                where = f"{path}: line {number}"
                if len(line) > MAXIMUM_LINE:
                    raise InputError(f"{where}: more than {MAXIMUM_LINE} bytes")
                if line.strip():
                    yield number, _read_line(line, where)
    except OSError as error:
        raise cannot_be_read(path, error) from error


def _read_line(line: bytes, where: str) -> Record | InputError:
    try:
        return record_from_plain(json.loads(line.decode()), where)
    except InputError as error:
        return error
    except (ValueError, RecursionError) as error:
        return InputError(f"{where}: not a JSON object: {error}")
