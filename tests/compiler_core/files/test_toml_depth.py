"""Deep TOML is refused before a parser meets it; everything else is left to the parser."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.files.toml_depth import DEPTH_MAX, check_toml_depth
from compiler_core.files.toml_file import parse_toml, toml_string


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (".".join(["a"] * 50_000) + " = 1", "line 1: more than 64 parts of one dotted key"),
        ("x = 1\n[" + " . ".join(["'a.b'"] * 65) + "]", "line 2: more than 64 parts"),
        ("x = " + "[" * 1000 + "]" * 1000, "more than 64 brackets within brackets"),
        ("x = " + "{a=" * 100 + "1" + "}" * 100, "more than 64 brackets"),
    ],
)
def test_deep_documents_are_refused(text: str, seen: str) -> None:
    with pytest.raises(InputError, match=seen):
        parse_toml(text.encode(), "f.toml")


@pytest.mark.parametrize(
    "text",
    [
        "x = '" + "." * 1000 + "'",
        'x = """' + "." * 1000 + '\n["[[[["""',
        "# " + "." * 1000 + "\nx = [1.5, 2.5]",
        "x = [" + "1.5," * 1000 + "]",
        "\n".join(f"a.b{i}.c = 1.5" for i in range(100)),
        ".".join(["a"] * DEPTH_MAX) + " = 1",
        "x = '''a'''''\ny = \"\\\"" + "." * 100 + '"',
    ],
)
def test_dots_in_texts_comments_and_numbers_do_not_count(text: str) -> None:
    assert parse_toml(text.encode(), "f.toml") == tomllib.loads(text)


@pytest.mark.parametrize("text", ['"""\\' * 50_000, "'''" + "''a" * 50_000, '"a' * 100_000])
def test_texts_without_an_end_are_passed_over_once(text: str) -> None:
    check_toml_depth(text, "f.toml")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_from_a_toml_string(text: str) -> None:
    written = toml_string(text)
    assert tomllib.loads(f"x = {written}")["x"] == text
    assert "\u202e" not in written
