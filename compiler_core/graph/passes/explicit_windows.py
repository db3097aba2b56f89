"""Windows of convolutions and pools spelled out: pads instead of auto_pad, no ceil_mode."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_DILATED_SINCE = {"MaxPool": 10}
"""Operator sets whose pools have dilations; an average's, of 19 on, are spelled out nowhere."""


@dataclass(frozen=True)
class ExplicitWindows:
    """Give Conv, MaxPool and AveragePool all of kernel_shape, strides, dilations, pads (and group).

    ``auto_pad`` becomes pads (formula of the ONNX operator definitions). ``ceil_mode`` becomes pads
    at the end where padding takes no part in the result: for MaxPool, and for AveragePool that does
    not count it; where it adds no window, it goes.
    """

    name: ClassVar[str] = "explicit-windows"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if is_op(node, "Conv", "MaxPool", "AveragePool"):
                attributes = _explicit(rewriter, node)
                if attributes is not None and attributes != dict(node.attributes):
                    rewriter.replace(node, replace(node, attributes=attributes))
        return rewriter.finish()


def _explicit(rewriter: Rewriter, node: Node) -> dict[str, Any] | None:
    shape = rewriter.shape(node.inputs[0])
    kernel = node.attributes.get("kernel_shape")
    if kernel is None and node.op == "Conv":
        weight = rewriter.shape(node.inputs[1])
        kernel = None if weight is None else weight[2:]
    if kernel is None or shape is None or len(shape) != len(kernel) + 2:
        return None
    attributes = dict(node.attributes)
    ones = (1,) * len(kernel)
    strides = attributes.setdefault("strides", ones)
    opset = rewriter.graph.opsets.get("", 0)
    undilated = node.op == "AveragePool" or opset < _DILATED_SINCE.get(node.op, 0)
    if undilated and "dilations" not in attributes:
        dilations = ones
    else:
        dilations = attributes.setdefault("dilations", ones)
    if not len(kernel) == len(strides) == len(dilations):
        return None  # onnxruntime says what is wrong with it
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    attributes["kernel_shape"] = kernel
    auto_pad = attributes.pop("auto_pad", "NOTSET")
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        attributes["pads"] = _same_pads(shape[2:], reach, strides, lower=auto_pad == "SAME_LOWER")
        attributes.pop("ceil_mode", None)
    elif auto_pad == "VALID":
        attributes["pads"] = (0, 0) * len(kernel)
    else:
        attributes.setdefault("pads", (0, 0) * len(kernel))
    if node.op == "Conv":
        attributes.setdefault("group", 1)
    if node.op == "AveragePool":
        attributes.setdefault("count_include_pad", 0)
    if not attributes.get("ceil_mode", 0):
        attributes.pop("ceil_mode", None)
    else:
        _resolve_ceil(rewriter, node, attributes, reach)
    return attributes


def _same_pads(
    size: tuple[int, ...], reach: tuple[int, ...], strides: tuple[int, ...], *, lower: bool
) -> tuple[int, ...]:
    begins, ends = [], []
    for length, window, stride in zip(size, reach, strides, strict=True):
        total = max(0, (-(-length // stride) - 1) * stride + window - length)
        small, large = total // 2, total - total // 2
        begins.append(large if lower else small)
        ends.append(small if lower else large)
    return (*begins, *ends)


def _resolve_ceil(
    rewriter: Rewriter, node: Node, attributes: dict[str, Any], reach: tuple[int, ...]
) -> None:
    size, result = rewriter.shape(node.inputs[0]), rewriter.shape(node.output)
    if size is None or result is None:
        return
    axes = len(reach)
    pads = list(attributes["pads"])
    for axis in range(axes):
        needed = (result[2 + axis] - 1) * attributes["strides"][axis] + reach[axis]
        missing = needed - (size[2 + axis] + pads[axis] + pads[axes + axis])
        pads[axes + axis] += max(0, missing)
        # Runtimes refuse a pad as large as the kernel: such a window would see padding only.
        if pads[axes + axis] >= attributes["kernel_shape"][axis]:
            return
    if attributes.get("count_include_pad", 0) and tuple(pads) != tuple(attributes["pads"]):
        return  # what the file states is counted, what is added here must not be
    attributes["pads"] = tuple(pads)
    del attributes["ceil_mode"]
