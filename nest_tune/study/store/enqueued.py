"""Points that somebody asks a study to try: they come before all others.

They are kept one by one beside the results of workers, so that a running study finds them and a
resume finds them again; nothing that is there is ever changed.
"""

from __future__ import annotations

from compiler_core.tensor.digest import digest
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import StoredStudy
from nest_tune.study.trial import Point

_AHEAD = 16
"""Places of a queue that are looked at together."""


def enqueue(storage: StudyStorage, study: StoredStudy, point: Point) -> int:
    """Has a study try a point next; its place among all that were asked for, from 0."""
    while True:
        place = len(enqueued(storage, study))
        storage.add_result(_key(study, place), list(point))
        if storage.results([_key(study, place)]).get(_key(study, place)) == list(point):
            return place  # else somebody else was faster


def enqueued(
    storage: StudyStorage, study: StoredStudy, known: tuple[Point, ...] = ()
) -> tuple[Point, ...]:
    """All points that were asked for, in their order.

    Args:
        storage: Where the study is.
        study: Which.
        known: The first of them, as found before.
    """
    found = list(known)
    while True:
        keys = [_key(study, place) for place in range(len(found), len(found) + _AHEAD)]
        stored = storage.results(keys)
        for key in keys:
            if key not in stored:
                return tuple(found)
            found.append(tuple(int(index) for index in stored[key]))


def _key(study: StoredStudy, place: int) -> str:
    return digest(("enqueued", study.mark, study.created_s, place), 32)
