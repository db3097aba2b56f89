"""Layers whose channels onnxruntime keeps in blocks become those of the standard again.

A model that was saved after all of its optimizations holds convolutions and pools of a domain of
their own, which no shape inference knows. Their tensors are ``[N, C, H, W]`` with channels up to
whole blocks, which lie together in memory; only weights, as constants, have to be put in order.

| symbol | meaning |
|---|---|
| ``B`` | channels of a block, as many as the vectors of the machine that saved the model hold |
| ``M, C`` | output and input channels, in whole blocks |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter
from compiler_core.graph.runtime import open_session

_DOMAIN = "com.microsoft.nchwc"
_AMOUNTS_AS_INPUTS = 11
"""Of Pad, Slice and Resize."""
_ACTIVATIONS = ("", "Relu", "Tanh", "Sigmoid", "LeakyRelu", "HardSigmoid", "HardSwish", "Clip")
_LAYOUT = ("activation", "activation_params")


@dataclass(frozen=True)
class BlockedChannels:
    """Write onnxruntime's convolutions, pools and resizes over blocks of channels as those of the
    standard, over all channels of whole blocks."""

    name: ClassVar[str] = "blocked-channels"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        found = [node for node in graph.nodes if node.domain == _DOMAIN]
        if not found or graph.opsets.get("", 0) < _AMOUNTS_AS_INPUTS:
            return graph
        rewriter = Rewriter(graph)
        if not all(_is_known(rewriter, node) for node in found):
            return graph
        for node in found:
            _WAYS[node.op](rewriter, node)
        # What is fused with a convolution is taken apart by another pass.
        return replace(rewriter.finish(), opsets={**graph.opsets, "com.microsoft": 1})


def _is_known(rewriter: Rewriter, node: Node) -> bool:
    """Whether a node can be written: all of a graph are, or none, as tensors differ in memory."""
    if node.op not in _WAYS or not all(node.inputs[:1]):
        return False
    if node.op == "ReorderOutput":
        return int(node.attributes.get("channels", 0)) > 0
    if node.op == "Upsample":
        return len(tuple(node.attributes.get("scales", ()))) == 4
    if node.op != "Conv":
        return True
    weight = rewriter.constant(node, 1)
    known = node.attributes.get("activation", "") in _ACTIVATIONS
    return known and weight is not None and weight.ndim == 4 and weight.shape[0] % _block() == 0


@cache
def _block() -> int:
    """Channels of a block here: a model with others is none that onnxruntime computes here."""
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy"]
    node = helper.make_node("ReorderInput", ["x"], ["y"], domain=_DOMAIN, channels_last=0)
    graph = helper.make_graph([node], "probe", ports[:1], ports[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(_DOMAIN, 1)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = open_session(model, portable=False)
    return int(session.run(None, {"x": np.zeros((1, 4, 1, 1), np.float32)})[0].shape[1])


def _convolution(rewriter: Rewriter, node: Node) -> None:
    weight = _ordered(rewriter.constants[node.inputs[1]])
    name = rewriter.add_constant(f"{node.inputs[1]}/plain", weight)
    attributes = dict(node.attributes)
    inputs = (node.inputs[0], name, *node.inputs[2:])
    plain = not attributes.get("activation") and not any(inputs[3:])
    if plain:
        attributes = {key: value for key, value in attributes.items() if key not in _LAYOUT}
        made = replace(node, domain="", inputs=inputs[:3], attributes=attributes)
    else:
        made = replace(node, op="FusedConv", domain="com.microsoft", inputs=inputs)
    rewriter.replace(node, made)


def _ordered(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Weights ``[M, C / groups, h, w]`` in the order of memory that this shape says."""
    block, (outputs, inputs, *kernel) = _block(), weight.shape
    if inputs % block:  # of an image, or one for each channel: only outputs are in blocks
        parts = weight.reshape(outputs // block, inputs, *kernel, block)
        return parts.transpose(0, 4, 1, 2, 3).reshape(weight.shape)
    parts = weight.reshape(outputs // block, inputs // block, *kernel, block, block)
    return parts.transpose(0, 5, 1, 4, 2, 3).reshape(weight.shape)


def _same(rewriter: Rewriter, node: Node) -> None:
    """A pool, which takes every channel alike."""
    rewriter.replace(node, replace(node, domain=""))


def _resize(rewriter: Rewriter, node: Node) -> None:
    attributes, mode = node.attributes, node.text("mode", "nearest")
    places = node.text("coordinate_transformation_mode", "asymmetric")
    own = {"mode": mode, "coordinate_transformation_mode": places}
    if mode == "nearest":
        own["nearest_mode"] = str(attributes.get("nearest_mode", "floor"))
    sizes = rewriter.add_constant(f"{node.name}/scales", np.array(attributes["scales"], np.float32))
    region = rewriter.add_constant(f"{node.name}/region", np.zeros(0, np.float32))
    made = Node(node.name, "Resize", (node.inputs[0], region, sizes), node.outputs, own)
    rewriter.replace(node, made)


def _into_blocks(rewriter: Rewriter, node: Node) -> None:
    """Channels up to whole blocks are zero; how many they are may be known only later."""
    source, nodes = node.inputs[0], list[Node]()

    def add(op: str, *inputs: str, **attributes: Any) -> str:
        wanted = f"{node.name}/{op.lower()}"
        result = rewriter.fresh(wanted)
        own = Node(rewriter.fresh_node(f"{wanted}{len(nodes)}"), op, inputs, (result,), attributes)
        nodes.append(own)
        return result

    def number(*values: int) -> str:
        return rewriter.add_constant(f"{node.name}/number", np.array(values, np.int64))

    if node.attributes.get("channels_last"):
        source = add("Transpose", source, perm=(0, 3, 1, 2))
    channels = add("Gather", add("Shape", source), number(1))
    more = add("Mod", add("Neg", channels), number(_block()))
    amounts = add("Concat", number(0, 0, 0, 0, 0), more, number(0, 0), axis=0)
    nodes.append(Node(node.name, "Pad", (source, amounts), node.outputs))
    rewriter.replace(node, *nodes)


def _out_of_blocks(rewriter: Rewriter, node: Node) -> None:
    source, channels = node.inputs[0], int(node.attributes["channels"])
    nodes, target = [], node.output
    if channels % _block() and not _trimmed(rewriter, source, channels):
        limits = {"starts": 0, "ends": channels, "axes": 1}
        given = [
            rewriter.add_constant(f"{node.name}/{key}", np.array([value], np.int64))
            for key, value in limits.items()
        ]
        cut = rewriter.fresh(f"{node.output}/cut")
        nodes.append(
            Node(rewriter.fresh_node(f"{node.name}/cut"), "Slice", (source, *given), (cut,))
        )
        source = cut
    if node.attributes.get("channels_last"):
        nodes.append(Node(node.name, "Transpose", (source,), (target,), {"perm": (0, 2, 3, 1)}))
    else:
        nodes.append(Node(node.name, "Identity", (source,), (target,)))
    rewriter.replace(node, *nodes)


def _trimmed(rewriter: Rewriter, tensor: str, channels: int) -> bool:
    """Whether the convolution that computes a tensor for one reader has no others of its channels
    any more."""
    node = rewriter.producer(tensor)
    if node is None or not rewriter.private(tensor) or node.op not in ("Conv", "FusedConv"):
        return False
    weight = rewriter.constant(node, 1)
    if weight is None or node.attributes.get("group", 1) != 1 or any(node.inputs[3:]):
        return False
    names = [rewriter.add_constant(f"{node.inputs[1]}/few", weight[:channels])]
    if any(node.inputs[2:3]):
        bias = rewriter.constant(node, 2)
        if bias is None:
            return False
        names.append(rewriter.add_constant(f"{node.inputs[2]}/few", bias[:channels]))
    rewriter.replace(node, replace(node, inputs=(node.inputs[0], *names)))
    return True


_WAYS: dict[str, Callable[[Rewriter, Node], None]] = {
    "Conv": _convolution,
    **dict.fromkeys(("MaxPool", "GlobalMaxPool", "AveragePool", "GlobalAveragePool"), _same),
    "Upsample": _resize,
    "ReorderInput": _into_blocks,
    "ReorderOutput": _out_of_blocks,
}
