"""Models whose float results have the same bits on every x86-64 processor with AVX2 and FMA.

Statistics of float runs decide integers: a sum that differs in its last bit may tip a weight or a
bias that lies next to a tie. onnxruntime's kernels for wider vectors add in the same order as those
for narrower ones, with two exceptions: convolutions over blocks of channels, which its optimizer
chooses from the level of layouts on, and Softmax, whose sums have as many parts as a vector has
lanes.

| operator | becomes |
|---|---|
| Softmax | ``e / ReduceSum(e)`` of ``e = Exp(x - ReduceMax(x))`` |
| LogSoftmax | ``y - Log(ReduceSum(Exp(y)))`` of ``y = x - ReduceMax(x)`` |

Before opset 13 both are of all axes from theirs on: Flatten before them, Reshape behind.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import helper

_ONE_AXIS_OPSET = 13
"""Softmax is along one axis, and ReduceSum takes its axes as an input, from here on."""
_MAXIMUM_AXES_OPSET = 18
"""As ReduceMax does from here on."""
_INTEGERS = frozenset(["QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"])


def computes_integers(model: onnx.ModelProto) -> bool:
    """Whether an optimizer may find integer kernels for it: what those compute is the question."""
    return any(node.op_type in _INTEGERS for node in model.graph.node)


def spell_softmax(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Write the Softmax operators of the main graph by their parts, in place.

    Returns:
        The nodes of before, to put back; none where nothing was changed.
    """
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    nodes = list(model.graph.node)
    found = [
        not node.domain and node.op_type in ("Softmax", "LogSoftmax") and bool(node.output)
        for node in nodes
    ]
    if not any(found) or not opset:
        return []
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    spelled: list[onnx.NodeProto] = []
    for place, node in enumerate(nodes):
        if found[place]:
            spelled += _Spelling(model.graph, node, f"portable/{place}", opset).nodes()
        else:
            spelled.append(node)
    set_nodes(model, spelled)
    return nodes


def set_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    """Put other nodes into the main graph."""
    del model.graph.node[:]
    model.graph.node.extend(nodes)


class _Spelling:
    def __init__(self, graph: onnx.GraphProto, node: onnx.NodeProto, name: str, opset: int) -> None:
        self._node, self._name, self._opset = node, name, opset
        self._whole = opset < _ONE_AXIS_OPSET
        axis = next((item.i for item in node.attribute if item.name == "axis"), None)
        self._given = (1 if self._whole else -1) if axis is None else axis
        self._axis = 1 if self._whole else self._given
        if not self._whole:
            axes = helper.make_tensor(f"{name}/axes", onnx.TensorProto.INT64, [1], [self._axis])
            graph.initializer.append(axes)

    def nodes(self) -> Iterator[onnx.NodeProto]:
        """What stands in the place of the node."""
        source, result = self._node.input[0], self._node.output[0]
        x, y = source, result
        if self._whole:
            x, y = f"{self._name}/rows", f"{self._name}/scores"
            yield helper.make_node("Flatten", [source], [x], axis=self._given)
        yield self._over("ReduceMax", x, "most", self._opset >= _MAXIMUM_AXES_OPSET)
        yield self._make("Sub", [x, f"{self._name}/most"], "less")
        yield self._make("Exp", [f"{self._name}/less"], "powers")
        total = f"{self._name}/total"
        yield self._over("ReduceSum", f"{self._name}/powers", "total", not self._whole)
        if self._node.op_type == "Softmax":
            yield helper.make_node("Div", [f"{self._name}/powers", total], [y])
        else:
            yield self._make("Log", [total], "log")
            yield helper.make_node("Sub", [f"{self._name}/less", f"{self._name}/log"], [y])
        if self._whole:
            yield self._make("Shape", [source], "shape")
            yield helper.make_node("Reshape", [y, f"{self._name}/shape"], [result])

    def _make(self, op: str, inputs: list[str], what: str) -> onnx.NodeProto:
        return helper.make_node(op, inputs, [f"{self._name}/{what}"])

    def _over(self, op: str, x: str, what: str, as_input: bool) -> onnx.NodeProto:
        if as_input:
            return self._make(op, [x, f"{self._name}/axes"], what)
        return helper.make_node(op, [x], [f"{self._name}/{what}"], axes=[self._axis])
