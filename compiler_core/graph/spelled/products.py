"""Products of matrices in the form that kernels take: vectors, transposed inputs, transforms."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from compiler_core.graph.spelled.spelling import Spelling


def gemm(s: Spelling) -> bool:
    """Gemm of a transposed first input."""
    if not s.node.attributes.get("transA"):
        return False
    result = s.work.shape(s.node.output)
    if result is None:
        return False
    turned = s.turned(s.node.inputs[0], s.shape, (1, 0))
    more = {k: v for k, v in s.node.attributes.items() if k != "transA"}
    s.add("Gemm", [turned, *s.node.inputs[1:]], result, **more)
    return s.end()


def matmul(s: Spelling) -> bool:
    """MatMul of a vector: a matrix of one row or column."""
    other, result = s.work.shape(s.node.inputs[1]), s.work.shape(s.node.output)
    if other is None or result is None or (len(s.shape) > 1 and len(other) > 1):
        return False
    a, b = s.node.inputs
    if len(s.shape) == 1:
        a = s.shaped(a, (1, *s.shape))
    if len(other) == 1:
        b = s.shaped(b, (*other, 1))
    rows = (1,) if len(s.shape) == 1 else s.shape[-2:-1]
    columns = (1,) if len(other) == 1 else other[-1:]
    batch = result[: len(result) - (len(s.shape) > 1) - (len(other) > 1)]
    s.shaped(s.add("MatMul", [a, b], (*batch, *rows, *columns)), result)
    return s.end()


def short_time_fourier(s: Spelling) -> bool:
    """STFT of real signals: frames times the window's waves."""
    step, window = s.work.constant(s.node, 1), s.work.constant(s.node, 2) if s.given(2) else None
    length = s.work.constant(s.node, 3) if s.given(3) else None
    if step is None or (s.given(2) and window is None) or (s.given(3) and length is None):
        return False
    size = len(window) if window is not None else 0 if length is None else int(length.ravel()[0])
    if not 0 < size <= s.shape[1] or prod(s.shape[2:]) != 1:
        return False
    batch, apart = s.shape[0], int(step.ravel()[0])
    starts = np.arange(0, s.shape[1] - size + 1, apart)[:, None]
    places = s.constant("places", (starts + np.arange(size)).astype(np.int64))
    signal = s.shaped(s.node.inputs[0], s.shape[:2])
    framed = s.add("Gather", [signal, places], (batch, len(starts), size), axis=1)
    waves = _waves(size, _bins(size, bool(s.node.attributes.get("onesided", 1))))
    if window is not None:
        waves = waves * window.reshape(-1, 1)
    _transformed(s, framed, (batch, len(starts)), waves)
    return s.end()


def fourier(s: Spelling) -> bool:
    """DFT of real signals along one axis, forwards."""
    known, rank = s.node.attributes, len(s.shape)
    named = np.array(known.get("axis", -2 if s.opset >= _AXIS_IS_INPUT else 1))
    if s.given(2):
        named = s.work.constants.get(s.node.inputs[2], np.array(rank - 1))
    axis = int(named.ravel()[0]) % rank
    if s.shape[-1] != 1 or known.get("inverse") or axis == rank - 1:
        return False
    length = s.work.constant(s.node, 1) if s.given(1) else np.array(s.shape[axis])
    if length is None:
        return False
    rest = [a for a in range(rank - 1) if a != axis]
    signal = s.turned(s.shaped(s.node.inputs[0], s.shape[:-1]), s.shape[:-1], (*rest, axis))
    size, used = int(length.ravel()[0]), s.shape[axis]
    leading = tuple(s.shape[a] for a in rest)
    if size < used:
        places = s.constant("places", np.arange(size))
        signal = s.add("Gather", [signal, places], (*leading, size), axis=rank - 2)
    bins = _bins(size, bool(known.get("onesided", 0)))
    found = _transformed(s, signal, leading, _waves(size, bins)[:used])
    back = np.argsort((*rest, axis, rank - 1)).tolist()
    s.turned(found, (*leading, bins, 2), tuple(back))
    return s.end()


_AXIS_IS_INPUT = 20
"""Of DFT, where the one before the numbers is the axis that is not named; before, the first."""


def _bins(size: int, onesided: bool) -> int:
    """Frequencies that are given: of real signals those above half the size say nothing new."""
    return size // 2 + 1 if onesided else size


def _waves(size: int, bins: int) -> npt.NDArray[np.float64]:
    """``[size, 2 * bins]``: cosines and negative sines of each frequency, one beside the other."""
    angles = 2 * np.pi * np.outer(np.arange(size), np.arange(bins)) / size
    return np.stack([np.cos(angles), -np.sin(angles)], axis=-1).reshape(size, 2 * bins)


def _transformed(
    s: Spelling, rows: str, leading: tuple[int, ...], waves: npt.NDArray[np.float64]
) -> str:
    """Rows times waves, real and imaginary parts along the last axis."""
    columns = waves.shape[1]
    matrix = s.constant("waves", waves.astype(np.float32))
    product = s.add("MatMul", [rows, matrix], (*leading, columns))
    return s.shaped(product, (*leading, columns // 2, 2))
