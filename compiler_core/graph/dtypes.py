"""Element types: ONNX numbers and the NumPy names that :class:`TensorType` uses."""

from __future__ import annotations

from functools import cache

import numpy as np

STRING = "string"


@cache
def _names() -> dict[int, str]:
    import onnx  # views of a study know names, and load no models

    names = {int(onnx.TensorProto.STRING): STRING}
    for number in onnx.helper.get_all_tensor_dtypes():
        if number in names:
            continue
        names[int(number)] = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number)).name
    return names


@cache
def _numbers() -> dict[str, int]:
    return {name: number for number, name in sorted(_names().items(), reverse=True)}


def dtype_name(number: int) -> str | None:
    """NumPy name of an ONNX element type, ``"string"`` for text, ``None`` for an unknown number."""
    return _names().get(number)


def dtype_number(name: str) -> int:
    """ONNX element type of a NumPy name.

    Raises:
        KeyError: ONNX has no such type.
    """
    return _numbers()[name]


def array_dtype_name(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
    """The :class:`TensorType` name of an array's element type."""
    return STRING if array.dtype.kind in "OSU" else array.dtype.name
