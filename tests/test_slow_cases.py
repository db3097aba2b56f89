"""The list of tests and cases that only ``make test-all`` runs."""

from __future__ import annotations

from dataclasses import dataclass

from tests.slow_cases import LIST, LONGEST_FILES, find_slow, slow_lines


@dataclass(frozen=True)
class Named:
    nodeid: str


def test_lines_name_cases_or_whole_tests() -> None:
    items = [Named(f"tests/a.py::{name}") for name in ("one", "one_more", "two[1-x]", "two[2-x]")]
    items.append(Named("tests/b.py::one"))
    lines = ["tests/a.py::one", "tests/a.py::two[2*]", "tests/a.py::gone", "tests/c.py::one"]
    found, stale = find_slow(lines, items)
    assert [item.nodeid for item in found] == ["tests/a.py::one", "tests/a.py::two[2-x]"]
    assert stale == ["tests/a.py::gone"]
    all_of_it, _ = find_slow(["tests/a.py::two"], items)
    assert len(all_of_it) == 2


def test_lines_of_the_list_differ_and_their_files_exist() -> None:
    lines = slow_lines(LIST.read_text())
    assert len(set(lines)) == len(lines) > 0
    root = LIST.parent.parent
    assert all((root / line.partition("::")[0]).is_file() for line in lines)


def test_files_that_come_first_are_there() -> None:
    root = LIST.parent.parent
    assert [file for file in LONGEST_FILES if not (root / file).is_file()] == []
