"""Signs of life of a running study, also while its process is busy with one long step."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from compiler_core.errors import NestTuneError
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import StoredStudy

_EVERY_S = 5.0


@contextmanager
def signs_of_life(storage: StudyStorage, study: StoredStudy) -> Iterator[None]:
    """Shows meanwhile that this process lives. What is wrong then, its next write says."""
    ended = threading.Event()

    def loop() -> None:
        while not ended.wait(_EVERY_S):
            with suppress(NestTuneError):
                storage.beat(study)

    thread = threading.Thread(target=loop, name="signs of life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
