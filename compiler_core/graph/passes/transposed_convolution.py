"""Transposed convolutions become convolutions whose outputs interleave.

With stride ``s`` an output ``s * i + r`` is a sum over few inputs around ``i``, by weights that
depend on ``r`` alone. So one convolution computes all phases of all axes as channels of their own,
and DepthToSpace, or a transposition, puts them side by side: nothing is multiplied by the zeros
that the definition of ONNX has between the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_SLICE_INPUTS_OPSET = 10
_LEAST_OPSET = 11
"""DepthToSpace has two orders from then on."""
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
        result: Outputs that are wanted.
        pads: Zeros before and after the inputs.
    """

    stride: int
    first: int
    taps: int
    offset: int
    cut: int
    count: int
    result: int
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
            found.append(Phases(stride, first, last - first + 1, offset, cut, count, result, pads))
    return min(found, key=lambda item: (item.taps, item.cut), default=None)


@dataclass(frozen=True)
class TransposedConvolution:
    """Unify ConvTranspose over one to three spatial axes with convolutions."""

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
    if weight is None or weight.ndim not in (3, 4, 5) or (has_bias and bias is None):
        return
    if source is None or result is None or len(source) != weight.ndim or not _is_plain(node):
        return
    count = weight.ndim - 2
    strides = tuple(node.attributes.get("strides") or (1,) * count)
    pads = tuple(node.attributes.get("pads") or (0,) * 2 * count)
    found = [
        phases_of(source[2 + at], weight.shape[2 + at], strides[at], pads[at], result[2 + at])
        for at in range(count)
    ]
    axes = tuple(axis for axis in found if axis is not None)
    groups = int(node.attributes.get("group", 1))
    if len(axes) < count or source[1] != len(weight) or len(weight) % groups:
        return
    opset, batch = rewriter.graph.opsets.get("", _LEAST_OPSET), rewriter.leading_size(node.output)
    if batch is None or (opset < _LEAST_OPSET and not _is_old(axes, groups, opset)):
        return
    outputs = weight.shape[1] * groups
    work = _Interleaving(rewriter, node, axes, groups, outputs, batch)
    work.write(phase_weights(weight, axes, groups), bias)


def _is_plain(node: Node) -> bool:
    known = node.attributes
    if "output_shape" in known or node.text("auto_pad", "NOTSET") != "NOTSET":
        return False
    pads = tuple(known.get("pads") or ())
    return set(known.get("dilations") or (1,)) == {1} and min(pads, default=0) >= 0


def _is_old(axes: tuple[Phases, ...], groups: int, opset: int) -> bool:
    """Whether old operator sets have all that it becomes."""
    whole = all(axis.cut == 0 and axis.count * axis.stride == axis.result for axis in axes)
    return groups == 1 and _is_square(axes) and (whole or opset >= _SLICE_INPUTS_OPSET)


def _is_square(axes: tuple[Phases, ...]) -> bool:
    return len(axes) == 2 and axes[0].stride == axes[1].stride


def phase_weights(weight: _Floats, axes: tuple[Phases, ...], groups: int = 1) -> _Floats:
    """``[phases * O, I / groups, taps...]`` of a convolution: phases, row by row, come first where
    there is one group and are blocks, else outputs.

    Args:
        weight: ``[I, O / groups, kernel...]`` of the transposed one.
        axes: Its spatial ones.
        groups: Of it.
    """
    inputs, outputs = len(weight) // groups, weight.shape[1]
    strides, taps = tuple(a.stride for a in axes), tuple(a.taps for a in axes)
    grouped = weight.reshape(groups, inputs, *weight.shape[1:])
    found = np.zeros((*strides, groups, outputs, inputs, *taps), weight.dtype)
    for phase in np.ndindex(*strides):
        for tap in np.ndindex(*taps):
            at = tuple(
                r + axis.offset - axis.stride * (axis.first + t)
                for r, t, axis in zip(phase, tap, axes, strict=True)
            )
            if all(0 <= k < size for k, size in zip(at, weight.shape[2:], strict=True)):
                taken = grouped[(slice(None), slice(None), slice(None), *at)]
                found[(*phase, ..., *tap)] = taken.swapaxes(1, 2)
    if groups > 1 or not _is_square(axes):
        found = np.moveaxis(found, range(len(axes)), range(2, 2 + len(axes)))
    return np.ascontiguousarray(found).reshape(-1, inputs, *taps)


@dataclass(frozen=True)
class _Interleaving:
    """A transposed convolution as nodes.

    Attributes:
        rewriter: Of the graph.
        node: What it is in place of.
        axes: Spatial ones.
        groups, outputs: Of the node.
        batch: As a Reshape names it.
    """

    rewriter: Rewriter
    node: Node
    axes: tuple[Phases, ...]
    groups: int
    outputs: int
    batch: int

    def write(self, weight: _Floats, bias: _Floats | None) -> None:
        """Puts the nodes in its place."""
        node, axes = self.node, self.axes
        strides = [axis.stride for axis in axes]
        phases, wanted = prod(strides), self.rewriter.shape(node.output) or ()
        inputs = [node.inputs[0], self._constant(f"{node.inputs[1]}/phases", weight)]
        if bias is not None:
            flat = bias.reshape(-1)
            first = self.groups == 1 and _is_square(axes)
            every = np.tile(flat, phases) if first else np.repeat(flat, phases)
            inputs.append(self._constant(f"{node.inputs[2]}/phases", every))
        conv = {
            "kernel_shape": tuple(axis.taps for axis in axes),
            "strides": (1,) * len(axes),
            "dilations": (1,) * len(axes),
            "group": self.groups,
            "pads": tuple(axis.pads[side] for side in range(2) for axis in axes),
        }
        counts = [axis.count for axis in axes]
        whole = (wanted[0], self.outputs, *(c * s for c, s in zip(counts, strides, strict=True)))
        cut = whole != wanted or any(axis.cut for axis in axes)
        written = node.output
        if phases > 1 or cut:
            written = self._tensor("phases", (wanted[0], self.outputs * phases, *counts))
        steps = [Node(node.name, "Conv", tuple(inputs), (written,), conv, "", node.clip)]
        if phases > 1:
            target = self._tensor("whole", whole) if cut else node.output
            steps += self._side_by_side(written, target, whole)
            written = target
        if cut:
            steps.append(self._cut(written, wanted))
        self.rewriter.replace(node, *steps)

    def _side_by_side(self, source: str, target: str, whole: tuple[int, ...]) -> list[Node]:
        name = self.rewriter.fresh_node(f"{self.node.name}/interleave")
        if _is_square(self.axes):
            mode: dict[str, object] = {"blocksize": self.axes[0].stride}
            if self.groups > 1:
                mode["mode"] = "CRD"
            return [Node(name, "DepthToSpace", (source,), (target,), mode)]
        strides, counts = ([getattr(a, k) for a in self.axes] for k in ("stride", "count"))
        count = len(counts)
        apart = (whole[0], self.outputs, *strides, *counts)
        order = (0, 1, *(at for a in range(count) for at in (2 + count + a, 2 + a)))
        first = self._tensor("apart", apart)
        turned = self._tensor("turned", tuple(apart[at] for at in order))
        shapes = [
            self._constant(f"{self.node.name}/{k}", np.array([self.batch, *shape[1:]], np.int64))
            for k, shape in (("apart", apart), ("whole", whole))
        ]
        turn = self.rewriter.fresh_node(f"{self.node.name}/turn")
        join = self.rewriter.fresh_node(f"{self.node.name}/join")
        return [
            Node(name, "Reshape", (source, shapes[0]), (first,)),
            Node(turn, "Transpose", (first,), (turned,), {"perm": order}),
            Node(join, "Reshape", (turned, shapes[1]), (target,)),
        ]

    def _cut(self, source: str, wanted: tuple[int, ...]) -> Node:
        starts = np.array([axis.cut for axis in self.axes], np.int64)
        ends = starts + np.array(wanted[2:], np.int64)
        bounds = {"starts": starts, "ends": ends, "axes": np.arange(2, len(wanted))}
        names = [self._constant(f"{self.node.name}/{k}", v) for k, v in bounds.items()]
        name = self.rewriter.fresh_node(f"{self.node.name}/cut")
        return Node(name, "Slice", (source, *names), (self.node.output,))

    def _constant(self, name: str, array: _Floats) -> str:
        return self.rewriter.add_constant(name, array)

    def _tensor(self, what: str, shape: tuple[int, ...]) -> str:
        output = self.node.output
        return self.rewriter.add_tensor(f"{output}/{what}", shape, output)
