"""Products of matrices in the form that kernels take: vectors, transposed inputs, transforms."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from compiler_core.graph.spelled.spelling import Spelling

_MOST = 1 << 24
"""Numbers of the largest constant that is made: grows with the square of a length."""


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
    batch, apart = s.shape[0], int(step.ravel()[0])
    if not 0 < size <= s.shape[1] or prod(s.shape[2:]) != 1 or apart < 1:
        return False
    bins = _bins(size, bool(s.node.attributes.get("onesided", 1)))
    starts = np.arange(0, s.shape[1] - size + 1, apart)[:, None]
    if size * max(2 * bins, len(starts)) > _MOST:
        return False
    places = s.constant("places", (starts + np.arange(size)).astype(np.int64))
    signal = s.shaped(s.node.inputs[0], s.shape[:2])
    framed = s.add("Gather", [signal, places], (batch, len(starts), size), axis=1)
    waves = _waves(size, bins)
    if window is not None:
        waves = waves * window.reshape(-1, 1)
    _transformed(s, framed, (batch, len(starts)), waves)
    return s.end()


def fourier(s: Spelling) -> bool:
    """DFT along one axis, of real or complex signals, forwards or back."""
    known, rank = s.node.attributes, len(s.shape)
    named = np.array(known.get("axis", -2 if s.opset >= _AXIS_IS_INPUT else 1))
    if s.given(2):
        named = s.work.constants.get(s.node.inputs[2], np.array(rank - 1))
    axis = int(named.ravel()[0]) % rank
    parts, inverse = s.shape[-1], bool(known.get("inverse"))
    if parts not in (1, 2) or axis == rank - 1:
        return False
    onesided = bool(known.get("onesided", 0))
    used = s.shape[axis]
    length = s.work.constant(s.node, 1) if s.given(1) else np.array(used)
    if length is None:
        return False
    size = int(length.ravel()[0])
    if inverse and onesided and not s.given(1):
        size = 2 * (used - 1)
    if size < 1 or 4 * size * _bins(size, onesided) > _MOST:
        return False
    rest = [a for a in range(rank - 1) if a != axis]
    signal = s.turned(s.node.inputs[0], s.shape, (*rest, axis, rank - 1))
    leading = tuple(s.shape[a] for a in rest)
    bins = _bins(size, onesided) if inverse else size
    if inverse and onesided and bins != used:
        return False  # runtimes differ in what they leave out
    if used > bins:
        places = s.constant("places", np.arange(bins))
        signal = s.add("Gather", [signal, places], (*leading, bins, parts), axis=rank - 2)
        used = bins
    signal = s.shaped(signal, (*leading, used * parts))
    waves = _waves_back(size, onesided) if inverse else _complex_waves(size, onesided)
    columns = waves.shape[-1] // (1 if inverse and onesided else 2)
    waves = waves[:used, :parts].reshape(used * parts, -1)
    ends = 1 if inverse and onesided else 2
    found = _transformed(s, signal, leading, waves, ends)
    back = np.argsort((*rest, axis, rank - 1)).tolist()
    s.turned(found, (*leading, columns, ends), tuple(back))
    return s.end()


def _complex_waves(size: int, onesided: bool) -> npt.NDArray[np.float64]:
    """``[size, 2, 2 * bins]``: what real and imaginary parts of each element give."""
    real = _waves(size, _bins(size, onesided)).reshape(size, -1, 2)
    imaginary = np.stack([-real[..., 1], real[..., 0]], axis=-1)
    return np.asarray(np.stack([real, imaginary], axis=1).reshape(size, 2, -1))


def _waves_back(size: int, onesided: bool) -> npt.NDArray[np.float64]:
    """``[bins, 2, columns]``: what each frequency gives to the signal, complex or, of one side,
    real; frequencies whose mirror images are not given count twice."""
    bins = _bins(size, onesided)
    angles = 2 * np.pi * np.outer(np.arange(bins), np.arange(size)) / size
    real = np.stack([np.cos(angles), -np.sin(angles)], axis=1) / size
    if onesided:
        mirrored = np.full((bins, 1, 1), 2.0)
        mirrored[0] = 1.0
        if size % 2 == 0:
            mirrored[-1] = 1.0
        return np.asarray(real * mirrored)
    imaginary = np.stack([np.sin(angles), np.cos(angles)], axis=1) / size
    return np.asarray(np.stack([real, imaginary], axis=-1).reshape(bins, 2, -1))


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
    s: Spelling,
    rows: str,
    leading: tuple[int, ...],
    waves: npt.NDArray[np.float64],
    parts: int = 2,
) -> str:
    """Rows times waves, real and, of two parts, imaginary ones along the last axis."""
    columns = waves.shape[1]
    matrix = s.constant("waves", waves.astype(np.float32))
    product = s.add("MatMul", [rows, matrix], (*leading, columns))
    return s.shaped(product, (*leading, columns // parts, parts))


def columns_to_image(s: Spelling) -> bool:
    """Col2Im: blocks are added where they lie, which a transposed convolution does whose weights
    are ones."""
    sizes = [s.work.constant(s.node, place) for place in (1, 2)]
    if sizes[0] is None or sizes[1] is None or len(s.shape) != 3 or sizes[0].size not in (1, 2):
        return False
    image, block = ([int(n) for n in array.ravel()] for array in sizes if array is not None)
    rank, known = len(image), s.node.attributes
    dilations = [int(n) for n in known.get("dilations") or [1] * rank]
    strides = [int(n) for n in known.get("strides") or [1] * rank]
    pads = [int(n) for n in known.get("pads") or [0] * 2 * rank]
    batch, rows, columns = s.shape
    taps = prod(block)
    if min(*strides, *dilations) < 1 or taps**2 > _MOST:
        return False
    reach = [(b - 1) * d + 1 for b, d in zip(block, dilations, strict=True)]
    padded = [n + pads[a] + pads[rank + a] for a, n in enumerate(image)]
    counts = [(p - r) // t + 1 for p, r, t in zip(padded, reach, strides, strict=True)]
    channels = rows // taps
    if rows % taps or prod(counts) != columns:
        return False
    blocks = s.shaped(s.node.inputs[0], (batch * channels, taps, *counts))
    ones = s.constant("ones", np.eye(taps, dtype=np.float32).reshape(taps, 1, *block))
    # What no block reaches behind the last one is padding that the transposed one does not have.
    behind = [
        p - (c - 1) * t - r for p, c, t, r in zip(padded, counts, strides, reach, strict=True)
    ]
    found = s.add(
        "ConvTranspose",
        [blocks, ones],
        (batch * channels, 1, *image),
        strides=strides,
        dilations=dilations,
        pads=pads,
        output_padding=behind,
    )
    s.shaped(found, (batch, channels, *image))
    return s.end()
