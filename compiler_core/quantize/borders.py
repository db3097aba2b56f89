"""What the CPU does between float code and integer operators: layouts and conversions.

Arrays may hold several runs of the program behind one another: where a tensor or a view says ``N``
for its first axis, an array has any multiple of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.quantize.ir import QuantizedTensor, TensorView

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int8]


def to_nchw(array: npt.NDArray[Any], view: TensorView, tensor: QuantizedTensor) -> npt.NDArray[Any]:
    """A graph tensor, laid out as ``[N, C, H, W]``."""
    split = array.reshape(-1, *view.split[1:]).transpose(view.permutation)
    if view.padded:
        sizes = zip(view.padded[1:], view.permuted[1:], strict=True)
        split = np.pad(split, [(0, 0), *((0, padded - size) for padded, size in sizes)])
    return split.reshape(-1, *tensor.shape[1:])


def from_nchw(
    array: npt.NDArray[Any], view: TensorView, shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    """The inverse of :func:`to_nchw`; ``shape`` is the graph tensor's."""
    split = array.reshape(-1, *(view.padded or view.permuted)[1:])
    if view.padded:
        split = split[(slice(None), *(slice(size) for size in view.permuted[1:]))]
    inverse = [int(axis) for axis in np.argsort(view.permutation)]
    return split.transpose(inverse).reshape(-1, *(size or 1 for size in shape[1:]))


def integer_levels(array: npt.NDArray[Any], tensor: QuantizedTensor) -> Floats:
    """:func:`quantize_array`, the integers left in float32."""
    with np.errstate(over="ignore"):
        scaled = array.astype(np.float32, copy=False) * np.float32(2.0**tensor.exponent)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -128, 127, out=scaled)
    if np.isnan(scaled).any():
        raise InputError(f"tensor {tensor.name!r} holds NaN where it becomes int8")
    return scaled


def quantize_array(array: npt.NDArray[Any], tensor: QuantizedTensor) -> Integers:
    """``clip(round_half_even(real * 2**exponent), -128, 127)``; infinities saturate.

    Raises:
        InputError: ``array`` holds NaN, for which there is no integer.
    """
    return integer_levels(array, tensor).astype(np.int8)


def dequantize_array(array: npt.NDArray[Any], tensor: QuantizedTensor) -> Floats:
    """``integer * 2**-exponent`` in float32."""
    # Integers may be held in float32, where adding 0 makes 0 of -0.
    return (array.astype(np.float32) + np.float32(0)) * np.float32(2.0**-tensor.exponent)
