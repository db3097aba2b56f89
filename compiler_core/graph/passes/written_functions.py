"""Operators that ONNX itself defines by others, written as those.

Attention, RMSNormalization, RotaryEmbedding, losses and windows are functions of the standard: each
comes with a body of plainer operators for the types and attributes at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import onnx
from onnx import helper, inliner

from compiler_core.errors import InputError
from compiler_core.graph.exporter import write_model
from compiler_core.graph.extract import Extractor
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.constant_branches import renamed_inside
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_LOCAL = "body"


@dataclass(frozen=True)
class WrittenFunctions:
    """Operators become their bodies.

    Args:
        operators: Their names.
    """

    operators: frozenset[str]
    name: ClassVar[str] = "written-functions"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`compiler_core.graph.passes.rewriter.GraphPass`."""
        wanted = [n for n in graph.nodes if is_op(n, *self.operators) and n.clip is None]
        if not wanted:
            return graph
        work, parts = Rewriter(graph), Extractor(graph)
        for node in wanted:
            body = _body(parts.part([node]), node)
            if body is not None:
                _put(work, node, body)
        return work.finish()


def _body(part: Graph, node: Node) -> Graph | None:
    """The graph of a function's body; ``None`` where it has none that helps."""
    used = tuple(name for name in node.outputs if name in set(part.outputs))
    if any(name not in part.types for name in part.inputs) or not used:
        return None
    model = write_model(replace(part, outputs=used))
    for name, array in part.constants.items():  # the types of which it wants to be told
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        model.graph.value_info.append(helper.make_tensor_value_info(name, kind, array.shape))
    try:
        whole = _inlined(model, node)
        if any(one.op_type == node.op for one in whole.graph.node):
            return None
        return import_model(whole)
    except (InputError, RuntimeError, onnx.checker.ValidationError, ValueError):
        return None


def _inlined(model: onnx.ModelProto, node: Node) -> onnx.ModelProto:
    """A model of one node with the body in its place.

    onnx asks for the types of inputs that are left out, too, unless they come last: there the body
    is asked for and put in as a function of the model.

    Raises:
        RuntimeError: There is no body.
    """
    if all(node.inputs):
        return inliner.inline_selected_functions(
            model, [("", node.op)], inline_schema_functions=True
        )
    opset = next(item.version for item in model.opset_import if not item.domain)
    schema: Any = onnx.defs.get_schema(node.op, opset, "")
    known = {value.name: value.type for value in (*model.graph.input, *model.graph.value_info)}
    types = [known[n].SerializeToString() if n else b"" for n in model.graph.node[0].input]
    versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
    if not versions or len(model.graph.node) != 1:
        raise RuntimeError(f"{node.op} has no body")
    body = schema.get_context_dependent_function_with_opset_version(
        max(versions), model.graph.node[0].SerializeToString(), types
    )
    function = onnx.FunctionProto.FromString(body)
    function.domain = model.graph.node[0].domain = _LOCAL
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid(_LOCAL, 1))
    return inliner.inline_local_functions(model)


def _put(work: Rewriter, node: Node, body: Graph) -> None:
    """Replaces a node by its body, whose names get the node's before them."""
    own = {*body.inputs, *body.outputs}
    names: dict[str, str] = {}
    for name in (*body.constants, *(name for one in body.nodes for name in one.outputs)):
        if name and name not in own and name not in node.inputs:
            names[name] = work.fresh(f"{node.name}/{name}")
    for name, array in body.constants.items():
        if name in names:
            work.constants[names[name]] = array
    for name, known in body.types.items():
        if name in names:
            work.types[names[name]] = known
    written = []
    for one in body.nodes:
        fresh = work.fresh_node(f"{node.name}/{one.name}")
        inputs, outputs = _named(one.inputs, names), _named(one.outputs, names)
        opaque = tuple(renamed_inside(item, names) for item in one.opaque)
        written.append(replace(one, name=fresh, inputs=inputs, outputs=outputs, opaque=opaque))
    work.replace(node, *written)


def _named(tensors: tuple[str, ...], names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(names.get(name, name) for name in tensors)
