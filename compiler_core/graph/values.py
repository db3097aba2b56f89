"""Tensors and input declarations of an ONNX model, read with distrust."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from compiler_core.errors import InputError, OpenShapeError
from compiler_core.graph.containers import container_name
from compiler_core.graph.dtypes import dtype_name
from compiler_core.graph.ir import TensorType
from compiler_core.graph.reader import ImportLimits

Shapes = Mapping[str, tuple[int, ...]]


def read_inputs(
    values: Sequence[onnx.ValueInfoProto], shapes: Shapes
) -> tuple[dict[str, TensorType], frozenset[str]]:
    """Types of the graph's inputs, with the sizes that the user gives.

    Args:
        values: The declarations, constants left out.
        shapes: Shape per input name.

    Returns:
        The types in order, and the inputs whose first axis is a dynamic batch axis (1 in the type).

    Raises:
        InputError: An input is no tensor, or its axes and ``shapes`` do not agree.
    """
    names = [value.name for value in values]
    for name in shapes:
        if name not in names:
            near = get_close_matches(name, names, 1) or names
            raise InputError(
                f"--shape names {name!r}, which is no input; inputs: {', '.join(names)}",
                hint=f"--shape {near[0]}=…" if near else None,
            )
    types: dict[str, TensorType] = {}
    dynamic: set[str] = set()
    for value in values:
        if not value.name:
            raise InputError("a graph input has no name")
        if value.name in types:
            raise InputError(f"tensor {value.name!r} is defined twice, by two graph inputs")
        types[value.name] = _input_type(value, shapes.get(value.name), dynamic)
    return types, frozenset(dynamic)


def _input_type(
    value: onnx.ValueInfoProto, given: tuple[int, ...] | None, dynamic: set[str]
) -> TensorType:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        container = container_name(value.type)
        if container is None:
            raise InputError(
                f"input {value.name!r}: type {kind or 'unknown'}; tensors, sequences and optionals "
                "of them are supported"
            )
        return TensorType(container, None)
    number = value.type.tensor_type.elem_type
    dtype = dtype_name(number)
    if dtype is None:
        raise InputError(f"input {value.name!r}: element type {number} is unknown or unsupported")
    hint = _shape_hint(value, given)
    if not value.type.tensor_type.HasField("shape"):
        if given is None:
            raise OpenShapeError(f"input {value.name!r} has no shape", hint=hint)
        return TensorType(dtype, _sizes(value.name, given))
    dims = value.type.tensor_type.shape.dim
    if given is not None and len(given) != len(dims):
        raise InputError(
            f"input {value.name!r} has {len(dims)} axes, --shape gives {len(given)}", hint=hint
        )
    shape: list[int] = []
    for axis, dim in enumerate(dims):
        where = f"input {value.name!r}, axis {axis}"
        # A size of 0 that is written down is one: onnxruntime takes nothing else there.
        fixed = dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None
        wanted = None if given is None else given[axis]
        size = wanted if wanted is not None else fixed
        if size is None and axis:
            label = f" ({dim.dim_param})" if dim.dim_param else ""
            raise OpenShapeError(f"{where}{label} is dynamic: give its size", hint=hint)
        if fixed is None and axis == 0 and size in (None, 1):
            dynamic.add(value.name)
        shape.append(1 if size is None else size)
    return TensorType(dtype, _sizes(value.name, tuple(shape)))


def _shape_hint(value: onnx.ValueInfoProto, given: tuple[int, ...] | None) -> str:
    """What ``--shape`` may say of an input: its own sizes, and 1 (or what was given) elsewhere."""
    if not value.type.tensor_type.HasField("shape"):
        return f"--shape {value.name}=SIZE,SIZE,… (one number per axis)"
    dims = value.type.tensor_type.shape.dim
    fixed = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims]
    known = given if given is not None and len(given) == len(dims) else (1,) * len(dims)
    sizes = [own if own >= 0 else size for own, size in zip(fixed, known, strict=True)]
    free = ", ".join(str(axis) for axis, size in enumerate(fixed) if size < 0)
    text = ",".join(map(str, sizes))
    return f"--shape {value.name}={text} (one number per axis{free and f'; open: {free}'})"


def _sizes(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    for axis, size in enumerate(shape):
        if not 0 <= size < 2**31:
            raise InputError(f"input {name!r}, axis {axis}: size {size}; 0 to {2**31 - 1} allowed")
    return shape


def as_floats(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values as a type that NumPy can test for NaN; nothing for types that have none."""
    if array.dtype.kind == "f":
        return array
    if "float" in array.dtype.name:
        return array.astype(np.float32)
    return np.empty(0, np.float32)


def read_array(
    name: str, tensor: onnx.TensorProto, limits: ImportLimits
) -> npt.NDArray[np.generic]:
    """The content of a tensor whose shape, type and number of bytes may all disagree.

    Raises:
        InputError: They do, or the tensor is larger than ``limits`` allow.
    """
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise InputError(f"tensor {name!r}: its external data is not loaded")
    dtype = dtype_name(tensor.data_type)
    if dtype is None:
        raise InputError(
            f"tensor {name!r}: element type {tensor.data_type} is unknown or unsupported"
        )
    shape = list(tensor.dims)
    if any(dim < 0 for dim in shape):
        raise InputError(f"tensor {name!r}: shape {shape} has a negative size")
    width = 1
    if dtype != "string":
        width = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    size = math.prod(shape) * width
    if size > limits.tensor_bytes:
        raise InputError(f"tensor {name!r}: {size} bytes; at most {limits.tensor_bytes} are read")
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InputError(
            f"tensor {name!r}: its data does not fit its shape {shape}: {error}"
        ) from error
    if array.shape != tuple(shape):
        raise InputError(f"tensor {name!r}: {array.size} elements do not fill its shape {shape}")
    return array
