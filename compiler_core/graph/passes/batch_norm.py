"""Batch normalization in inference folded into the convolution or dense layer before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node
from compiler_core.graph.passes.channel_affine import fold_affine, is_foldable
from compiler_core.graph.passes.rewriter import Rewriter, is_op


@dataclass(frozen=True)
class BatchNormFolding:
    """``conv(x) * a + b`` with ``a = scale / sqrt(variance + epsilon)`` becomes one convolution.

    Only where nothing else reads the convolution's result and every parameter is constant. The
    parameters are computed in float64 and rounded once. Between a dense layer over tokens and its
    normalization, exporters join the leading axes.
    """

    name: ClassVar[str] = "batch-norm-folding"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            affine = batch_norm_affine(rewriter, node)
            producer = _normalized(rewriter, node.inputs[0]) if affine is not None else None
            if affine is None or producer is None or not is_foldable(rewriter, producer):
                continue
            # For x[batch, features] the channel axis of both is the last one.
            shape = rewriter.shape(node.output)
            if producer.op == "Dense" and (shape is None or len(shape) != 2):
                continue
            fold_affine(rewriter, producer, node, *affine)
        return rewriter.finish()


def _normalized(rewriter: Rewriter, name: str) -> Node | None:
    """The layer that computes a tensor; of ``x[rows, features]`` that are tokens with their leading
    axes joined, the dense layer before that."""
    producer = rewriter.producer(name)
    if producer is None or not is_op(producer, "Reshape") or not rewriter.private(name):
        return producer
    layer = rewriter.producer(producer.inputs[0])
    if layer is None or layer.op != "Dense" or layer.domain != NEST_DOMAIN:
        return producer
    shape, before = rewriter.shape(name), rewriter.shape(layer.output)
    if shape is None or before is None or len(shape) != 2 or shape[-1] != before[-1]:
        return producer
    return layer


@dataclass(frozen=True)
class BatchNormToConv:
    """A batch normalization of ``[N, C, H, W]`` that is left becomes a depthwise 1x1 convolution.

    So that it runs where convolutions run, as in networks that normalize before they convolve.
    """

    name: ClassVar[str] = "batch-norm-to-conv"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            affine = batch_norm_affine(rewriter, node)
            shape = rewriter.shape(node.output)
            if affine is None or shape is None or len(shape) != 4:
                continue
            dtype = np.dtype(rewriter.dtype(node.output) or "float32")
            scale, shift = (values.astype(dtype) for values in affine)
            weight = rewriter.add_constant(f"{node.name}/scale", scale.reshape(-1, 1, 1, 1))
            bias = rewriter.add_constant(f"{node.name}/shift", shift)
            attributes: dict[str, Any] = {
                "dilations": (1, 1),
                "group": scale.size,
                "kernel_shape": (1, 1),
                "pads": (0, 0, 0, 0),
                "strides": (1, 1),
            }
            inputs = (node.inputs[0], weight, bias)
            conv = replace(
                node, op="Conv", inputs=inputs, outputs=node.outputs[:1], attributes=attributes
            )
            rewriter.replace(node, conv)
        return rewriter.finish()


def batch_norm_affine(
    rewriter: Rewriter, node: Node
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """``(scale, shift)`` per channel of an inference batch normalization with constant parameters.

    ``None`` for anything else.
    """
    if not is_op(node, "BatchNormalization") or any(node.outputs[1:]):
        return None
    if node.attributes.get("training_mode", 0) or not node.attributes.get("spatial", 1):
        return None
    parameters = [rewriter.constant(node, position) for position in range(1, 5)]
    if any(array is None or array.ndim != 1 for array in parameters):
        return None
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in parameters)
    scale = gamma / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    if not np.isfinite(scale).all():
        return None
    return scale, beta - mean * scale
