"""Lines of Optuna's journal file: their operations, how they are added, and how they are moved."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any


class Operation(IntEnum):
    """Of a line."""

    CREATE_STUDY = 0
    DELETE_STUDY = 1
    SET_STUDY_USER_ATTR = 2
    SET_STUDY_SYSTEM_ATTR = 3
    CREATE_TRIAL = 4
    SET_TRIAL_PARAM = 5
    SET_TRIAL_STATE_VALUES = 6
    SET_TRIAL_INTERMEDIATE_VALUE = 7
    SET_TRIAL_USER_ATTR = 8
    SET_TRIAL_SYSTEM_ATTR = 9


_OF_STUDIES = (Operation.SET_STUDY_USER_ATTR, Operation.SET_STUDY_SYSTEM_ATTR)


def moved_lines(
    path: Path, studies: Mapping[int, int], trials: Mapping[int, int]
) -> Iterator[dict[str, Any]]:
    """The lines that say what studies and trials hold, of the same under other numbers; the
    creation of a study is not among them.

    Args:
        path: Of the journal.
        studies: New numbers by old ones.
        trials: New numbers by old ones.
    """
    with path.open("rb") as file:
        for text in file:
            try:
                line = json.loads(text)
                operation, study, trial = (
                    line.get(key) for key in ("op_code", "study_id", "trial_id")
                )
            except (ValueError, AttributeError, RecursionError):  # damaged: Optuna stops there
                continue
            if type(trial) not in (int, type(None)) or type(study) not in (int, type(None)):
                continue
            if trial in trials:
                yield {**line, "trial_id": trials[trial]}
            elif study in studies and operation in (*_OF_STUDIES, Operation.CREATE_TRIAL):
                yield {**line, "study_id": studies[study]}


def add_whole(path: Path, text: bytes) -> None:
    """Adds to the end of a file in one write; all or nothing."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        start = os.fstat(file).st_size
        done = os.write(file, text)
        try:
            while done < len(text):  # no more room: the next write says why
                done += os.write(file, text[done:])
        except OSError:
            os.ftruncate(file, start)
            raise
    finally:
        os.close(file)


def has_unfinished(path: Path) -> bool:
    """Whether a file ends within a line."""
    try:
        with path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return False
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"
    except FileNotFoundError:
        return False
