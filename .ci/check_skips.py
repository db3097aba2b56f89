"""Prints the skipped tests of a JUnit report and fails on one that is not allowed.

Usage: check_skips.py REPORT.xml ALLOWED.txt. A line of ALLOWED.txt is ``pattern: reason``, where
the pattern (shell style) matches ``module::test`` and the reason is a part of the skip's message.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from fnmatch import fnmatchcase
from pathlib import Path


def read_allowed(path: Path) -> list[tuple[str, str]]:
    """Pattern and reason of each line; comments and empty lines are left out."""
    allowed = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.split("#", 1)[0].strip()
        if text:
            pattern, separator, reason = text.partition(": ")
            if not separator or not reason.strip():
                sys.exit(f"{path}:{number}: expected 'pattern: reason', got {text!r}")
            allowed.append((pattern.strip(), reason.strip()))
    return allowed


def main(report: str, allowed_file: str) -> int:
    allowed = read_allowed(Path(allowed_file))
    try:
        cases = list(ET.parse(report).getroot().iter("testcase"))
    except ET.ParseError:
        cases = []
    if not cases:
        print("skips: the report holds no test: nothing ran", file=sys.stderr)
        return 1
    refused = skipped = 0
    for case in cases:
        for skip in case.findall("skipped"):
            name = f"{case.get('classname')}::{case.get('name')}"
            message = skip.get("message", "")
            skipped += 1
            fits = any(fnmatchcase(name, pattern) and why in message for pattern, why in allowed)
            refused += not fits
            print(f"skips: {'allowed' if fits else 'NOT ALLOWED'}: {name}: {message}")
    print(f"skips: {skipped} of {len(cases)} tests skipped, {refused} of them not allowed")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
