"""Old operator sets raised to one that quantized models and the passes can rely on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx

from compiler_core.errors import InputError
from compiler_core.graph.attributes import freeze, read_attributes
from compiler_core.graph.exporter import write_model
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.order import sort_nodes
from compiler_core.graph.shapes import infer_types

OLD_BELOW = 13
"""Opset 13 is the first with per-axis quantization; axes and bounds are inputs from then on."""

TARGET_OPSET = 17

_WEIGHT_LIMIT = 1024
_BROADCAST_LIKE_NUMPY = 7
"""Opset from which shapes broadcast from their last axis on."""
_SHAPES_ARE_INFERRED = 6
_REMADE = frozenset(["GlobalLpPool", "LpPool", "Split", "Tile", "Upsample"])
"""Operators that meant something else, or were asked otherwise, before opset 6."""
_HARDMAX = "Hardmax"
"""The converter leaves it over one axis, where it was over all from one on."""
_BROADCASTING = frozenset(
    ["Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor"]
)


_RESIZES_HALF_PIXELS = 11
"""Opset from which Resize looks at the middle of pixels, unless it says otherwise."""
_HAS_LAYER_NORMALIZATION = 17
_CHANGED_BY_16 = "RoiAlign"


def raised_for_normalization(graph: Graph) -> Graph:
    """A graph of opset 13 to 16 whose layers onnxruntime has normalized by an operator of opset 17,
    as one of that: all other operators are the same."""
    found = any(node.op == "LayerNormalization" and not node.domain for node in graph.nodes)
    if not found or not OLD_BELOW <= graph.opsets[""] < _HAS_LAYER_NORMALIZATION:
        return graph
    if graph.functions or any(n.opaque or n.op == _CHANGED_BY_16 for n in graph.nodes):
        return graph
    return replace(graph, opsets={**graph.opsets, "": _HAS_LAYER_NORMALIZATION})


def upgrade_opset(graph: Graph) -> Graph:
    """Convert a graph below opset 13 to opset 17 with the converter of the ``onnx`` package.

    A graph of other domains or with subgraphs is left alone. A graph that the converter does not
        manage stays as it is: onnxruntime runs old operator sets too, and passes
    read both forms.
    """
    if graph.opsets[""] >= OLD_BELOW or graph.functions:
        return graph
    if any(node.domain or node.opaque or node.op == _HARDMAX for node in graph.nodes):
        return graph
    original = graph
    try:
        if graph.opsets[""] < _SHAPES_ARE_INFERRED:
            graph = infer_types(_without_first_forms(graph))
        if graph.opsets[""] < _BROADCAST_LIKE_NUMPY:
            graph = _trailing_axes(graph)
    except InputError:
        return original
    model = write_model(graph, weight_limit=_WEIGHT_LIMIT)
    try:
        onnx.checker.check_model(model)
        model = onnx.version_converter.convert_version(model, TARGET_OPSET)
        onnx.checker.check_model(model)
    except (
        onnx.checker.ValidationError,
        onnx.version_converter.ConvertError,
        onnx.shape_inference.InferenceError,
        RuntimeError,
        ValueError,
    ):
        return original
    try:
        return _read_back(graph, model)
    except InputError:
        return original


def _without_first_forms(graph: Graph) -> Graph:
    """A graph below opset 6 as one of opset 6, where its operators differ in their form alone; the
    converter infers no shapes of the first forms, and then gives up."""
    if graph.opsets[""] >= _SHAPES_ARE_INFERRED or any(node.op in _REMADE for node in graph.nodes):
        return graph
    nodes: list[Node] = []
    constants, types = dict(graph.constants), dict(graph.types)
    for node in graph.nodes:
        attributes = {k: v for k, v in node.attributes.items() if k != "consumed_inputs"}
        inputs = node.inputs
        if node.op == "Concat":
            attributes.setdefault("axis", 1)
        elif node.op == "Cast" and isinstance(attributes.get("to"), str):
            attributes["to"] = onnx.TensorProto.DataType.Value(attributes["to"])
        elif node.op == "Pad" and "paddings" in attributes:
            attributes["pads"] = attributes.pop("paddings")
        elif node.op == "Reshape" and "shape" in attributes:
            name = f"{node.output}/shape"
            constants[name] = freeze(np.array(attributes.pop("shape"), np.int64))
            types[name] = TensorType("int64", constants[name].shape)
            inputs = (*inputs, name)
        nodes.append(replace(node, inputs=inputs, attributes=attributes))
    return replace(
        graph,
        nodes=tuple(nodes),
        constants=constants,
        types=types,
        opsets={**graph.opsets, "": _SHAPES_ARE_INFERRED},
    )


def _trailing_axes(graph: Graph) -> Graph:
    """Before opset 7 the second input's axes lie from ``axis`` of the first one's on, as
    ``broadcast = 1`` says; the converter puts others in where they are not the last ones."""
    nodes: list[Node] = []
    constants, types = dict(graph.constants), dict(graph.types)
    for node in graph.nodes:
        axis = node.attributes.get("axis")
        if node.op not in _BROADCASTING or not node.attributes.get("broadcast") or axis is None:
            nodes.append(node)
            continue
        one, other = (types.get(name) for name in node.inputs)
        placed = None if other is None or other.shape is None else _fixed(other.shape)
        if one is None or one.shape is None or other is None or placed is None:
            nodes.append(node)
            continue
        first = axis % len(one.shape) if one.shape else 0
        missing = len(one.shape) - first - len(placed)
        source = node.inputs[1]
        if missing > 0:
            name = f"{source}/axes{len(placed)}to{len(placed) + missing}"
            shape = (*placed, *[1] * missing)
            if source in constants:
                constants[name] = freeze(constants[source].reshape(shape))
            elif name not in types:
                axes = tuple(range(len(placed), len(shape)))
                nodes.append(
                    Node(f"Unsqueeze:{name}", "Unsqueeze", (source,), (name,), {"axes": axes})
                )
            types[name] = TensorType(other.dtype, shape)
            source = name
        attributes = {key: value for key, value in node.attributes.items() if key != "axis"}
        nodes.append(replace(node, inputs=(node.inputs[0], source), attributes=attributes))
    return replace(graph, nodes=tuple(nodes), constants=constants, types=types)


def _fixed(shape: tuple[int | None, ...]) -> tuple[int, ...] | None:
    """The shape where all of it is known."""
    known = tuple(size for size in shape if size is not None)
    return known if len(known) == len(shape) else None


def _slopes_per_channel(
    graph: Graph, nodes: list[Node], constants: dict[str, npt.NDArray[np.generic]]
) -> None:
    """Slopes of PRelu lie along the channels by themselves before opset 7; the converter leaves
    them as they are."""
    for position, node in enumerate(nodes):
        data, slope = graph.types.get(node.inputs[0]), constants.get(node.inputs[-1])
        if node.op != "PRelu" or node.domain or slope is None or slope.ndim != 1:
            continue
        rank = 0 if data is None or data.shape is None else len(data.shape)
        if slope.size == 1 or rank < 3:
            continue
        name = f"{node.inputs[1]}/channels{rank}"
        constants[name] = freeze(slope.reshape(-1, *[1] * (rank - 2)))
        nodes[position] = replace(node, inputs=(node.inputs[0], name))


def _corners(nodes: list[Node], constants: dict[str, npt.NDArray[np.generic]]) -> bool:
    """Lets each Resize look at the corners of pixels, as all did before opset 11, which the
    converter does not say; ``False`` where the nearest one is another from axis to axis."""
    for position, node in enumerate(nodes):
        if node.op != "Resize":
            continue
        attributes = {**node.attributes, "coordinate_transformation_mode": "asymmetric"}
        if node.text("mode", "nearest") == "nearest":
            scales = constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
            factors = np.asarray([] if scales is None else scales, np.float64)
            grows, shrinks = bool((factors >= 1).all()), bool((factors <= 1).all())
            if scales is None or not (grows or shrinks):
                return False
            attributes["nearest_mode"] = "floor" if grows else "ceil"
        nodes[position] = replace(node, attributes=attributes)
    return True


def _read_back(graph: Graph, model: onnx.ModelProto) -> Graph:
    constants = dict(graph.constants)
    for tensor in model.graph.initializer:
        if tensor.name not in constants:
            constants[tensor.name] = freeze(onnx.numpy_helper.to_array(tensor))
    nodes: list[Node] = []
    names = {node.name for node in graph.nodes}
    for proto in model.graph.node:
        if proto.op_type == "Constant" and proto.attribute[0].name == "value":
            constants[proto.output[0]] = freeze(onnx.numpy_helper.to_array(proto.attribute[0].t))
            continue
        name = proto.name
        if not name:
            name = f"{proto.op_type}:{proto.output[0]}"
            while name in names:
                name += "_"
            names.add(name)
        attributes, opaque = read_attributes(proto.attribute)
        nodes.append(
            Node(
                name,
                proto.op_type,
                tuple(proto.input),
                tuple(proto.output),
                attributes,
                opaque=opaque,
            )
        )
    if tuple(value.name for value in model.graph.output) != graph.outputs:
        return graph
    if graph.opsets[""] < _BROADCAST_LIKE_NUMPY:
        _slopes_per_channel(graph, nodes, constants)
    if graph.opsets[""] < _RESIZES_HALF_PIXELS and not _corners(nodes, constants):
        return graph
    return replace(
        graph,
        nodes=sort_nodes(nodes, {*graph.inputs, *constants}),
        constants=constants,
        opsets={**graph.opsets, "": TARGET_OPSET},
    )
