"""Nodes that the checker lets pass although no runtime can execute them.

The checker of the onnx package compares the number of inputs, the attributes and the types of a
node with its definition, not ranks and extents. Passes rely on these.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx

from compiler_core.errors import InputError
from compiler_core.graph.exporter import write_model
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.recurrence import GATES, recurrent_contradiction, shape_reader
from compiler_core.graph.rounded_up import round_sizes_down
from compiler_core.graph.session import FloatSession

_WEIGHT_LIMIT = 1024
RANK_MAX = 64
"""Axes of a tensor, as many as arrays have."""
_OF_THE_RUNTIME = frozenset(
    (
        "Affine",
        "Crop",
        "DynamicSlice",
        "ImageScaler",
        "ParametricSoftplus",
        "Scale",
        "ScaledTanh",
        "SimplifiedLayerNormalization",
    )
)
"""Operators that onnxruntime has in the standard's domain, though the standard does not."""
_SINCE = {
    "GroupNormalization": 21,
    "LayerNormalization": 17,
    "MeanVarianceNormalization": 9,
    "ThresholdedRelu": 10,
}
"""Operators that it has in older operator sets, too, and the first of the standard that does (or
has it as it is today)."""
_UNKNOWN = "com.microsoft"
_SHAPE_INPUTS = {"ConstantOfShape": 0, "Expand": 1, "Reshape": 1, "Tile": 1}
_AXES: dict[str, tuple[tuple[str, int], ...]] = {
    **dict.fromkeys(("ArgMax", "ArgMin", "CumProd", "CumSum", "GatherElements"), (("axis", 0),)),
    **dict.fromkeys(("Scatter", "ScatterElements"), (("axis", 0),)),
    **dict.fromkeys(("LayerNormalization", "LpNormalization"), (("axis", -1),)),
    "ReverseSequence": (("batch_axis", 1), ("time_axis", 0)),
    "TensorScatter": (("axis", -2),),
}
"""Axes of the first input that operators name, and the usual ones."""
_AXIS_IS_INPUT = ("CumProd", "CumSum")
_WORDS = {
    "auto_pad": ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"),
    "direction": ("forward", "reverse", "bidirectional", "LEFT", "RIGHT"),
}
"""What attributes may say, of whatever operator."""
_ELEMENTWISE = frozenset(
    [
        "Abs",
        "Add",
        "Cast",
        "Ceil",
        "Clip",
        "Div",
        "Floor",
        "Identity",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Neg",
        "Relu",
        "Round",
        "Sub",
        "Where",
    ]
)
"""Operators that keep the length of vectors."""


def is_of_the_runtime(op: str, opset: int) -> bool:
    """Whether onnxruntime has an operator in the standard's domain, though the standard does not.

    Args:
        op: Its type.
        opset: Of the standard that a model asks for.
    """
    return op in _OF_THE_RUNTIME or opset < _SINCE.get(op, 0)


def refuse_what_no_definition_allows(model: onnx.ModelProto) -> None:
    """Refuses nodes whose inputs, attributes or types their operator's definition does not have.

    Args:
        model: Outputs without a type get one here: the checker wants a type, which unknown
            operators leave open, and compares none.

    Raises:
        InputError: With what the checker of the onnx package says.
    """
    for value in model.graph.output:
        if value.type.WhichOneof("value") not in (None, "tensor_type"):
            continue
        if not value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
            value.type.tensor_type.shape.SetInParent()
    opset = max((item.version for item in model.opset_import if not item.domain), default=1)
    for node in model.graph.node:
        if is_of_the_runtime(node.op_type, opset) and node.domain in ("", "ai.onnx"):
            node.domain = _UNKNOWN  # which the checker leaves to the runtime
    if _UNKNOWN not in {item.domain for item in model.opset_import}:
        model.opset_import.add(domain=_UNKNOWN, version=1)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise InputError(f"not a valid ONNX graph: {_first_fault(error)}") from error


def refuse_what_ends_inference(model: onnx.ModelProto) -> None:
    """Refuses nodes on which shape inference of the onnx package ends the process.

    Args:
        model: One that the checker passes; its subgraphs and functions are looked at, too.

    Raises:
        InputError: Names the node, the value seen and what is allowed.
    """
    _visit(model.graph.node)
    for function in model.functions:
        _visit(function.node)


def _visit(nodes: Iterable[onnx.NodeProto]) -> None:
    for node in nodes:
        given = {item.name: item for item in node.attribute}
        if node.domain in ("", "ai.onnx"):
            _refuse_gaps(node)
            if node.op_type == "Split" and "num_outputs" in given:
                count = given["num_outputs"].i
                if count != len(node.output):
                    raise InputError(
                        f"node {node.name!r} (Split): num_outputs is {count}, and it has "
                        f"{len(node.output)} outputs",
                        hint="export the model again; both have to be equal",
                    )
            if node.op_type == "GatherND" and "batch_dims" in given:
                axes = given["batch_dims"].i
                if not 0 <= axes <= RANK_MAX:
                    raise InputError(
                        f"node {node.name!r} (GatherND): batch_dims is {axes}; 0 to {RANK_MAX} "
                        "are allowed"
                    )
        for item in node.attribute:
            for graph in (item.g, *item.graphs):
                _visit(graph.node)


def _refuse_gaps(node: onnx.NodeProto) -> None:
    """Of a list of inputs none may be left out: the checker lets it pass, and onnxruntime reads
    what is not there."""
    if "" not in node.input or not onnx.defs.has(node.op_type):
        return
    formal = onnx.defs.get_schema(node.op_type).inputs
    many = onnx.defs.OpSchema.FormalParameterOption.Variadic
    if formal and formal[-1].option == many:
        place = next(
            (at for at in range(len(formal) - 1, len(node.input)) if not node.input[at]), -1
        )
        if place >= 0:
            raise InputError(
                f"node {node.name!r} ({node.op_type}): input {place} has no name; every one of "
                f"{formal[-1].name!r} needs one"
            )


def refuse_endless_shapes(graph: Graph) -> None:
    """Refuses tensors of more axes than there are, whose types alone would fill the memory.

    Args:
        graph: With the types of its inputs; those of computed tensors are not looked at.

    Raises:
        InputError: Names the node and the length of the shape that it reads.
    """
    lengths = {name: array.size for name, array in graph.constants.items() if array.ndim == 1}
    for name in graph.inputs:
        known = graph.types.get(name)
        if known is not None and known.shape is not None and len(known.shape) == 1:
            lengths[name] = known.shape[0] or 0
    for node in graph.nodes:
        if node.domain:
            continue
        place = _SHAPE_INPUTS.get(node.op)
        if place is not None and len(node.inputs) > place:
            axes = lengths.get(node.inputs[place], 0)
            if axes > RANK_MAX:
                raise InputError(
                    f"node {node.name!r} ({node.op}): shape {node.inputs[place]!r} has {axes} "
                    f"axes; at most {RANK_MAX} are allowed"
                )
        if node.op in _ELEMENTWISE:
            lengths[node.outputs[0]] = max((lengths.get(n, 0) for n in node.inputs), default=0)
        elif node.op == "Concat":
            lengths[node.outputs[0]] = sum(lengths.get(n, 0) for n in node.inputs)


def refuse_contradictions(graph: Graph) -> None:
    """Refuses a graph whose shapes contradict the definitions of its operators.

    Where strict shape inference finds a contradiction, the graph is run once on zeros: runtimes
    are the judge, since inference is wrong about some models that they execute.

    Args:
        graph: Typed, and within the limits of what is run.

    Raises:
        InputError: With the contradiction, where the runtime cannot execute the graph either;
            inference does not look at recurrent operators, which leave nothing to judge.
    """
    for node in graph.nodes:
        if node.op in GATES and not node.domain:
            contradiction = recurrent_contradiction(node, shape_reader(graph))
            if contradiction is not None:
                raise InputError(f"not a valid ONNX graph: {contradiction}")
        if not node.domain:
            _refuse_other_words(node)
            _refuse_other_axes(graph, node)
    found = _contradiction(graph)
    if found is None:
        return
    feeds = {}
    for name in graph.inputs:
        known = graph.types.get(name)
        if known is None or known.shape is None or None in known.shape or known.dtype == "string":
            return
        feeds[name] = np.zeros([size or 0 for size in known.shape], known.dtype)
    try:
        FloatSession(graph).run(feeds)
    except InputError as error:
        raise InputError(f"not a valid ONNX graph: {found}") from error


def _refuse_other_words(node: Node) -> None:
    """Attributes that the checker takes as any text."""
    for name, allowed in _WORDS.items():
        word = node.text(name, "")
        if word and word not in allowed:
            raise InputError(
                f"not a valid ONNX graph: node {node.name!r} ({node.op}): {name} is {word!r}; "
                f"known are {', '.join(allowed)}"
            )


def _refuse_other_axes(graph: Graph, node: Node) -> None:
    """Of operators whose inference looks at no axis: runtimes take those alone that there are."""
    named = _AXES.get(node.op, ())
    known = graph.types.get(node.inputs[0]) if named else None
    if known is None or known.shape is None:
        return
    for name, usual in named:
        axis = node.attributes.get(name, usual)
        if node.op in _AXIS_IS_INPUT:
            given = graph.constants.get(node.inputs[1])
            axis = usual if given is None or given.size != 1 else int(given.item())
        if not -len(known.shape) <= axis < len(known.shape):
            raise InputError(
                f"not a valid ONNX graph: node {node.name!r} ({node.op}): {name} is {axis}, which "
                f"{node.inputs[0]!r} of {len(known.shape)} axes does not have"
            )


def _contradiction(graph: Graph) -> str | None:
    model = write_model(graph, batch=1, weight_limit=_WEIGHT_LIMIT)
    round_sizes_down(model)
    try:
        onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except (
        onnx.shape_inference.InferenceError,
        onnx.checker.ValidationError,
        RuntimeError,
        ValueError,
    ) as error:
        return _first_fault(error)
    return None


def _first_fault(error: Exception) -> str:
    """What inference says of the first node: of all behind it that it then knows nothing of what
    they read."""
    head, mark, rest = " ".join(str(error).split()).partition("(op_type:")
    return head + mark + rest.partition(" (op_type:")[0]
