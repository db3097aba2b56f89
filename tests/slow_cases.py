"""Tests, and cases of tests, that ``make test-all`` runs and ``make test`` does not: read from
``slow_cases.txt`` and marked as slow.

One line is a test, as pytest names it, of all its cases or of one; ``*`` stands for anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

LIST = Path(__file__).with_suffix(".txt")

LONGEST_FILES = (
    "tests/e2e/test_study.py",
    "tests/nest_tune/study/running/test_engine.py",
    "tests/nest_tune/cli/test_cli.py",
    "tests/compiler_core/units/cpu/c/test_operators.py",
    "tests/compiler_core/units/cpu/c/test_schedules.py",
    "tests/e2e/test_toy_unit.py",
    "tests/compiler_core/units/cpu/c/test_cores.py",
    "tests/nest_tune/study/store/test_replacing.py",
    "tests/nest_tune/records/test_sharing.py",
    "tests/nest_tune/runners/test_ray.py",
    "tests/fuzz/test_sample.py",
    "tests/nest_tune/test_examples.py",
    "tests/nest_tune/api/test_study_api.py",
)
"""Files of which a worker has for minutes, the longest first."""


class Case(Protocol):
    """What is asked of a collected test."""

    @property
    def nodeid(self) -> str:
        """Its name with file and parameters."""
        ...


C = TypeVar("C", bound=Case)


def slow_lines(text: str) -> list[str]:
    """Lines of the list that name tests."""
    return [line for line in map(str.strip, text.splitlines()) if line and line[0] != "#"]


def pattern(line: str) -> re.Pattern[str]:
    """What names of tests have to be: those of all cases where the line names none."""
    name = ".*".join(map(re.escape, line.split("*")))
    return re.compile(name if line.endswith("]") else rf"{name}(\[.*\])?", re.DOTALL)


def find_slow(lines: Sequence[str], items: Sequence[C]) -> tuple[list[C], list[str]]:
    """Cases that a list names, and lines that name none although their file was collected."""
    by_file: dict[str, list[C]] = {}
    for item in items:
        by_file.setdefault(item.nodeid.partition("::")[0], []).append(item)
    found, stale = [], []
    for line in lines:
        own = by_file.get(line.partition("::")[0])
        if own is None:
            continue
        named = [item for item in own if pattern(line).fullmatch(item.nodeid)]
        found += named
        if not named:
            stale.append(line)
    return found, stale
