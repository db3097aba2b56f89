"""Golden numbers hold: cycles, bytes, task ids, trials of seeded studies, lock files.

``make golden`` shows what changed as a table, ``make golden GOLDEN_FLAGS="--all --update"`` keeps
it; the difference of the files is then reviewed like any other line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import nest_tune
from tests.golden.cases import FILES, QUICK, TRAINED, Case, Compiled
from tests.golden.measure import measure
from tests.golden.numbers_file import FOLDER, Change, changes, read, table, versions

LOCKS = sorted((FOLDER.parent / "locks").glob("*.toml"))
ALL = [
    pytest.param(name, case, id=case.name, marks=() if case in QUICK else pytest.mark.slow)
    for name, cases in FILES.items()
    for case in cases
]


@pytest.mark.parametrize(("name", "case"), ALL)
def test_numbers_are_the_kept_ones(
    name: str, case: Case, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    trained = None
    if isinstance(case, Compiled) and case.model in TRAINED:
        prepare: Callable[[str], Path] = request.getfixturevalue("prepared_model")
        trained = prepare(case.model).parent
    kept = read(name)
    found = list(changes(case.name, kept[case.name], measure(case, tmp_path, trained)))
    assert not found, f"{table(found)}\nkept with {kept['versions']}, measured with {versions()}"


@pytest.mark.parametrize("name", FILES)
def test_every_case_is_kept_and_no_other(name: str) -> None:
    assert read(name).keys() == {"versions", *(case.name for case in FILES[name])}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_kept_lock_files_still_hold(lock: Path) -> None:
    found = nest_tune.check(lock)
    assert found.ok, found.differences


def test_there_are_lock_files() -> None:
    assert {"digits-vta", "digits-vta-x4", "digits-vta-pynq"} <= {lock.stem for lock in LOCKS}


def test_changes_are_told_by_number() -> None:
    kept = {"cycles": 100, "file": "ab", "gone": 1}
    measured = {"cycles": 110, "file": "ab", "new": "c"}
    found = list(changes("digits on vta", kept, measured))
    assert found == [
        Change("digits on vta", "cycles", 100, 110),
        Change("digits on vta", "new", None, "c"),
        Change("digits on vta", "gone", 1, None),
    ]
    assert table(found).splitlines() == [
        "digits on vta",
        "  cycles: 100 -> 110  (+10.00%)",
        "  new: - -> c",
        "  gone: 1 -> -",
    ]
