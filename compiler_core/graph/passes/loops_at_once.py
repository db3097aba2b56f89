"""Loops that keep nothing from time to time become nodes that compute all times at once.

Exporters of nearest neighbours and of Gaussian processes write the distances of all rows so: one
row each time. What the body computes element by element, and its reductions, get one axis more, in
front of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx

from compiler_core.graph.attributes import read_attributes
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.constant_branches import inner_constants
from compiler_core.graph.passes.rewriter import Rewriter
from compiler_core.graph.passes.unrolled_loops import KnownLoop, LoopWriter, loop_of

_ELEMENTWISE = frozenset(
    (
        *("Abs", "Add", "And", "Cast", "Ceil", "Cos", "Div", "Equal", "Erf", "Exp", "Floor"),
        *("Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Log", "Max", "Min"),
        *("Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign"),
        *("Sin", "Sqrt", "Sub", "Sum", "Tanh", "Where", "Xor"),
    )
)
_REDUCTIONS = frozenset(
    (
        *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
        *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
    )
)
_AXES_ARE_INPUTS = {"ReduceSum": 13}
_ALL_AXES_ARE_INPUTS = 18


@dataclass(frozen=True)
class LoopsAtOnce:
    """The pass."""

    name: ClassVar[str] = "loops-at-once"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`compiler_core.graph.passes.rewriter.GraphPass`."""
        rewriter = Rewriter(graph)
        for node in rewriter.nodes():
            loop = loop_of(rewriter, node)
            if loop is not None and loop.times > 0:
                _AtOnce(rewriter, node, loop).write()
        return rewriter.finish()


class _AtOnce(LoopWriter):
    """Writes a loop as the nodes of all times; leaves it where it cannot."""

    def __init__(self, rewriter: Rewriter, node: Node, loop: KnownLoop) -> None:
        super().__init__(rewriter, node, loop)
        self._named: dict[str, str] = {}
        self._ranks: dict[str, int] = {}
        self._varying: set[str] = set()

    def write(self) -> None:
        """See :class:`~compiler_core.graph.passes.unrolled_loops.LoopWriter`."""
        loop = self._loop
        arrays, protos = inner_constants(loop.body)
        if not self._keeps_nothing(protos) or not self._begin(arrays):
            return
        for number, proto in enumerate(protos):
            if not self._node_at_once(number, proto):
                return
        for place, (_, first) in enumerate(loop.states):
            if len(self._node.outputs) > place and self._node.outputs[place]:
                self._add("Identity", [first], f"state{place}", self._node.outputs[place])
        outputs = self._node.outputs[len(loop.states) :]
        for (name, (axis, backwards)), outer in zip(loop.joined.items(), outputs, strict=False):
            if name not in self._varying:
                return
            if outer:
                self._give(name, axis, outer, backwards=backwards)
        self._rewriter.replace(self._node, *self._nodes)

    def _keeps_nothing(self, protos: Sequence[onnx.NodeProto]) -> bool:
        """Whether all states stay what they are."""
        same = {p.output[0]: p.input[0] for p in protos if p.op_type == "Identity"}
        for (name, _), result in zip(self._loop.states, self._loop.results, strict=True):
            origin = result
            while origin in same:
                origin = same[origin]
            if origin != name:
                return False
        return True

    def _begin(self, arrays: Any) -> bool:
        """Names what the body reads; whether all ranks are known."""
        loop, rewriter = self._loop, self._rewriter
        for name, array in arrays.items():
            self._named[name], self._ranks[name] = self._constant(name, array), array.ndim
        if loop.condition:
            goes = self._single(True, 1)
            self._named[loop.condition] = self._constant("goes on", goes)
            self._ranks[loop.condition] = goes.ndim
        if loop.counter:
            own = self._single(0, 0).shape
            every = np.arange(loop.times, dtype=np.int64).reshape(-1, *own)
            self._named[loop.counter] = self._constant("times", every)
            self._ranks[loop.counter] = len(own)
            self._varying.add(loop.counter)
        for name, first in loop.states:
            shape = rewriter.shape(first)
            if shape is None:
                return False
            self._named[name], self._ranks[name] = first, len(shape)
        for name, (tensor, axis, backwards) in loop.parts.items():
            rank = len(rewriter.shape(tensor) or ())
            if axis:
                order = (axis, *(a for a in range(rank) if a != axis))
                tensor = self._add("Transpose", [tensor], f"{name}/first", perm=order)
            if backwards:
                tensor = self._reversed(tensor, 0, name)
            self._named[name], self._ranks[name] = tensor, rank - 1
            self._varying.add(name)
        return True

    def _reversed(self, tensor: str, axis: int, label: str) -> str:
        places = np.arange(self._loop.times - 1, -1, -1, dtype=np.int64)
        index = self._constant(f"{label}/backwards", places)
        return self._add("Gather", [tensor, index], f"{label}/reversed", axis=axis)

    def _node_at_once(self, number: int, proto: onnx.NodeProto) -> bool:
        """One node of the body for all times; whether it could be written."""
        attributes, opaque = read_attributes(proto.attribute)
        inputs = list(proto.input)
        for name in filter(None, inputs):
            if name not in self._ranks and not self._from_outside(name):
                return False
        known = _ELEMENTWISE | _REDUCTIONS
        if opaque or proto.domain or len(proto.output) != 1 or proto.op_type not in known:
            return False
        label, own = f"{proto.name or proto.op_type}{number}", dict(attributes)
        result = proto.output[0]
        if proto.op_type in _REDUCTIONS:
            if not self._reduction(proto, own):
                return False
        else:
            rank = max(self._ranks[name] for name in inputs)
            self._ranks[result] = rank
            inputs = [self._aligned(name, rank, f"{label}/{at}") for at, name in enumerate(inputs)]
            self._named[result] = self._add(proto.op_type, inputs, label, **own)
        if any(name in self._varying for name in proto.input):
            self._varying.add(result)
        return True

    def _from_outside(self, name: str) -> bool:
        shape = self._rewriter.shape(name)
        if shape is None:
            return False
        self._named[name], self._ranks[name] = name, len(shape)
        return True

    def _aligned(self, name: str, rank: int, label: str) -> str:
        """An operand whose own axes are the last ones of ``rank``."""
        found, own = self._named[name], self._ranks[name]
        if name in self._varying:
            for _ in range(rank - own):
                found = self._unsqueezed(found, 1, f"{label}/{rank}")
        return found

    def _reduction(self, proto: onnx.NodeProto, attributes: dict[str, Any]) -> bool:
        """A reduction over axes that are one farther behind."""
        source, op = proto.input[0], proto.op_type
        axes = attributes.pop("axes", None)
        given = proto.input[1] if len(proto.input) > 1 else ""
        if given:
            array = self._rewriter.constants.get(self._named[given])
            axes = None if array is None else array.ravel().tolist()
            if axes is None:
                return False
        rank = self._ranks[source]
        if not axes and attributes.pop("noop_with_empty_axes", 0):
            return False
        if axes and not rank:
            return False
        own = sorted({int(axis) % rank for axis in axes or range(rank)})
        moved = [axis + (source in self._varying) for axis in own]
        inputs = [self._named[source]]
        if not rank:  # one number each time: along an axis of its own
            moved = [int(source in self._varying)]
            inputs = [self._unsqueezed(inputs[0], moved[0], f"{proto.output[0]}/number")]
            attributes["keepdims"] = 0
        opset = self._rewriter.graph.opsets.get("", 0)
        if opset >= _AXES_ARE_INPUTS.get(op, _ALL_AXES_ARE_INPUTS):
            inputs.append(self._constant(f"{proto.output[0]}/axes", np.array(moved, np.int64)))
        else:
            attributes["axes"] = tuple(moved)
        self._ranks[proto.output[0]] = rank if attributes.get("keepdims", 1) else rank - len(own)
        self._named[proto.output[0]] = self._add(op, inputs, proto.output[0], **attributes)
        return True

    def _give(self, name: str, axis: int, outer: str, *, backwards: bool) -> None:
        """What the body gave each time, along an axis of the result."""
        found, rank = self._named[name], self._ranks[name] + 1
        if backwards:
            found = self._reversed(found, 0, f"{name}/joined")
        order = [*range(1, rank)]
        order.insert(axis % rank, 0)
        self._add("Transpose", [found], f"{name}/joined", outer, perm=tuple(order))
