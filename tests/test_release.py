"""The version of a clone without tags is that of the newest release in the changelog."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_versions_without_tags_are_of_the_newest_release() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    newest = next(name for name in headings if name != "Unreleased").rstrip(",")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["versioningit"]
    assert settings["default-version"] == newest
    assert settings["vcs"]["default-tag"] == f"v{newest}"
