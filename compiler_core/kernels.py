"""Hot loops as machine code, kept between processes where there is a place to keep it.

Numba keeps what it compiled beside the source, else in the user's cache folder, or in
``NUMBA_CACHE_DIR``. Where none of them can be written, as for a user without a home in a container,
it refuses the function; here it is compiled anew in every process then, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def njit(*, cache: bool, **options: Any) -> Callable[[F], F]:
    """As :func:`numba.njit`.

    Args:
        cache: Whether to keep the machine code, where that can be.
        options: Of :func:`numba.njit`.
    """

    def compiled(function: F) -> F:
        try:
            return cast("F", numba.njit(cache=cache, **options)(function))
        except RuntimeError:  # no place for it
            return cast("F", numba.njit(**options)(function))

    return compiled
