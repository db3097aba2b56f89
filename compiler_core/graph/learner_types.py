"""Types of what classical learners give (``ai.onnx.ml``), which shape inference leaves open; and
of what operators of onnxruntime's own do, which onnxruntime is asked for.

Trees, linear models, support vector machines and what prepares their inputs keep the rows of
``x[N, C]``; how many columns come out stands in their attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import onnx

from compiler_core.graph.runtime_types import DOMAIN as RUNTIME
from compiler_core.graph.runtime_types import runtime_values

DOMAIN = "ai.onnx.ml"
_FLOAT, _INT, _TEXT = (
    int(onnx.TensorProto.DataType.Value(k)) for k in ("FLOAT", "INT64", "STRING")
)

Shape = tuple[int, ...]
Attributes = Mapping[str, Any]
Typed = list[tuple[int, Shape]]


def _same(_: Attributes, shape: Shape) -> Typed:
    return [(_FLOAT, shape)]


def _targets(name: str) -> Callable[[Attributes, Shape], Typed]:
    return lambda known, shape: [(_FLOAT, (shape[0], int(known.get(name, 1))))]


def _one_column(_: Attributes, shape: Shape) -> Typed:
    return [(_FLOAT, (shape[0], 1))]


def _scores(known: Attributes, shape: Shape) -> Typed:
    """A label per row, and a score per class."""
    for name, element in _LABELS.items():
        labels = known.get(name)
        if labels:
            found: Typed = [(element, shape[:1])]
            # One class is written as two columns by some runtimes, as one by others.
            return [*found, (_FLOAT, (shape[0], len(labels)))] if len(labels) > 1 else found
    return []


def _machine(known: Attributes, shape: Shape) -> Typed:
    """With support vectors and without probabilities there is a score per pair of classes, of two
    classes one for each."""
    found = _scores(known, shape)
    if len(found) < 2 or not known.get("vectors_per_class") or known.get("prob_a"):
        return found
    classes = found[1][1][1]
    return [found[0], (_FLOAT, (shape[0], max(2, classes * (classes - 1) // 2)))]


def _taken(source: Shape, columns: Shape) -> Shape:
    """The columns that ArrayFeatureExtractor takes."""
    return (*source[:-1], prod(columns))


def _joined(known: Attributes, shape: Shape) -> Typed:
    return [(_FLOAT, (shape[0], sum(known.get("inputdimensions", ()))))]


_TAKING = "ArrayFeatureExtractor"
_OF_INPUT = ("Imputer", "TreeEnsemble")
"""Operators that give elements of their input's type."""
_LABELS = {
    "classlabels_strings": _TEXT,
    "classlabels_int64s": _INT,
    "classlabels_ints": _INT,
}
_TYPES: Mapping[str, Callable[[Attributes, Shape], Typed]] = {
    **dict.fromkeys(("Scaler", "Normalizer", "Imputer"), _same),
    "FeatureVectorizer": _joined,
    "LinearClassifier": _scores,
    "LinearRegressor": _targets("targets"),
    "SVMClassifier": _machine,
    "SVMRegressor": _one_column,
    "TreeEnsemble": _targets("n_targets"),
    "TreeEnsembleClassifier": _scores,
    "TreeEnsembleRegressor": _targets("n_targets"),
}


def with_learner_types(
    model: onnx.ModelProto, infer: Callable[[onnx.ModelProto], onnx.ModelProto]
) -> onnx.ModelProto:
    """What ``infer`` finds, and what follows from the results of classical learners and of
    operators of onnxruntime's own.

    Args:
        model: With the types of its inputs and constants.
        infer: Shape inference, which keeps what ``value_info`` says.
    """
    found, told = infer(model), set[str]()
    learners = [node for node in model.graph.node if _is_asked(node)]
    while learners:
        graph = found.graph
        known = {v.name: v for v in (*_constants(found), *graph.input, *graph.value_info)}
        fresh = [
            value
            for node in learners
            for value in (
                _values(node, known) if node.domain == DOMAIN else _own(node, known, found)
            )
            if value.name not in told
        ]
        if not fresh:
            break
        names = {value.name for value in fresh}
        kept = [  # a type without a shape would stay as it is
            value
            for value in found.graph.value_info
            if value.name not in names and _is_shaped(value)
        ]
        del found.graph.value_info[:]
        found.graph.value_info.extend([*kept, *fresh])
        for value in found.graph.output:
            if value.name in names:
                value.CopyFrom(next(item for item in fresh if item.name == value.name))
        told |= names
        learners = [node for node in learners if not {*filter(None, node.output)} <= told]
        found = infer(found)
    return found


def _is_asked(node: onnx.NodeProto) -> bool:
    if node.domain == DOMAIN:
        return node.op_type in _TYPES or node.op_type == _TAKING
    return bool(node.domain == RUNTIME)


def _is_shaped(value: onnx.ValueInfoProto) -> bool:
    """Whether more is known of a tensor than the type of its elements."""
    kind = value.type
    return not kind.HasField("tensor_type") or kind.tensor_type.HasField("shape")


def _own(
    node: onnx.NodeProto, known: Mapping[str, onnx.ValueInfoProto], model: onnx.ModelProto
) -> list[onnx.ValueInfoProto]:
    """Types of what an operator of onnxruntime's own gives."""
    names = {*node.input}
    held = {item.name: item for item in model.graph.initializer if item.name in names}
    opset = next((item.version for item in model.opset_import if not item.domain), 1)
    return runtime_values(node, known, held, opset)


def _values(
    node: onnx.NodeProto, known: Mapping[str, onnx.ValueInfoProto]
) -> list[onnx.ValueInfoProto]:
    """Types of a learner's results; none where those of its input are not known."""
    found = [known[name] for name in node.input if name in known]
    if len(found) < len(node.input) or not found or None in (read := [*map(_shape, found)]):
        return []
    first, *others = (shape for shape in read if shape is not None)
    if len(first) != 2:
        return []
    if node.op_type == _TAKING:
        element = found[0].type.tensor_type.elem_type
        typed: Typed = [(element, _taken(first, others[0]))] if others else []
    else:
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        typed = _TYPES[node.op_type](attributes, first)
        if node.op_type in _OF_INPUT:
            typed = [(found[0].type.tensor_type.elem_type, shape) for _, shape in typed]
    return [
        onnx.helper.make_tensor_value_info(name, element, shape)
        for name, (element, shape) in zip(node.output, typed, strict=False)
        if name
    ]


def _shape(value: onnx.ValueInfoProto) -> Shape | None:
    dims = value.type.tensor_type.shape.dim
    if not value.type.tensor_type.HasField("shape"):
        return None
    return tuple(d.dim_value for d in dims) if all(d.HasField("dim_value") for d in dims) else None


def _constants(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    return [
        onnx.helper.make_tensor_value_info(item.name, item.data_type, [*item.dims])
        for item in model.graph.initializer
    ]
