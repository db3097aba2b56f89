"""Studies that others have copied: a viewer renames a study by copying it under the new name and
deleting the old one, and Optuna's ``copy_study`` makes a second one.

A copy has the mark of what it was made of. The one that our row names by number is described by
it; where that one is gone, the oldest copy is the study, by another name. Other copies are shown
with the same description until they are to run: then each gets its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nest_tune.study.store.optuna_side import StudyKey


@dataclass(frozen=True)
class Described:
    """A study of Optuna's, and our row of it.

    Attributes:
        name: Of the study.
        key: Its number and its mark.
        row: What describes it; ``None`` where there is none.
        is_copy: Whether the row is another study's.
    """

    name: str
    key: StudyKey
    row: Any
    is_copy: bool


def described(present: Mapping[StudyKey, str], rows: Mapping[str, Any]) -> Iterator[Described]:
    """Each study with its row.

    Args:
        present: Names of the studies that are marked.
        rows: By mark.
    """
    owners: dict[str, int] = {}
    for key in sorted(present, key=lambda key: key.number):
        row = rows.get(key.mark)
        if row is not None and row.number == key.number:
            owners[key.mark] = key.number
        owners.setdefault(key.mark, key.number)
    for key, name in present.items():
        yield Described(name, key, rows.get(key.mark), owners[key.mark] != key.number)
