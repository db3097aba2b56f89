"""What is printed neither steers a terminal nor speaks to a CI service."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from compiler_core.files.visible import visible_lines
from nest_tune.terminal import VisibleStream, visible_console

NAME = "conv\x1b[31m\u202e\x9b\x07"
SHOWN = "conv\\x1b[31m\\u202e\\x9b\\x07"


def test_a_stream_shows_what_it_writes() -> None:
    raw = io.StringIO()
    stream = VisibleStream(raw)
    print(NAME, file=stream)
    stream.writelines(["a\r", "\tb\n"])
    assert raw.getvalue() == f"{SHOWN}\na\\r\tb\n"
    assert stream.isatty() is False


def test_a_narrow_encoding_is_no_error() -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    VisibleStream(raw).write("é\udcff")
    raw.flush()
    assert raw.buffer.getvalue() == b"\\xe9\\udcff"  # type: ignore[attr-defined]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_console_shows_cells_texts_and_lines(terminal: bool) -> None:
    raw = io.StringIO()
    out = visible_console(
        file=raw, width=100, force_terminal=terminal, markup=False, highlight=False
    )
    table = Table(NAME, box=None)
    table.add_row(NAME)
    table.add_row(Text(NAME[:-1], style="bold"))  # Rich drops a bell by itself
    out.print(table)
    out.print(NAME)
    text = raw.getvalue()
    assert text.count(SHOWN[:-4]) == 4
    assert "\u202e" not in text
    assert "\x1b[31m" not in text
    assert ("\x1b[1m" in text) is terminal  # its own styles stay


@pytest.mark.parametrize(
    "line", ["::error::x", "  ::set-output name=a::b", "x ##[error]y", "##vso[task.x]", "a\n::x::"]
)
def test_lines_of_a_ci_job_are_no_commands(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    raw = io.StringIO()
    print(line, file=VisibleStream(raw))
    for written in raw.getvalue().splitlines():
        assert not written.strip().startswith("::")
        assert "##[" not in written
        assert "##vso[" not in written
    monkeypatch.delenv("CI")
    for name in ("GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION"):
        monkeypatch.delenv(name, raising=False)
    raw = io.StringIO()
    print(line, file=VisibleStream(raw))
    assert raw.getvalue() == f"{line}\n"


@given(st.text())
def test_any_cell_reaches_the_console_seen(text: str) -> None:
    raw = io.StringIO()
    table = Table(box=None, show_header=False)
    table.add_row(text)
    visible_console(file=raw, width=10_000, markup=False, emoji=False).print(table)
    assert visible_lines(raw.getvalue()) == raw.getvalue()
