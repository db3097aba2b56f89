"""Data as XGBoost trains on them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    import xgboost

BINS = 64
"""Of a feature, for histograms."""

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def binned(
    rows: npt.NDArray[Any], label: npt.NDArray[Any] | None = None
) -> xgboost.QuantileDMatrix:
    """Rows in bins, for training on one thread.

    Args:
        rows: ``float[n, features]``.
        label: ``float[n]``, where it is known by now.
    """
    import xgboost

    with _signals_held():
        return xgboost.QuantileDMatrix(rows, label=label, max_bin=BINS, nthread=1)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Has signals that end the program take effect afterwards.

    XGBoost asks Python for the rows from within C, where an exception such as a handler raises is
    printed and forgotten: an interrupt would be lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread runs handlers
        return
    held: list[int] = []

    def hold(number: int, _: FrameType | None) -> None:
        held.append(number)

    handlers = {number: signal.getsignal(number) for number in _ENDING}
    own = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in own:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in own.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])
