"""Tables on a terminal: what does not fit loses whole columns, named below, never a digit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nest_tune.cli.output import console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table

_FOLDED = 24
"""Cells of a column of longer texts may be folded to so many characters, but no fewer."""
_NAME = 48
"""The same of the first column, which holds what people copy."""
_PADDING = 2
"""Characters beside each cell that stay free."""


def print_table(table: Table, *, drop: Sequence[str] = (), out: Console | None = None) -> None:
    """Prints a table as wide as the terminal, at most; whole into files and pipes.

    Numbers are never cut and never folded. Where columns do not fit side by side, whole ones are
    left out and named below the table. No line ends in spaces where no terminal is written to.

    Args:
        table: Without a frame; its first column always stays.
        drop: Titles of the columns that go first, in this order; then the others go from the right.
        out: Where to; standard output by default.
    """
    out = out or console()
    left_out = fit(table, out.width, drop)
    if out.is_terminal:
        out.print(table)
    else:
        with out.capture() as captured:
            out.print(table)
        for line in captured.get().splitlines():
            out.print(line.rstrip(), soft_wrap=True)
    if left_out:
        names = ", ".join(left_out)
        out.print(
            f"no room for: {names} (a wider terminal, a pipe or --json shows them)", soft_wrap=True
        )


def fit(table: Table, width: int, drop: Sequence[str] = ()) -> list[str]:
    """Takes columns out of a table until it is no wider than ``width``; titles of those.

    Args:
        table: Changed in place.
        width: In characters.
        drop: Titles of the columns that go first.
    """
    for number, column in enumerate(table.columns):
        most = _FOLDED if number else _NAME
        column.no_wrap = _longest(column) <= most
        column.overflow = "fold"
        column.min_width = min(_longest(column), most)
    gone: list[str] = []
    while len(table.columns) > 1 and _needed(table) > width:
        column = _next(table, drop)
        table.columns.remove(column)
        gone.append(_title(column))
    for index, column in enumerate(table.columns):
        column._index = index
    return [title for title in gone if title]


def _next(table: Table, drop: Sequence[str]) -> Column:
    """The column that goes next."""
    others = table.columns[1:]
    for title in drop:
        for column in others:
            if _title(column) == title:
                return column
    return others[-1]


def _needed(table: Table) -> int:
    """Characters below which something would be cut."""
    widths = [column.min_width or 0 for column in table.columns]
    return sum(widths) + _PADDING * len(widths)


def _longest(column: Column) -> int:
    return max(_length(text) for text in (column.header, *column.cells))


def _length(text: object) -> int:
    from rich.cells import cell_len

    return max(map(cell_len, str(text).split("\n")), default=0)


def _title(column: Column) -> str:
    return str(column.header)
