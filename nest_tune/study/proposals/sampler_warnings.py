"""What samplers warn of: they are made anew for every trial, and each of their warnings is told
once."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import optuna

_LOG = logging.getLogger(__name__)
_PASSED_OVER = (
    optuna.exceptions.ExperimentalWarning,
    DeprecationWarning,
    PendingDeprecationWarning,
)


@contextmanager
def warnings_once(sampler: str) -> Iterator[None]:
    """Tells what is warned of within, where that has not been told of this sampler before."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for one in found:
                if not issubclass(one.category, _PASSED_OVER):
                    tell_once(sampler, str(one.message))


@lru_cache(maxsize=1024)
def tell_once(sampler: str, text: str) -> None:
    """Warns of what a sampler says or does, once."""
    _LOG.warning("sampler %r: %s", sampler, text)
