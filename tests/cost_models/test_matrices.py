"""Data in bins, and interrupts that come while XGBoost asks for them."""

from __future__ import annotations

import ctypes
import signal
from typing import Any

import numpy as np
import pytest
import xgboost

from cost_models.matrices import binned


def test_rows_are_kept() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3))
    matrix = binned(rows, rows[:, 0])
    assert (matrix.num_row(), matrix.num_col()) == rows.shape
    assert matrix.get_label() == pytest.approx(rows[:, 0].astype(np.float32))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_in_a_callback_is_not_lost(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As XGBoost does: C calls Python, which forgets what is raised there."""
    called = []

    @ctypes.CFUNCTYPE(None)
    def from_c() -> None:
        signal.raise_signal(number)
        called.append(number)

    class EndedError(Exception):
        pass

    def end(*_: Any) -> None:
        raise EndedError

    monkeypatch.setattr(xgboost, "QuantileDMatrix", lambda *_, **__: from_c())
    before = signal.signal(number, end)
    try:
        with pytest.raises(EndedError):
            binned(np.zeros((2, 2)))
        assert called == [number]
        assert signal.getsignal(number) is end
    finally:
        signal.signal(number, before)
