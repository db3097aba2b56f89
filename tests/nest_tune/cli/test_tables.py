"""Tables lose whole columns where a terminal is narrow; no number is cut or folded."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from nest_tune.cli.tables import fit, print_table

NUMBERS = ["1,234,567", "0.343000", "98.1 %", "1,931", "12.5"]


def sample(columns: int) -> Table:
    table = Table("layer", *(f"figure {i}" for i in range(columns)), "what", box=None)
    for row in range(3):
        numbers = [NUMBERS[(row + i) % len(NUMBERS)] for i in range(columns)]
        table.add_row(f"layer{row}", *numbers, "words that go on for quite some time here")
    return table


def printed(table: Table, width: int, *drop: str) -> str:
    stream = io.StringIO()
    print_table(table, drop=drop, out=Console(file=stream, width=width))
    return stream.getvalue()


@given(columns=st.integers(0, 9), width=st.integers(60, 200))
def test_numbers_stay_whole_and_nothing_is_wider(columns: int, width: int) -> None:
    table = sample(columns)
    left_out = set(fit(table, width))
    text = printed(sample(columns), width)
    lines = [line for line in text.splitlines() if not line.startswith("no room for")]
    assert all(len(line) <= width for line in lines)
    kept = [i for i in range(columns) if f"figure {i}" not in left_out]
    for row in range(3):
        for i in kept:
            assert NUMBERS[(row + i) % len(NUMBERS)] in text
    seen = set(re.findall(r"[\d,]+\.?\d*", " ".join(lines)))
    whole = {number.split()[0] for number in NUMBERS} | {str(i) for i in range(10)}
    assert seen <= whole | {","}


def test_columns_go_by_priority_and_are_named() -> None:
    text = printed(sample(4), 60, "figure 1", "what")
    assert "no room for: figure 1, what (a wider terminal, a pipe or --json shows them)" in text
    assert "figure 0" in text.splitlines()[0]
    assert "figure 3" in text.splitlines()[0]


def test_everything_fits_a_wide_terminal() -> None:
    assert "no room" not in printed(sample(9), 300)


def test_the_first_column_always_stays() -> None:
    assert "layer0" in printed(sample(9), 12)


@pytest.mark.parametrize("width", [80, 120])
def test_an_empty_table(width: int) -> None:
    assert "a" in printed(Table("a", "b", box=None), width)


def test_a_pipe_gets_every_column_and_no_line_ends_in_spaces(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """However many columns there are, and however long their texts."""
    print_table(sample(40))
    text = capsys.readouterr().out
    assert "no room" not in text
    head, *rows = text.splitlines()
    assert "figure 39" in head
    assert len(rows) == 3
    assert all("words that go on for quite some time here" in row for row in rows)
    assert all(line == line.rstrip() for line in (head, *rows))
