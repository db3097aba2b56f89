"""Types of all tensors of a graph, by ONNX shape inference at one and at several samples."""

from __future__ import annotations

import math
from dataclasses import replace

import onnx

from compiler_core.graph.dtypes import array_dtype_name, dtype_name
from compiler_core.graph.exporter import write_model
from compiler_core.graph.ir import Graph, TensorType

_PROBE_BATCH = 7
_VALUE_LIMIT = 1024


def infer_types(graph: Graph) -> Graph:
    """``graph`` with the type of every tensor that ONNX shape inference finds.

    Where the graph's inputs have a dynamic batch axis, inference runs for batch 1 and for another
    batch; comparing the two tells which tensors carry the batch in their leading axis, and which
    depend on it otherwise. A model that cannot have another batch (a reshape to a fixed size,
    say), or some of whose outputs do not carry it, becomes one of fixed batch 1.
    """
    given = {name: graph.types[name] for name in graph.inputs}
    for name, array in graph.constants.items():
        given[name] = TensorType(array_dtype_name(array), array.shape)
    graph = replace(graph, types=given, dynamic_batch=graph.dynamic_batch & set(graph.inputs))
    single = _infer(graph, 1) or {}
    types = {**single, **given}
    if not graph.dynamic_batch:
        return replace(graph, types=types, batch_dependent=frozenset())
    probe = _infer(graph, _PROBE_BATCH)
    if probe is None:
        return replace(graph, types=types, dynamic_batch=frozenset(), batch_dependent=frozenset())
    leading, dependent = set(graph.dynamic_batch), set[str]()
    for name, known in single.items():
        if name in given:
            continue
        other = probe.get(name)
        if other is None or known.shape is None or other.shape is None or None in known.shape:
            dependent.add(name)
        elif known.shape[:1] == (1,) and other.shape == (_PROBE_BATCH, *known.shape[1:]):
            leading.add(name)
        elif known.shape != other.shape:
            dependent.add(name)
    if not set(graph.outputs) <= leading or not _reshapes_fit(
        graph, probe | _fed(graph, _PROBE_BATCH)
    ):
        return replace(graph, types=types, dynamic_batch=frozenset(), batch_dependent=frozenset())
    return replace(
        graph, types=types, dynamic_batch=frozenset(leading), batch_dependent=frozenset(dependent)
    )


def _fed(graph: Graph, batch: int) -> dict[str, TensorType]:
    types = {name: graph.types[name] for name in (*graph.inputs, *graph.constants)}
    for name in graph.dynamic_batch:
        known = types[name]
        types[name] = replace(known, shape=(batch, *(known.shape or ())[1:]))
    return types


def _reshapes_fit(graph: Graph, types: dict[str, TensorType]) -> bool:
    """Whether every Reshape keeps its number of elements, which shape inference ignores."""
    for node in graph.nodes:
        if node.op == "Reshape" and not node.domain:
            shapes = [types[name].shape for name in (node.inputs[0], node.output) if name in types]
            counts = {
                math.prod(dim for dim in shape if dim)
                for shape in shapes
                if shape and None not in shape
            }
            if len(counts) > 1:
                return False
    return True


def _infer(graph: Graph, batch: int) -> dict[str, TensorType] | None:
    """Types by name; ``None`` where inference finds a contradiction."""
    # Only the type of a large constant matters; values are propagated from small ones.
    model = write_model(graph, batch=batch, weight_limit=_VALUE_LIMIT)
    try:
        strict = graph.dynamic_batch and batch != 1
        model = onnx.shape_inference.infer_shapes(model, strict_mode=bool(strict), data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return None
    found: dict[str, TensorType] = {}
    for value in (*model.graph.value_info, *model.graph.output):
        known = read_type(value)
        if known is not None:
            found[value.name] = known
    return found


def read_type(value: onnx.ValueInfoProto) -> TensorType | None:
    """The type of a dense tensor; ``None`` for other values and unknown element types."""
    if value.type.WhichOneof("value") != "tensor_type":
        return None
    dtype = dtype_name(value.type.tensor_type.elem_type)
    if dtype is None:
        return None
    if not value.type.tensor_type.HasField("shape"):
        return TensorType(dtype, None)
    dims = value.type.tensor_type.shape.dim
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None for dim in dims
    )
    return TensorType(dtype, shape)
