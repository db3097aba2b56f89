"""Results of large arrays are computed once while the arrays are there."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.quantize import kept_results
from compiler_core.quantize.blocks import rounded
from compiler_core.quantize.kept_results import kept


@pytest.fixture
def counted():
    calls = []

    @kept
    def doubled(array, factor, more=0.0):
        calls.append(factor)
        return array * factor + np.sum(more)

    return doubled, calls


def test_views_of_one_array_are_the_same_and_other_arguments_are_not(counted):
    doubled, calls = counted
    array = np.arange(1 << 14, dtype=np.float32).reshape(128, 128)
    first = doubled(array.T, 2)
    assert doubled(array.T, 2) is first
    assert calls == [2]
    np.testing.assert_array_equal(doubled(array, 2), array * 2)  # other strides
    doubled(array.T, 3)
    doubled(array.T, 2, more=np.ones(3))
    doubled(array.T, 2, more=np.zeros(3))
    doubled(array.T, 2.0)
    assert calls == [2, 2, 3, 2, 2, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1


def test_memory_that_is_used_again_is_another_array(counted):
    doubled, calls = counted
    for number in range(20):
        array = np.full(1 << 13, number, np.float32)
        assert doubled(array, 2)[0] == 2 * number
        del array
    assert len(calls) == 20


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(kept_results, "_KNOWN", kept_results.Recent(1 << 16))
    arrays = [np.ones((64, 256), np.float32) for _ in range(12)]
    for array in arrays:
        rounded(array, 3, 127)
    assert kept_results._KNOWN._weight <= 1 << 16
