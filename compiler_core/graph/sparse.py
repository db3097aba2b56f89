"""Sparse constants of an ONNX model as plain arrays, read with distrust."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from compiler_core.errors import InputError
from compiler_core.graph.reader import ImportLimits
from compiler_core.graph.values import read_array


def read_sparse(
    name: str, tensor: onnx.SparseTensorProto, limits: ImportLimits
) -> npt.NDArray[np.generic]:
    """The tensor with its zeros.

    Args:
        name: Of it.
        tensor: Values, and flat positions ``int64[n]`` or places ``int64[n, rank]``.
        limits: What it may take.

    Raises:
        InputError: Its parts disagree, or it is larger than ``limits`` allow.
    """
    shape = tuple(tensor.dims)
    values = read_array(name, tensor.values, limits)
    places: npt.NDArray[Any] = read_array(f"{name} (indices)", tensor.indices, limits)
    if not shape or min(shape) < 0:
        raise InputError(f"tensor {name!r}: shape {list(shape)} of a sparse tensor")
    size = prod(shape) * values.dtype.itemsize
    if size > limits.tensor_bytes:
        raise InputError(f"tensor {name!r}: {size} bytes; at most {limits.tensor_bytes} are read")
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise InputError(f"tensor {name!r}: values {values.dtype} of shape {values.shape}")
    if places.dtype != np.int64 or places.shape not in ((len(values),), (len(values), len(shape))):
        raise InputError(
            f"tensor {name!r}: indices {places.dtype} of shape {places.shape} for "
            f"{len(values)} values in shape {list(shape)}"
        )
    columns = places.T if places.ndim == 2 else places[None]
    for column, extent in zip(columns, shape if places.ndim == 2 else (prod(shape),), strict=True):
        if column.size and not 0 <= column.min() <= column.max() < extent:
            raise InputError(
                f"tensor {name!r}: index {column.min()} to {column.max()}; "
                f"0 to {extent - 1} allowed"
            )
    whole = np.zeros(shape, values.dtype)
    if places.ndim == 2:
        whole[tuple(columns)] = values
    else:
        whole.reshape(-1)[places] = values
    return whole
