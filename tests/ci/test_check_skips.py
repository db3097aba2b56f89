"""The gate that keeps tests from being skipped in silence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPORT = """<testsuites><testsuite>
<testcase classname="tests.a" name="test_ran"/>
{skipped}
</testsuite></testsuites>"""
SKIPPED = '<testcase classname="tests.a" name="test_b"><skipped message="{message}"/></testcase>'


@pytest.mark.parametrize(
    ("report", "allowed", "code", "words"),
    [
        (REPORT.format(skipped=""), "", 0, "0 of 1 tests skipped"),
        (
            REPORT.format(skipped=SKIPPED.format(message="shared data: none")),
            "tests.a::*: shared data",
            0,
            "allowed: tests.a::test_b: shared data: none",
        ),
        (
            REPORT.format(skipped=SKIPPED.format(message="no GPU")),
            "# a comment\n*: shared data",
            1,
            "NOT ALLOWED: tests.a::test_b: no GPU",
        ),
        (
            REPORT.format(skipped=SKIPPED.format(message="shared data: none")),
            "tests.other::*: shared data",
            1,
            "NOT ALLOWED",
        ),
        ("<testsuites/>", "", 1, "nothing ran"),
        ("", "", 1, "nothing ran"),
        (REPORT.format(skipped=""), "pattern without reason", 1, "expected 'pattern: reason'"),
    ],
    ids=["none", "allowed", "other-reason", "other-test", "empty", "no-report", "bad-list"],
)
def test_gate(
    repository: Path, tmp_path: Path, report: str, allowed: str, code: int, words: str
) -> None:
    (tmp_path / "report.xml").write_text(report)
    (tmp_path / "skips.txt").write_text(allowed)
    script = repository / ".ci" / "check_skips.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path / "report.xml", tmp_path / "skips.txt"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert words in done.stdout + done.stderr


def test_allowed_list_of_the_project_is_well_formed(repository: Path) -> None:
    for line in (repository / "tests" / "skips.txt").read_text().splitlines():
        text = line.split("#", 1)[0].strip()
        assert not text or ": " in text
