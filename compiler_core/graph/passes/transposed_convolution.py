"""Transposed convolutions become convolutions whose outputs interleave.

With stride ``s`` an output ``s * i + r`` is a sum over few inputs around ``i``, by weights that
depend on ``r`` alone. So one convolution computes all ``s * s`` phases as channels of their own,
and DepthToSpace puts them side by side: nothing is multiplied by the zeros that the definition of
ONNX has between the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_SLICE_INPUTS_OPSET = 10
_Floats = npt.NDArray[Any]


@dataclass(frozen=True)
class Phases:
    """One axis of a transposed convolution as a convolution of phases.

    ``y[stride * i + r - cut] = sum(x[i + t] * w[r + offset - stride * t])`` for ``t`` from
    ``first`` on, ``taps`` of them.

    Attributes:
        stride: Phases.
        first, taps: Inputs that some phase reads.
        offset: Of the weights.
        cut: Outputs before the first that is wanted.
        count: Outputs of each phase.
        pads: Zeros before and after the inputs.
    """

    stride: int
    first: int
    taps: int
    offset: int
    cut: int
    count: int
    pads: tuple[int, int]


def phases_of(size: int, kernel: int, stride: int, pad: int, result: int) -> Phases | None:
    """The phases with the fewest taps; of equal ones those that cut nothing off in front.

    Args:
        size: Of the input.
        kernel: Weights.
        stride: Of the outputs that neighbouring inputs begin at.
        pad: Outputs that are cut off in front.
        result: Outputs that are left.
    """
    found = []
    for cut in range(stride):
        offset = pad - cut
        first = -((kernel - 1 - offset) // stride)
        last = (stride - 1 + offset) // stride
        count = -(-(result + cut) // stride)
        pads = -first, count - 1 + last - (size - 1)
        if min(pads) >= 0:
            found.append(Phases(stride, first, last - first + 1, offset, cut, count, pads))
    return min(found, key=lambda item: (item.taps, item.cut), default=None)


@dataclass(frozen=True)
class TransposedConvolution:
    """Unify ConvTranspose over images, of one group and equal strides, with convolutions."""

    name: ClassVar[str] = "transposed-convolution"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            if is_op(node, "ConvTranspose"):
                _interleave(rewriter, node)
        return rewriter.finish()


def _interleave(rewriter: Rewriter, node: Node) -> None:
    weight = rewriter.constant(node, 1)
    has_bias = len(node.inputs) > 2 and bool(node.inputs[2])
    bias = rewriter.constant(node, 2) if has_bias else None
    source, result = rewriter.shape(node.inputs[0]), rewriter.shape(node.output)
    if weight is None or weight.ndim != 4 or (has_bias and bias is None):
        return
    if source is None or result is None or len(source) != 4 or not _is_plain(node):
        return
    strides = tuple(node.attributes.get("strides") or (1, 1))
    pads = tuple(node.attributes.get("pads") or (0, 0, 0, 0))
    axes = [
        phases_of(source[2 + at], weight.shape[2 + at], strides[at], pads[at], result[2 + at])
        for at in range(2)
    ]
    rows, columns = axes
    if rows is None or columns is None or rows.stride != columns.stride:
        return
    cut = (rows.cut, columns.cut) != (0, 0) or any(
        axis.count * axis.stride != size + axis.cut
        for axis, size in ((rows, result[2]), (columns, result[3]))
    )
    if cut and rewriter.graph.opsets.get("", _SLICE_INPUTS_OPSET) < _SLICE_INPUTS_OPSET:
        return
    _write(rewriter, node, phase_weights(weight, rows, columns), bias, (rows, columns), cut=cut)


def _is_plain(node: Node) -> bool:
    known = node.attributes
    if known.get("group", 1) != 1 or "output_shape" in known:
        return False
    if known.get("auto_pad", "NOTSET") not in ("NOTSET", b"NOTSET"):
        return False
    pads = tuple(known.get("pads") or ())
    return set(known.get("dilations") or (1,)) == {1} and min(pads, default=0) >= 0


def phase_weights(weight: _Floats, rows: Phases, columns: Phases) -> _Floats:
    """``[phases * O, I, taps, taps]`` of a convolution, phases row by row.

    Args:
        weight: ``[I, O, kh, kw]`` of the transposed one.
        rows, columns: Its axes.
    """
    inputs, outputs = weight.shape[:2]
    shape = (rows.stride, columns.stride, outputs, inputs, rows.taps, columns.taps)
    found = np.zeros(shape, weight.dtype)
    for row in range(rows.stride):
        for column in range(columns.stride):
            for above in range(rows.taps):
                for left in range(columns.taps):
                    at = row + rows.offset - rows.stride * (rows.first + above)
                    to = column + columns.offset - columns.stride * (columns.first + left)
                    if 0 <= at < weight.shape[2] and 0 <= to < weight.shape[3]:
                        found[row, column, :, :, above, left] = weight[:, :, at, to].T
    return found.reshape(-1, *shape[3:])


def _write(
    rewriter: Rewriter,
    node: Node,
    weight: _Floats,
    bias: _Floats | None,
    axes: tuple[Phases, Phases],
    *,
    cut: bool,
) -> None:
    rows, columns = axes
    batch, outputs, *sizes = rewriter.shape(node.output) or ()
    stride = rows.stride
    inputs = [node.inputs[0], rewriter.add_constant(f"{node.inputs[1]}/phases", weight)]
    if bias is not None:
        every = np.tile(bias.reshape(-1), stride * stride)
        inputs.append(rewriter.add_constant(f"{node.inputs[2]}/phases", every))
    conv = {
        "kernel_shape": (rows.taps, columns.taps),
        "strides": (1, 1),
        "dilations": (1, 1),
        "group": 1,
        "pads": (rows.pads[0], columns.pads[0], rows.pads[1], columns.pads[1]),
    }
    steps = []
    written = node.output
    if stride > 1 or cut:
        shape = (batch, outputs * stride * stride, rows.count, columns.count)
        written = rewriter.add_tensor(f"{node.output}/phases", shape, node.output)
    steps.append(Node(node.name, "Conv", tuple(inputs), (written,), conv, "", node.clip))
    if stride > 1:
        whole = node.output
        if cut:
            shape = (batch, outputs, rows.count * stride, columns.count * stride)
            whole = rewriter.add_tensor(f"{node.output}/whole", shape, node.output)
        name = rewriter.fresh_node(f"{node.name}/interleave")
        mode = {"blocksize": stride}
        steps.append(Node(name, "DepthToSpace", (written,), (whole,), mode))
        written = whole
    if cut:
        starts = np.array([rows.cut, columns.cut], np.int64)
        bounds = {"starts": starts, "ends": starts + np.array(sizes), "axes": np.array([2, 3])}
        names = [rewriter.add_constant(f"{node.name}/{k}", v) for k, v in bounds.items()]
        name = rewriter.fresh_node(f"{node.name}/cut")
        steps.append(Node(name, "Slice", (written, *names), (node.output,)))
    rewriter.replace(node, *steps)
