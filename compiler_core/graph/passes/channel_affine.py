"""A constant scale or shift per channel folded into the layer before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node
from compiler_core.graph.passes.rewriter import FLOATS, Rewriter, is_op


@dataclass(frozen=True)
class ChannelAffineFolding:
    """Fold Add, Sub, Mul, Div by a constant per channel into the layer before.

    Layers are Conv, ConvTranspose, Dense and BatchNormalization.

    Bias additions that an exporter wrote as their own Add end up as the layer's bias.
    """

    name: ClassVar[str] = "channel-affine-folding"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if not is_op(node, "Add", "Sub", "Mul", "Div"):
                continue
            for position in (0, 1) if node.op in ("Add", "Mul") else (0,):
                producer = rewriter.producer(node.inputs[position])
                value = rewriter.constant(node, 1 - position)
                if producer is None or value is None or not is_foldable(rewriter, producer):
                    continue
                channels = _per_channel(rewriter, producer, node, value)
                if channels is not None and fold_affine(
                    rewriter, producer, node, *_scale_shift(node.op, channels)
                ):
                    break
        return rewriter.finish()


def is_foldable(rewriter: Rewriter, producer: Node) -> bool:
    """Whether ``producer`` has constant parameters and one reader, so that they may change."""
    if producer.clip is not None or not rewriter.private(producer.output):
        return False
    if rewriter.dtype(producer.output) not in FLOATS:
        return False
    if is_op(producer, "Conv", "ConvTranspose") or producer.domain == NEST_DOMAIN:
        bias_given = len(producer.inputs) > 2 and bool(producer.inputs[2])
        if bias_given and rewriter.constant(producer, 2) is None:
            return False
        return rewriter.constant(producer, 1) is not None
    if is_op(producer, "BatchNormalization") and not any(producer.outputs[1:]):
        constant = all(rewriter.constant(producer, position) is not None for position in (1, 2))
        return constant and not producer.attributes.get("training_mode", 0)
    return False


def fold_affine(
    rewriter: Rewriter,
    producer: Node,
    node: Node,
    scale: npt.NDArray[np.float64],
    shift: npt.NDArray[np.float64],
) -> bool:
    """Let ``producer`` compute ``producer(x) * scale + shift`` per channel and drop ``node``.

    ``node`` reads what ``producer`` computes, or a view of it that keeps each value's channel.

    Returns:
        ``False``, with nothing changed, where the folded parameters overflow, names forbid or the
        layer has other channels.
    """
    dtype = np.dtype(rewriter.dtype(producer.output) or "float32")
    weight = np.asarray(rewriter.constants[producer.inputs[1]], np.float64)
    given = rewriter.constant(producer, 2)
    bias = np.zeros(scale.size) if given is None else np.asarray(given, np.float64)
    if bias.shape != scale.shape or scale.size != _channels(producer, weight.shape):
        return False
    factor = _of_weights(producer, weight.shape, scale)
    with np.errstate(over="ignore", invalid="ignore"):
        new_weight = (weight * factor).astype(dtype)
        new_bias = (bias * scale + shift).astype(dtype)
    if not (np.isfinite(new_weight).all() and np.isfinite(new_bias).all()):
        return False
    output = node.output if producer.output in node.inputs else producer.output
    if output == producer.output and not rewriter.bypass(node, node.inputs[0]):
        return False
    inputs = list(producer.inputs)
    if np.any(scale != 1):
        inputs[1] = rewriter.add_constant(inputs[1], new_weight)
    if given is not None or new_bias.any():  # a bias of zeros would go with the next import
        inputs[2:3] = [rewriter.add_constant(f"{producer.name}/bias", new_bias)]
    outputs = (output, *producer.outputs[1:])
    folded = replace(producer, inputs=tuple(inputs), outputs=outputs, clip=node.clip)
    if output == node.output:
        rewriter.remove(node)
    rewriter.replace(producer, folded)
    return True


def _channels(producer: Node, shape: tuple[int, ...]) -> int:
    """Output channels of a layer, by its weights."""
    if is_op(producer, "ConvTranspose"):
        return shape[1] * int(producer.attributes.get("group", 1))
    return shape[-1 if producer.domain == NEST_DOMAIN else 0]


def _of_weights(
    producer: Node, shape: tuple[int, ...], scale: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """``scale`` per output channel, shaped so that it multiplies weights of ``shape``."""
    if producer.domain == NEST_DOMAIN:
        return scale
    along = (1,) * (len(shape) - 1)
    if producer.op != "ConvTranspose":
        return scale.reshape(-1, *along)
    # [I, O / groups, ...]: the inputs of a group lead to its outputs alone.
    groups = int(producer.attributes.get("group", 1))
    per_group = scale.reshape(groups, 1, -1)
    every = np.repeat(per_group, shape[0] // groups, axis=1)
    return every.reshape(shape[0], -1, *along[1:])


def _per_channel(
    rewriter: Rewriter, producer: Node, node: Node, value: npt.NDArray[Any]
) -> npt.NDArray[np.float64] | None:
    """``value`` as one number per output channel of ``producer``."""
    shape = rewriter.shape(producer.output)
    if shape is None or rewriter.shape(node.output) != shape or value.ndim > len(shape):
        return None
    axis = len(shape) - 1 if producer.domain == NEST_DOMAIN else 1
    if len(shape) <= axis:
        return None
    full = (1,) * (len(shape) - value.ndim) + value.shape
    if any(size != 1 for position, size in enumerate(full) if position != axis):
        return None
    flat = np.asarray(value, np.float64).ravel()
    if flat.size not in (1, shape[axis]):  # shapes that contradict each other
        return None
    return np.array(np.broadcast_to(flat, (shape[axis],)))


def _scale_shift(
    op: str, value: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    ones, zeros = np.ones_like(value), np.zeros_like(value)
    if op == "Add":
        return ones, value
    if op == "Sub":
        return ones, -value
    if op == "Mul":
        return value, zeros
    with np.errstate(divide="ignore"):
        return 1 / value, zeros
