"""Noise and cosines of large outputs are those of small ones: they are compared in blocks."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from compiler_core.accuracy import noise as module
from compiler_core.accuracy.noise import cosines, noise
from compiler_core.errors import InputError


@pytest.mark.parametrize("block", [1, 7, 20, 1000])
def test_blocks_change_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    theirs = random.normal(size=(9, 3, 5)).astype(np.float32)
    ours = (theirs + random.normal(size=theirs.shape) / 10).astype(np.float32)
    ours[2], theirs[3], ours[4, 1, 1] = 0, 0, np.nan
    mine, signal = (a.reshape(9, -1).astype(np.float64) for a in (ours, theirs))
    lost = ((mine - signal) ** 2).sum(axis=1)
    monkeypatch.setattr(module, "_BLOCK", block)
    found = noise(ours, theirs, 9, "y")
    # Sums over a part of a sample at a time round otherwise.
    close = np.testing.assert_array_equal if block >= 15 else np.testing.assert_allclose
    close(found.noise, np.where(np.isnan(lost), np.inf, lost))
    close(found.signal, (signal**2).sum(axis=1))
    angles = cosines(ours, theirs, 9, "y")
    for sample in range(9):
        lengths = np.linalg.norm(mine[sample]) * np.linalg.norm(signal[sample])
        wanted = mine[sample] @ signal[sample] / lengths if lengths > 0 else 0.0
        assert angles[sample] == pytest.approx(0.0 if sample == 4 else wanted)
    theirs[8, 0, 0] = np.inf
    with pytest.raises(InputError, match="is not finite"):
        noise(ours, theirs, 9, "y")


def test_one_large_sample_is_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made of it stays small beside it."""
    ours, theirs = np.ones((1, 1 << 20), np.float32), np.full((1, 1 << 20), 2, np.float32)
    monkeypatch.setattr(module, "_BLOCK", 1 << 12)
    tracemalloc.start()
    try:
        found, angles = noise(ours, theirs, 1, "y"), cosines(ours, theirs, 1, "y")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.noise == [1 << 20]
    assert angles == pytest.approx(1.0)
    assert peak < ours.nbytes / 4
