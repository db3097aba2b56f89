"""The handler of Resize: one step along each axis that changes.

Source: the definition of Resize in ONNX, operator set 19.
"""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Node
from compiler_core.units.cpu.c.convert.builder import PlacedValue, Refusal
from compiler_core.units.cpu.c.convert.shapes import no_clamp
from compiler_core.units.cpu.c.convert.sources import TensorReader
from compiler_core.units.cpu.c.network import Value
from compiler_core.units.cpu.c.operators.moves import LINEAR_BITS, Interpolate, Resample, Take

_COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
)
_MODES = ("nearest", "linear", "cubic")
_SIZES = 3
"""The input that says how large the result is."""
_MOST_SHARES = 16.0
"""Magnitudes of the shares of one element together: sums of 16-bit integers with weights of
:data:`~compiler_core.units.cpu.c.operators.moves.LINEAR_BITS` bits stay within 32 bits."""


def resize(sources: TensorReader, node: Node) -> None:
    """Resize (and Upsample) by nearest elements, linear or cubic interpolation."""
    no_clamp(node)
    builder = sources.builder
    mode = node.text("mode", "nearest")
    coordinates = node.text("coordinate_transformation_mode", "half_pixel")
    if node.op == "Upsample":
        coordinates = "asymmetric"
    if mode not in _MODES or coordinates not in _COORDINATES:
        raise Refusal(f"mode {mode!r} with coordinates {coordinates!r} is not supported")
    shape, result = builder.shape(node.inputs[0]), builder.shape(node.output)
    scales = _scales(sources, node, shape, result)
    place = sources.any(node.inputs[0], (0, 2, 3, 1) if len(shape) == 4 else None)
    value = place.value
    for axis, (old, new, scale) in enumerate(zip(shape, result, scales, strict=True)):
        if old == new and scale == 1:
            continue
        where = _source(np.arange(new), old, new, scale, coordinates)
        at = place.axes.index(axis)
        wide = max(1.0, 1 / scale) if node.attributes.get("antialias") else 1.0
        if mode == "cubic" or (mode == "linear" and wide > 1):
            value = _resampled(sources, node, value, at, _taps(node, mode, where, old, wide))
        else:
            value = _along(sources, node, value, at, where, mode, old)
    builder.places.setdefault(node.output, []).append(PlacedValue(value, place.axes))


def _scales(
    sources: TensorReader, node: Node, shape: tuple[int, ...], result: tuple[int, ...]
) -> list[float]:
    position = 1 if node.op == "Upsample" else 2
    name = node.inputs[position] if len(node.inputs) > position else ""
    rank = len(shape)
    axes = [int(a) % rank for a in node.attributes.get("axes") or range(rank)]
    if name:
        found = sources.builder.constant(name).ravel().tolist()
        if len(found) == len(axes):
            given = dict(zip(axes, map(float, found), strict=True))
            return [given.get(axis, 1.0) for axis in range(rank)]
        if found:
            raise Refusal("it has not one scale per axis")
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch" and len(node.inputs) > _SIZES:
        sizes = sources.builder.constant(node.inputs[_SIZES]).ravel().tolist()
        wanted = [size / shape[axis] for axis, size in zip(axes, sizes, strict=True)]
        one = min(wanted) if policy == "not_larger" else max(wanted)
        return [one if axis in axes else 1.0 for axis in range(rank)]
    return [new / old for old, new in zip(shape, result, strict=True)]


def _source(
    index: npt.NDArray[np.int64], old: int, new: int, scale: float, coordinates: str
) -> npt.NDArray[np.float64]:
    """Where output indices lie in the input."""
    if coordinates == "asymmetric":
        return np.asarray(index / scale)
    if coordinates == "align_corners":
        return np.asarray(index * (old - 1) / (new - 1)) if new > 1 else np.zeros(new)
    if coordinates == "pytorch_half_pixel" and new == 1:
        return np.zeros(new)
    if coordinates == "half_pixel_symmetric":
        offset = old / 2 * (1 - new / (scale * old))
        return np.asarray(offset + (index + 0.5) / scale - 0.5)
    return np.asarray((index + 0.5) / scale - 0.5)


def _along(
    sources: TensorReader,
    node: Node,
    value: Value,
    axis: int,
    where: npt.NDArray[np.float64],
    mode: str,
    old: int,
) -> Value:
    builder = sources.builder
    shape = (*value.shape[:axis], len(where), *value.shape[axis + 1 :])
    found = builder.value(node.output, shape, value.type)
    names = (value.name,), found.name
    sizes = (prod(value.shape[:axis]), old, prod(value.shape[axis + 1 :]))
    if mode == "nearest":
        chosen = np.clip(_nearest(where, node), 0, old - 1).astype(np.int32)
        builder.add(Take(node.name, *names, sizes, chosen))
        return found
    inside = np.clip(where, 0, old - 1)
    low = np.floor(inside).astype(np.int32)
    high = np.minimum(low + 1, old - 1).astype(np.int32)
    share = inside - low
    if value.type.is_float:
        weights = share.astype(np.float32)
    else:
        weights = np.rint(share * (1 << LINEAR_BITS)).astype(np.int32)
    builder.add(Interpolate(node.name, *names, sizes, low, high, weights))
    return found


def _taps(
    node: Node, mode: str, where: npt.NDArray[np.float64], old: int, wide: float
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Per output index, which input indices it is a sum of, and their shares.

    Args:
        node: Resize.
        mode: ``linear`` or ``cubic``.
        where: Output indices in the input.
        old: Size of the input.
        wide: How much wider than from one element to the next the filter is.
    """
    reach = (2.0 if mode == "cubic" else 1.0) * wide
    first = np.floor(where - reach).astype(np.int64) + 1
    index = first[:, None] + np.arange(int(np.ceil(2 * reach)))
    away = np.abs(index - where[:, None]) / wide
    if mode == "cubic":
        shares = _cubic(away, float(node.attributes.get("cubic_coeff_a", -0.75)))
    else:
        shares = np.maximum(1 - away, 0)
    inside = (index >= 0) & (index < old)
    if node.attributes.get("exclude_outside"):
        shares = np.where(inside, shares, 0)
    with np.errstate(all="ignore"):
        shares = shares / shares.sum(axis=1, keepdims=True)
    if not np.isfinite(shares).all():
        raise Refusal("its shares are no numbers")
    return np.clip(index, 0, old - 1).astype(np.int32), shares


def _cubic(away: npt.NDArray[np.float64], a: float) -> npt.NDArray[np.float64]:
    """The convolution kernel of R. Keys."""
    near = ((a + 2) * away - (a + 3)) * away**2 + 1
    far = ((a * away - 5 * a) * away + 8 * a) * away - 4 * a
    return np.where(away <= 1, near, np.where(away < 2, far, 0))


def _resampled(
    sources: TensorReader,
    node: Node,
    value: Value,
    axis: int,
    taps: tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]],
) -> Value:
    """Sums of elements along one axis."""
    indices, shares = taps
    shape = (*value.shape[:axis], len(indices), *value.shape[axis + 1 :])
    found = sources.builder.value(node.output, shape, value.type)
    sizes = (prod(value.shape[:axis]), value.shape[axis], prod(value.shape[axis + 1 :]))
    if value.type.is_float:
        weights = shares.astype(np.float32)
    else:  # what is constant stays so: the largest share takes what rounding leaves
        if np.abs(shares).sum(axis=1).max(initial=0.0) >= _MOST_SHARES:
            raise Refusal("its coefficients are too large for sums of 32 bits")
        weights = np.rint(shares * (1 << LINEAR_BITS)).astype(np.int32)
        rows, largest = np.arange(len(weights)), np.abs(weights).argmax(axis=1)
        weights[rows, largest] += (1 << LINEAR_BITS) - weights.sum(axis=1)
    names = (value.name,), found.name
    sources.builder.add(Resample(node.name, *names, sizes, indices, weights))
    return found


def _nearest(where: npt.NDArray[np.float64], node: Node) -> npt.NDArray[np.float64]:
    mode = node.text("nearest_mode", "round_prefer_floor")
    if node.op == "Upsample" or mode == "floor":
        return np.asarray(np.floor(where))
    if mode == "ceil":
        return np.asarray(np.ceil(where))
    if mode == "round_prefer_ceil":
        return np.asarray(np.floor(where + 0.5))
    return np.asarray(np.ceil(where - 0.5))
