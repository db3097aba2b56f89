"""Files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import pytest

from compiler_core.errors import InputError
from compiler_core.files.whole_file import write_atomically


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_bytes(b"old")

    def write(stream: IO[bytes]) -> None:
        stream.write(b"ne")
        raise KeyError("w")

    with pytest.raises(KeyError):
        write_atomically(path, write)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    write_atomically(link, lambda stream: stream.write(b"new"))
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_atomically(tmp_path / "none" / "x", lambda stream: stream.write(b""))
