"""What the small study found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from nest_tune.study.store.result import StudyResult, load_result
from nest_tune.study.store.storage import StudyStorage


@pytest.fixture(scope="module")
def result(small_study: Any) -> Iterator[StudyResult]:
    """The small study, with its storage open."""
    with closing(StudyStorage(small_study.storage, create=False)) as storage:
        yield load_result(storage, storage.find(small_study.name))
