"""An If whose condition is known becomes the nodes of the branch that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx

from compiler_core.graph.attributes import read_attributes
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op
from compiler_core.graph.reader import ImportLimits
from compiler_core.graph.values import read_array

_LOCAL = {
    "value_float": "float32",
    "value_floats": "float32",
    "value_int": "int64",
    "value_ints": "int64",
}
"""Types of what Constant nodes give, by their attribute."""


@dataclass(frozen=True)
class ConstantBranches:
    """Write the branch of an If out where its condition is a constant.

    Exporters leave such branches where a shape decides: once it is known, so is the branch.
    """

    name: ClassVar[str] = "constant-branches"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if not is_op(node, "If"):
                continue
            condition = rewriter.constant(node, 0)
            if condition is not None and condition.size == 1:
                _write_out(rewriter, node, _branch(node, taken=bool(condition.reshape(-1)[0])))
        return rewriter.finish()


def _branch(node: Node, *, taken: bool) -> onnx.GraphProto:
    wanted = "then_branch" if taken else "else_branch"
    found = (onnx.AttributeProto.FromString(item) for item in node.opaque)
    return next((item.g for item in found if item.name == wanted), onnx.GraphProto())


def _write_out(rewriter: Rewriter, node: Node, branch: onnx.GraphProto) -> None:
    results = [value.name for value in branch.output]
    if len(results) < len(node.outputs) or branch.input or branch.sparse_initializer:
        return
    arrays, protos = inner_constants(branch)
    written = [name for proto in protos for name in proto.output if name]
    if len({*arrays, *written}) < len(arrays) + len(written):
        return
    # What the branch computes is called as the If called it, once; the rest after the If, for
    # other branches may use the same names.
    outside = {inner: outer for inner, outer in zip(results, node.outputs, strict=False) if outer}
    named: dict[str, str] = {}
    for name, array in arrays.items():
        named[name] = rewriter.add_constant(f"{node.name}/{name}", array)
    for name in written:
        named[name] = outside.get(name) or rewriter.fresh(f"{node.name}/{name}")
    nodes = inner_nodes(rewriter, node.name, protos, named, set())
    for number, (inner, outer) in enumerate(zip(results, node.outputs, strict=False)):
        if outer and named.get(inner) != outer:
            name = rewriter.fresh_node(f"{node.name}/result{number}")
            nodes.append(Node(name, "Identity", (named.get(inner, inner),), (outer,)))
    rewriter.replace(node, *nodes)


def _array(tensor: onnx.TensorProto) -> npt.NDArray[np.generic]:
    return read_array(tensor.name, tensor, ImportLimits())


def inner_constants(
    inner: onnx.GraphProto,
) -> tuple[dict[str, npt.NDArray[np.generic]], list[onnx.NodeProto]]:
    """The constants of a graph within a node by name, and its nodes that are none."""
    arrays = {item.name: _array(item) for item in inner.initializer}
    protos = []
    for proto in inner.node:
        only = proto.attribute[0] if len(proto.attribute) == 1 else onnx.AttributeProto()
        if proto.op_type != "Constant" or only.name not in (*_LOCAL, "value"):
            protos.append(proto)
        elif only.name == "value":
            arrays[proto.output[0]] = _array(only.t)
        else:
            given = onnx.helper.get_attribute_value(only)
            arrays[proto.output[0]] = np.array(given, _LOCAL[only.name])
    return arrays, protos


def inner_nodes(
    rewriter: Rewriter,
    label: str,
    protos: list[onnx.NodeProto],
    named: Mapping[str, str],
    taken: set[str],
) -> list[Node]:
    """The nodes of a graph within a node, under the names that its tensors have outside.

    Args:
        rewriter: Of the graph outside.
        label: Before their own names.
        protos: The nodes.
        named: Name outside by name inside; what is not in it is called the same.
        taken: Names of nodes that are to be put into the graph, which takes those of these, too.
    """
    found: list[Node] = []
    for number, proto in enumerate(protos):
        attributes, opaque = read_attributes(proto.attribute)
        name = f"{label}/{proto.name or number}"
        while name in taken or rewriter.fresh_node(name) != name:
            name += "_"
        taken.add(name)
        inputs, outputs = (
            tuple(named.get(item, item) for item in names) for names in (proto.input, proto.output)
        )
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        inner = tuple(renamed_inside(item, named) for item in opaque)
        found.append(Node(name, proto.op_type, inputs, outputs, attributes, domain, None, inner))
    return found


def renamed_inside(opaque: bytes, named: Mapping[str, str]) -> bytes:
    """An attribute whose graphs read the same tensors under other names; they define none of these
    themselves."""
    attribute = onnx.AttributeProto.FromString(opaque)
    waiting = [attribute.g, *attribute.graphs]
    while waiting:
        graph = waiting.pop()
        for proto in graph.node:
            for position, name in enumerate(proto.input):
                proto.input[position] = named.get(name, name)
            for inner in proto.attribute:
                waiting += [inner.g, *inner.graphs]
        for value in graph.output:
            value.name = named.get(value.name, value.name)
    renamed: bytes = attribute.SerializeToString(deterministic=True)
    return renamed
