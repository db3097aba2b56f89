"""Mixed-integer linear programs, by HiGHS through SciPy."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_CHATTER = b"Highs"
"""How lines begin that HiGHS prints for its own developers, whatever its options say."""

_lock = threading.Lock()


def solve(cost: Any, **problem: Any) -> Any:
    """Minimizes a linear cost; as :func:`scipy.optimize.milp`, and silent.

    Args:
        cost: ``float[n]``, by variable.
        problem: ``integrality``, ``bounds``, ``constraints`` and ``options`` of that function.

    Returns:
        Its result: ``x`` is ``None`` where none was found.
    """
    from scipy.optimize import milp  # loaded where used: it takes long

    with _lock, _without_chatter():
        return milp(cost, **problem)


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keeps what HiGHS prints from standard output, and nothing that others print."""
    try:
        sys.stdout.flush()
        real = os.dup(1)
    except (OSError, ValueError, AttributeError):  # closed: nothing can be printed
        yield
        return
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(real, 1)
            os.close(real)
            kept.seek(0)
            for line in kept:
                if not line.startswith(_CHATTER):
                    os.write(1, line)
