"""Inputs of a model that hold a value from now on: constants, which folding then goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from compiler_core.errors import InputError
from compiler_core.graph.dtypes import STRING, dtype_name, dtype_number


def with_fixed_inputs(model: onnx.ModelProto, values: Mapping[str, Any]) -> onnx.ModelProto:
    """A model that asks for fewer inputs.

    Args:
        model: Where it is from stays as it is.
        values: Value per input: one number or text for every element, or as many as the input has
            elements. Axes that the model leaves open are 1.

    Raises:
        InputError: There is no such input, or it does not take that value.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    graph = fixed.graph
    declared = {value.name: value for value in graph.input}
    names = [name for name in declared if name not in {item.name for item in graph.initializer}]
    for name, value in values.items():
        if name not in declared:
            near = get_close_matches(name, names, 1) or names
            raise InputError(
                f"{name!r} is fixed to a value, which is no input; inputs: {', '.join(names)}",
                hint=f"--fix-input {near[0]}=…" if near else None,
            )
        if len(names) == 1 and name in names:
            raise InputError(f"input {name!r} is the only one: fixed, nothing is left to compute")
        array = _value(declared[name], value)
        kept = [item for item in graph.initializer if item.name != name]
        del graph.initializer[:]
        graph.initializer.extend([*kept, onnx.numpy_helper.from_array(array, name)])
        graph.input.remove(declared[name])
        names = [other for other in names if other != name]
    return fixed


def _value(declared: onnx.ValueInfoProto, value: Any) -> npt.NDArray[Any]:
    name, kind = declared.name, declared.type.WhichOneof("value")
    if kind != "tensor_type":
        raise InputError(f"input {name!r} is no tensor: no value can be given for it")
    tensor = declared.type.tensor_type
    dtype = dtype_name(tensor.elem_type)
    if dtype is None:
        raise InputError(f"input {name!r}: element type {tensor.elem_type} is unknown")
    shape = [max(1, dim.dim_value) if dim.HasField("dim_value") else 1 for dim in tensor.shape.dim]
    given = np.asarray(value)
    if given.ndim and not tensor.HasField("shape"):
        shape = list(given.shape)
    if given.size not in (1, int(np.prod(shape))):
        raise InputError(
            f"input {name!r} has shape {shape}; {given.size} values are given",
            hint="one for every element, or as many as there are",
        )
    converted = _converted(name, given, dtype)
    whole = np.broadcast_to(converted.reshape(-1), (int(np.prod(shape)),))
    return np.ascontiguousarray(whole).reshape(shape)


def _converted(name: str, given: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """As the element type of the input, where that loses nothing but digits of floats."""
    if dtype == STRING:
        return given.astype(str).astype(object)
    first = str(given.reshape(-1)[0])
    if given.dtype.kind in "US":
        raise InputError(f"input {name!r} holds {dtype}; {first!r} is text")
    if given.dtype.hasobject:  # numbers of more than 64 bits
        raise InputError(f"input {name!r} holds {dtype}; {first} is none")
    wanted = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(dtype_number(dtype)))
    with np.errstate(all="ignore"):
        converted = given.astype(wanted)
    same = np.array_equal(converted.astype(given.dtype), given, equal_nan=given.dtype.kind == "f")
    if wanted.kind in "biu" and not same:
        raise InputError(f"input {name!r} holds {dtype}; {first} is none")
    return converted
