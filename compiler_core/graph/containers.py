"""Values that are no tensors: sequences and optionals, named like element types.

A sequence or an optional has the element type ``"sequence(float32)"``, ``"optional(int64)"``,
``"optional(sequence(float32))"`` …, and no shape of its own. As samples such values are object
arrays with one element per run: a list of arrays, an array, or ``None`` for an optional that is
absent. The same form holds results whose shape differs from run to run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compiler_core.graph.dtypes import dtype_name, dtype_number

if TYPE_CHECKING:
    import onnx

SEQUENCE, OPTIONAL = "sequence", "optional"
_DEPTH_MAX = 4

Objects = npt.NDArray[np.object_]


def is_container(dtype: str) -> bool:
    """Whether values of that type are no tensors."""
    return dtype.startswith((f"{SEQUENCE}(", f"{OPTIONAL}("))


def is_optional(dtype: str) -> bool:
    """Whether a value of that type may be absent."""
    return dtype.startswith(f"{OPTIONAL}(")


def element_type(dtype: str) -> str:
    """The type inside: ``"float32"`` of ``"optional(sequence(float32))"``."""
    return dtype.rpartition("(")[2].rstrip(")")


def holds_sequence(dtype: str) -> bool:
    """Whether a value of that type is a list of tensors, or an absent one."""
    return f"{SEQUENCE}(" in dtype


def container_name(proto: onnx.TypeProto, depth: int = 0) -> str | None:
    """The name of a type as :class:`~compiler_core.graph.ir.TensorType` holds it.

    Returns:
        ``None`` for maps, sparse tensors, unknown element types and what nests deeper than any
        exporter writes.
    """
    kind = proto.WhichOneof("value")
    if kind == "tensor_type":
        return dtype_name(proto.tensor_type.elem_type)
    if kind not in ("sequence_type", "optional_type") or depth >= _DEPTH_MAX:
        return None
    inner = container_name(getattr(proto, kind).elem_type, depth + 1)
    return None if inner is None else f"{kind.removesuffix('_type')}({inner})"


def container_proto(dtype: str) -> onnx.TypeProto:
    """The inverse of :func:`container_name`.

    Raises:
        KeyError: ONNX has no such type.
    """
    import onnx  # views of a study know names, and load no models

    outer, _, inner = dtype.partition("(")
    if not inner:
        return onnx.helper.make_tensor_type_proto(dtype_number(dtype), None)
    content = container_proto(inner.removesuffix(")"))
    if outer == SEQUENCE:
        return onnx.helper.make_sequence_type_proto(content)
    if outer == OPTIONAL:
        return onnx.helper.make_optional_type_proto(content)
    raise KeyError(dtype)


def objects(values: Iterable[Any]) -> Objects:
    """One element per run; arrays in it stay arrays."""
    found = list(values)
    result = np.empty(len(found), object)
    for index, value in enumerate(found):
        result[index] = value
    return result


def is_objects(value: npt.NDArray[Any]) -> bool:
    """Whether an array holds whole values of runs, and not text."""
    return (
        value.dtype == object
        and value.ndim == 1
        and any(item is None or isinstance(item, list | np.ndarray) for item in value)
    )
