"""Types of all tensors of a graph, by ONNX shape inference at one and at several samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import onnx

from compiler_core.graph.containers import container_name
from compiler_core.graph.dtypes import array_dtype_name, dtype_name
from compiler_core.graph.exporter import write_model
from compiler_core.graph.ir import Graph, TensorType
from compiler_core.graph.learner_types import with_learner_types
from compiler_core.graph.rounded_up import round_sizes_down

_PROBE_BATCH = 7
_VALUE_LIMIT = 1024
_PROPAGATED_LIMIT = 1 << 22
_BODY_FACTOR = 16
_FOLLOWED = frozenset(
    [
        "Add",
        "Cast",
        "Concat",
        "Gather",
        "Mul",
        "Shape",
        "Size",
        "Slice",
        "Squeeze",
        "Sub",
        "Unsqueeze",
    ]
)
"""Operators through which the ``onnx`` package follows values."""


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
    graph = replace(graph, sample_axes=graph.sample_axes or _sample_axes(graph, types))
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


def types_of_results(graph: Graph) -> Mapping[str, TensorType]:
    """What inference finds for what a small graph without a dynamic batch computes, by name."""
    return _infer(graph, 1) or {}


def _sample_axes(graph: Graph, types: Mapping[str, TensorType]) -> dict[str, int]:
    """Axes of outputs that grow with the batch, where they are not the first.

    A model of fixed batch 1 is asked what it would give for more; where that contradicts itself,
    nothing is known.
    """
    single = {name: types[name].shape for name in graph.outputs if name in types}
    later = [shape for shape in single.values() if shape and len(shape) > 1 and shape[0] != 1]
    fed = [name for name in graph.inputs if (graph.types[name].shape or (0,))[0] == 1]
    if not later or not fed:
        return {}
    probe = _infer(replace(graph, dynamic_batch=frozenset(fed)), _PROBE_BATCH) or {}
    axes = {}
    for name, shape in single.items():
        other = probe[name].shape if name in probe else None
        if not shape or not other or len(shape) != len(other):
            continue
        grown = [
            axis for axis, sizes in enumerate(zip(shape, other, strict=True)) if len({*sizes}) > 1
        ]
        if len(grown) == 1 and grown[0] and other[grown[0]] == _PROBE_BATCH:
            axes[name] = grown[0]
    return axes


def infer_again(graph: Graph) -> Graph:
    """``graph`` with what shape inference finds now that constants are folded.

    Shapes that were computed from shapes (``Shape``, ``Gather``, ``Concat``, ``Reshape`` …) hold
    back the types of all that follows until they are folded; so inference and folding take turns.
    What is known already stays known.

    Returns:
        ``graph`` itself where nothing new is found.
    """
    types = dict(graph.types)
    named = {name for node in graph.nodes for name in node.outputs if name}
    if not any(name not in types or _open(types[name]) for name in named):
        return graph
    found = infer_types(graph)
    for name in named:
        new, old = found.types.get(name), types.get(name)
        if new is not None and (old is None or _open(old) > _open(new)):
            types[name] = new
    if types == dict(graph.types):
        return graph
    return replace(
        graph,
        types=types,
        dynamic_batch=found.dynamic_batch & {*named, *graph.inputs},
        batch_dependent=found.batch_dependent & named,
    )


def fix_batch(graph: Graph) -> Graph:
    """``graph`` for one sample a run, where anything but a leading axis depends on the batch.

    Sequence-first tensors, windows or rows that the batch is folded into, and shapes that are
    computed from it have one value for one sample, from which all that follows is known.
    """
    asked = any(
        node.op in ("Shape", "Size") and not node.domain and node.inputs[0] in graph.dynamic_batch
        for node in graph.nodes
    )
    if not graph.batch_dependent and not asked:
        return graph
    return replace(graph, dynamic_batch=frozenset(), batch_dependent=frozenset())


def _open(known: TensorType) -> float:
    """How much of a type is not known: axes, or all of them."""
    return math.inf if known.shape is None else sum(size is None for size in known.shape)


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
    round_sizes_down(model)
    strict = bool(graph.dynamic_batch) and batch != 1
    found = _infer_model(model, strict=False, values=False)
    if found is None or propagated_values(graph, found) > _PROPAGATED_LIMIT:
        # Values are followed element by element: a doubling chain or a long vector is not for that.
        return _infer_model(model, strict=True, values=False) if strict else found
    return _infer_model(model, strict=strict, values=True)


def _infer_model(
    model: onnx.ModelProto, *, strict: bool, values: bool
) -> dict[str, TensorType] | None:
    try:
        model = with_learner_types(
            model,
            lambda item: onnx.shape_inference.infer_shapes(
                item, strict_mode=strict, data_prop=values
            ),
        )
    except (
        onnx.shape_inference.InferenceError,
        onnx.checker.ValidationError,
        RuntimeError,
        ValueError,
    ):
        return None
    found: dict[str, TensorType] = {}
    for value in (*model.graph.value_info, *model.graph.output):
        known = read_type(value)
        if known is not None:
            found[value.name] = known
    return found


def propagated_values(graph: Graph, found: Mapping[str, TensorType]) -> int:
    """Elements that shape inference would follow one by one, from above.

    Args:
        graph: Its constants begin such chains, and so does every vector of known length.
        found: Types without propagation.
    """
    counts = {name: array.size if array.ndim < 2 else 0 for name, array in graph.constants.items()}
    counts |= {name: _rank_one(graph.types.get(name)) for name in graph.inputs}
    total = 0
    for node in graph.nodes:
        own = 0
        is_body = bool(node.opaque) or bool(node.domain) or _is_written_out(node.op)
        if node.op in _FOLLOWED or is_body:
            read = [counts.get(name, _rank_one(found.get(name))) for name in node.inputs]
            own = sum(read) if node.op == "Concat" else max(read, default=0)
            own = min(own, _PROPAGATED_LIMIT + 1)
            # Bodies of functions and subgraphs, too, follow what they are given.
            bodies = len(node.opaque) + bool(node.domain) + _is_written_out(node.op)
            total += own * (1 + bodies * _BODY_FACTOR)
        for name in node.outputs:
            counts[name] = max(own, _rank_one(found.get(name)))
        total += max((_rank_one(found.get(name)) for name in node.outputs), default=0)
    return total


@cache
def _is_written_out(op: str) -> bool:
    """Whether inference walks through a body that the operator's definition gives."""
    try:
        schema = onnx.defs.get_schema(op)
    except onnx.defs.SchemaError:
        return False
    bodies = ("has_function", "has_context_dependent_function")
    return any(getattr(schema, name, False) for name in bodies)


def _rank_one(known: TensorType | None) -> int:
    """Elements of a vector; 0 of anything else, which is not followed."""
    if known is None or known.shape is None or len(known.shape) != 1:
        return 0
    return known.shape[0] or 0


def read_type(value: onnx.ValueInfoProto) -> TensorType | None:
    """The type of a dense tensor or a container; ``None`` for other values and unknown types."""
    if value.type.WhichOneof("value") != "tensor_type":
        name = container_name(value.type)
        return None if name is None else TensorType(name, None)
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


def spreads_over(shape: Sequence[int], over: Sequence[int]) -> bool:
    """Whether a tensor of ``shape`` is repeated to ``over`` by the standard's rule, as it is."""
    return len(shape) <= len(over) and all(
        size in (1, whole) for size, whole in zip(reversed(shape), reversed(over), strict=False)
    )
