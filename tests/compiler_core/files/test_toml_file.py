"""TOML that is written reads back, and what is wrong outside is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.files.small_file import read_small_file
from compiler_core.files.toml_file import parse_toml, read_toml, toml_text
from compiler_core.targets.load import load_target

texts = st.text(st.characters(codec="utf-8"), max_size=12)
plain = texts | st.booleans() | st.integers(-(2**62), 2**62) | st.lists(st.integers(0, 9))
tables = st.recursive(
    st.dictionaries(texts, plain, max_size=4), lambda inner: st.dictionaries(texts, plain | inner)
)


@given(tables)
def test_what_is_written_reads_back(document: dict[str, object]) -> None:
    assert parse_toml(toml_text(document).encode(), "here") == document


def test_files_are_bounded_and_named(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    with pytest.raises(InputError, match=r"a\.toml: cannot be read: No such file"):
        read_toml(path)
    path.write_bytes(b"a = 1\n")
    assert read_toml(path, 6) == {"a": 1}
    with pytest.raises(InputError, match=r"^here: more than 5 bytes"):
        read_small_file(path, 5, "here")
    path.write_bytes(b"a = \xff")
    with pytest.raises(InputError, match=r"a\.toml: not a TOML file"):
        read_toml(path)


def test_a_mark_of_the_order_of_bytes_is_no_text() -> None:
    assert parse_toml("\ufeffa = 1\n".encode(), "f.toml") == {"a": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_told_by_its_name(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes('name = "own"\n'.encode(encoding))
    for read in (read_toml, load_target):
        with pytest.raises(InputError, match="UTF-16") as caught:
            read(path)
        assert "UTF-8" in str(caught.value.hint)
