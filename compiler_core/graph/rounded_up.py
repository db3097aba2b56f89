"""Pools whose size is rounded up, stated so that shape inference finds the size that runtimes give.

| symbol | meaning |
|---|---|
| ``b``, ``e`` | padding at the begin and at the end of an axis |
| ``s``, ``r`` | stride; reach of the window, ``(kernel - 1) * dilation + 1`` |

The size is ``ceil((size + b + e - r) / s) + 1``, less a last window that begins behind the input
and ``b``, which several versions of inference count. Both together are the size rounded down with
``min(e + s - 1, r - 1)`` at the end, whatever the input's size is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

_POOLS = frozenset(("AveragePool", "LpPool", "MaxPool"))
_DOMAINS = ("", "ai.onnx")


def round_sizes_down(model: onnx.ModelProto) -> None:
    """Changes the pools of ``model`` that have ``ceil_mode``; its values are no longer right."""
    functions = (node for function in model.functions for node in _all(function.node))
    for node in (*_all(model.graph.node), *functions):
        if node.op_type in _POOLS and node.domain in _DOMAINS:
            _round_down(node)


def _all(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    waiting = [*nodes]
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            waiting.extend(attribute.g.node)
            waiting.extend(inner for graph in attribute.graphs for inner in graph.node)


def _round_down(node: onnx.NodeProto) -> None:
    known = {item.name: item for item in node.attribute}
    if "ceil_mode" not in known or not known["ceil_mode"].i or "kernel_shape" not in known:
        return
    if "auto_pad" in known and known["auto_pad"].s not in (b"NOTSET", b"VALID"):
        node.attribute.remove(known["ceil_mode"])  # pads follow from the size: nothing to round
        return
    kernel = [*known["kernel_shape"].ints]
    axes = len(kernel)
    stated = {name: [*known[name].ints] if name in known else [] for name in _SIZES}
    strides, dilations = stated["strides"] or [1] * axes, stated["dilations"] or [1] * axes
    pads = stated["pads"] or [0] * 2 * axes
    if not len(strides) == len(dilations) == len(pads) / 2 == axes:
        return  # onnxruntime says what is wrong with it
    for axis in range(axes):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        pads[axes + axis] = min(pads[axes + axis] + strides[axis] - 1, reach - 1)
    kept = [item for item in node.attribute if item.name not in ("ceil_mode", "auto_pad", "pads")]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute("pads", pads)])


_SIZES = ("strides", "dilations", "pads")
