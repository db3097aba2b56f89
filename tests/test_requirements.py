"""Pins, locks and the page of licences agree, and the locks hold every file by its hash."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import metadata
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-all.lock")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def licences() -> ModuleType:
    specification = spec_from_file_location("licences", ROOT / "docs" / "licences.py")
    assert specification is not None
    assert specification.loader is not None
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def names(texts: list[str]) -> set[str]:
    found = [Requirement(text) for text in texts]
    return {re.sub(r"[-_.]+", "-", requirement.name).lower() for requirement in found}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_is_a_pin_with_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text()
    blocks = [block for block in re.split(r"\n(?! )", text.replace("\\\n", " ")) if block.strip()]
    assert len(blocks) > 30
    for block in blocks:
        if block.startswith("#"):
            continue
        pin, *hashes = [part.strip() for part in block.split("--hash=")]
        requirement = Requirement(pin)
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], block
        assert hashes, block
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), block


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_place(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert re.search(r"://|--(index|extra|find|trusted)|@|/", text) is None


def test_locks_and_constraints_hold_the_same_versions(licences: ModuleType) -> None:
    constraints = licences.pins((ROOT / "constraints.txt").read_text())
    base, whole = (licences.pins((ROOT / lock).read_text()) for lock in LOCKS)
    assert {name: version for name, (version, _) in whole.items()} == {
        name: version for name, (version, _) in constraints.items()
    }
    assert {name: whole.get(name) for name in base} == base


def test_locks_hold_what_the_project_asks_for(licences: ModuleType) -> None:
    base, whole = (licences.pins((ROOT / lock).read_text()) for lock in LOCKS)
    project = PROJECT["project"]
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    build = [*PROJECT["build-system"]["requires"], *PROJECT["dependency-groups"]["build"]]
    assert names(project["dependencies"] + build) <= set(base)
    assert names(project["dependencies"] + build + extras) <= set(whole)
    for text in [*project["dependencies"], *build, *extras]:
        requirement = Requirement(text)
        version, _ = whole[re.sub(r"[-_.]+", "-", requirement.name).lower()]
        assert requirement.specifier.contains(version, prereleases=True), text


def test_the_page_of_licences_is_current(licences: ModuleType) -> None:
    """Of what is installed here in the version of the lock, the licence is compared, too."""
    rows = re.findall(
        r"^\| ([\w-]+) \| (\S+) \| ([^|]+) \| (yes|) \| ([^|]*) \|$",
        (ROOT / "docs" / "licences.md").read_text(),
        re.MULTILINE,
    )
    base, whole = (licences.pins((ROOT / lock).read_text()) for lock in LOCKS)
    assert {name: version for name, version, *_ in rows} == {n: v for n, (v, _) in whole.items()}
    assert {name for name, _, _, always, _ in rows if always} == set(base)
    compared = 0
    for name, version, licence, *_ in rows:
        assert licence.strip() not in ("", "UNKNOWN")
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if installed == version:
            compared += 1
            assert licences.licence_of(name) == licence, name
    assert compared > 25 or sys.version_info[:2] != (3, 11)
