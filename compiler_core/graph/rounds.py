"""Rounds of loops, bounded by their number: what a clock stops differs from machine to machine.

A loop may execute so many operators in all, so that the more its body holds the fewer rounds it
may take. Where the file says how many it takes that is checked before anything runs. Where only
running tells, the loop is given a bound on its rounds and an output that counts them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

EXECUTIONS_MAX = 1 << 19
"""Operators that one loop executes for a sample: seconds, for the smallest ones."""

JOINED_MAX = 1 << 14
"""Rounds of a loop whose results are joined."""

COUNTED = "nest-tune/rounds/"
"""Outputs of a guarded model that begin so count rounds; after it stands how many are allowed."""

_SCALAR = "nest-tune/scalar"
_SHAPE_INPUT_OPSET = 5
"""From here on a shape is an input."""
_MIN_OPSET = 12
"""From here on the smaller of two integers is an operator."""

Constants = Mapping[str, npt.NDArray[Any]]


def body_nodes(graph: onnx.GraphProto, constants: Constants) -> int:
    """Operators that one round of a body executes, loops in it with the rounds that they state."""
    own = {**constants, **{item.name: _array(item) for item in graph.initializer}}
    total = 0
    for node in graph.node:
        inner = sum(body_nodes(part, own) for part in _graphs(node))
        total += 1 + inner * (_stated_trips(node, own) if node.op_type == "Loop" else 1)
    return total


def rounds_max(graph: onnx.GraphProto, constants: Constants, *, joins: bool) -> int:
    """Rounds that a loop with this body may take.

    Args:
        graph: The body.
        constants: Around it.
        joins: What the rounds give may be joined, as a loop does and a scan does not: onnxruntime
            takes time for that which grows with the square of their number.
    """
    most = max(1, EXECUTIONS_MAX // max(1, body_nodes(graph, constants)))
    # A body takes its number and a condition, and gives a condition; states go in and come out.
    return min(most, JOINED_MAX) if joins and len(graph.output) > len(graph.input) - 1 else most


def count_rounds(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a bound and a count for every loop of the main graph that ends only where its
    values say so; ``model`` itself where there are none.

    A loop that is bounded takes one round more than allowed at most, and so is known.
    """
    constants = {item.name: _array(item) for item in model.graph.initializer}
    open_loops = [
        place
        for place, node in enumerate(model.graph.node)
        if node.op_type == "Loop"
        and not node.domain
        and not (node.input and node.input[0] in constants)
        and len(node.output)
    ]
    versions = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    if not open_loops or max(versions, default=0) < _MIN_OPSET:
        return model
    counted = onnx.ModelProto()
    counted.CopyFrom(model)
    before: dict[int, onnx.NodeProto] = {}
    for place in open_loops:
        smaller = _bounded(counted.graph, counted.graph.node[place], place, constants)
        if smaller is not None:
            before[place] = smaller
    nodes = list(counted.graph.node)
    del counted.graph.node[:]
    for place, node in enumerate(nodes):
        counted.graph.node.extend([before[place], node] if place in before else [node])
    return counted


def with_scalars(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every number of rounds and every condition of a loop made a scalar:
    onnxruntime reads the first element of what is given, even where there is none.

    ``model`` itself where there is no loop.
    """
    versions = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    if max(versions, default=0) < _SHAPE_INPUT_OPSET or not _has_loop(model.graph):
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    _make_scalars(changed.graph, [0])
    changed.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(0, np.int64), _SCALAR))
    return changed


def _has_loop(graph: onnx.GraphProto) -> bool:
    return any(node.op_type == "Loop" or any(map(_has_loop, _graphs(node))) for node in graph.node)


def _make_scalars(graph: onnx.GraphProto, count: list[int]) -> None:
    """Puts a Reshape before each of them, in place; ``count`` numbers those so far."""
    nodes: list[onnx.NodeProto] = []

    def scalar(name: str) -> str:
        count[0] += 1
        nodes.append(onnx.helper.make_node("Reshape", [name, _SCALAR], [f"{_SCALAR}/{count[0]}"]))
        return f"{_SCALAR}/{count[0]}"

    for node in graph.node:
        kept = onnx.NodeProto()
        kept.CopyFrom(node)
        for body in _graphs(kept):
            _make_scalars(body, count)
            if kept.op_type == "Loop" and len(body.output):
                count[0] += 1
                name = f"{_SCALAR}/{count[0]}"
                body.node.append(
                    onnx.helper.make_node("Reshape", [body.output[0].name, _SCALAR], [name])
                )
                body.output[0].name = name
        if kept.op_type == "Loop":
            for place in range(min(2, len(kept.input))):
                if kept.input[place]:
                    kept.input[place] = scalar(kept.input[place])
        nodes.append(kept)
    del graph.node[:]
    graph.node.extend(nodes)


def exceeded(counts: Mapping[str, npt.NDArray[Any]]) -> int | None:
    """How many rounds were allowed to a loop that took more, from the outputs that count."""
    for name, count in counts.items():
        most = int(name.removeprefix(COUNTED).partition("/")[0])
        if int(count) > most:
            return most
    return None


def _bounded(
    graph: onnx.GraphProto, node: onnx.NodeProto, place: int, constants: Constants
) -> onnx.NodeProto | None:
    """Lets a loop count its rounds, in place; the node that bounds them, where one is needed."""
    body = next(_graphs(node), None)
    if body is None:
        return None
    most = rounds_max(body, constants, joins=True)
    name = f"{COUNTED}{most}/{place}"
    states = max(0, len(node.input) - 2)
    inside, after, one = f"{name}/in", f"{name}/out", f"{name}/one"
    body.input.append(onnx.helper.make_tensor_value_info(inside, onnx.TensorProto.INT64, []))
    _insert(
        body.output,
        1 + states,
        onnx.helper.make_tensor_value_info(after, onnx.TensorProto.INT64, []),
    )
    body.initializer.append(_scalar(1, one))
    body.node.append(onnx.helper.make_node("Add", [inside, one], [after]))
    trips = node.input[0] if node.input else ""
    while len(node.input) < 2:
        node.input.append("")
    while len(node.output) < states:
        node.output.append("")
    node.input.append(f"{name}/zero")
    outputs = list(node.output)
    outputs.insert(states, name)
    del node.output[:]
    node.output.extend(outputs)
    graph.initializer.extend([_scalar(0, f"{name}/zero"), _scalar(most + 1, f"{name}/most")])
    graph.output.append(_count(name))
    node.input[0] = f"{name}/most" if not trips else f"{name}/trips"
    if not trips:
        return None
    return onnx.helper.make_node("Min", [trips, f"{name}/most"], [f"{name}/trips"])


def _insert(values: Any, place: int, value: onnx.ValueInfoProto) -> None:
    """Puts one among repeated messages, which can only be added at their end."""
    kept = [onnx.ValueInfoProto.FromString(item.SerializeToString()) for item in values]
    kept.insert(place, value)
    del values[:]
    values.extend(kept)


def _count(name: str) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, [])


def _scalar(value: int, name: str) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.array(value, np.int64), name)


def _graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside a node."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _stated_trips(node: onnx.NodeProto, constants: Constants) -> int:
    """The rounds that a file states; one where it does not."""
    trips = constants.get(node.input[0]) if node.input else None
    return max(1, int(trips.reshape(-1)[0])) if trips is not None and trips.size == 1 else 1


def _array(tensor: onnx.TensorProto) -> npt.NDArray[Any]:
    """A small constant; nothing of a large one, which is no number of rounds."""
    small = len(tensor.raw_data) <= 8 and not tensor.external_data
    return onnx.numpy_helper.to_array(tensor) if small else np.zeros(0)
