"""Loops that run a known number of times become the nodes of every time, one after the other.

A loop is one node for units and for the kinds of code that have none: what it computes stays on the
CPU, or cannot be written. Loops whose end is computed of anything but how often they have run, and
long ones, stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.constant_branches import inner_constants, inner_nodes
from compiler_core.graph.passes.counted_ends import counted_times
from compiler_core.graph.passes.rewriter import Rewriter, is_op

_AXES_ARE_INPUTS = 13
"""Of Unsqueeze."""
_STATES_FIRST = 9
"""Scan has no batch of its own since then."""


@dataclass(frozen=True)
class UnrolledLoops:
    """Write Loop and Scan out.

    Args:
        most_times: Longer loops stay.
        most_nodes: Loops of which more nodes would be made stay, and all in a graph that would have
            more than four times as many: loops within loops multiply.
    """

    most_times: int = 64
    most_nodes: int = 1000
    name: ClassVar[str] = "unrolled-loops"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`compiler_core.graph.passes.rewriter.GraphPass`."""
        rewriter, total = Rewriter(graph), len(graph.nodes)
        for node in rewriter.nodes():
            found = loop_of(rewriter, node)
            if found is None or not 0 < found.times <= self.most_times:
                continue
            made = found.times * max(1, len(found.body.node))
            if made <= self.most_nodes and total + made <= 4 * self.most_nodes:
                LoopWriter(rewriter, node, found).write()
                total += made
        return rewriter.finish()

    def refusal(self, graph: Graph, node: Node) -> str:
        """Why a Loop or Scan stays."""
        found = loop_of(Rewriter(graph), node)
        if found is None:
            return "how often it runs, or what it reads each time, is computed"
        if not 0 < found.times <= self.most_times:
            return (
                f"it runs {found.times} times, each of which may need what the one before it left; "
                f"1 to {self.most_times} are written out"
            )
        return f"it is {len(found.body.node)} nodes {found.times} times, too many to be written out"


@dataclass(frozen=True)
class KnownLoop:
    """A loop whose times are known.

    Attributes:
        body: What is computed each time.
        times: How often.
        counter, condition: Inputs of the body that say which time it is, and that it goes on; empty
            where there are none.
        states: Pairs of an input of the body and its first value.
        results: Outputs of the body that the states have the next time.
        parts: Per input of the body that is a part of a tensor: the tensor, its axis, whether it is
            taken from its end.
        joined: Per output of the body of which all times are joined: the axis, whether the last
            time comes first.
    """

    body: onnx.GraphProto
    times: int
    counter: str
    condition: str
    states: tuple[tuple[str, str], ...]
    results: tuple[str, ...]
    parts: Mapping[str, tuple[str, int, bool]]
    joined: Mapping[str, tuple[int, bool]]


def loop_of(rewriter: Rewriter, node: Node) -> KnownLoop | None:
    """A Loop or Scan whose times are known; ``None`` for another node."""
    if is_op(node, "Scan") and rewriter.graph.opsets.get("", 0) >= _STATES_FIRST:
        return _scan(rewriter, node)
    return _loop(rewriter, node) if is_op(node, "Loop") else None


def _loop(rewriter: Rewriter, node: Node) -> KnownLoop | None:
    body = _body(node)
    count = rewriter.constant(node, 0)
    goes = rewriter.constant(node, 1)
    has_count = bool(node.inputs) and bool(node.inputs[0])
    if body is None or (has_count and (count is None or count.size != 1)) or len(body.input) < 2:
        return None
    if len(node.inputs) > 1 and node.inputs[1] and (goes is None or not goes.all()):
        return None
    inputs, outputs = [v.name for v in body.input], [v.name for v in body.output]
    given = node.inputs[2:]
    if len(inputs) != len(given) + 2 or not all(given) or not outputs:
        return None
    results = outputs[1 : 1 + len(given)]
    times = None if count is None else int(count.reshape(-1)[0])
    if times is None or not _stays_true(rewriter, body, outputs[0], inputs[1]):
        firsts = (rewriter.constants.get(name) for name in given)
        known = dict(zip(inputs[2:], zip(firsts, results, strict=True), strict=True))
        times = counted_times(body, known, _constants(rewriter, body), times)
        if times is None:
            return None
    joined = dict.fromkeys(outputs[1 + len(given) :], (0, False))
    if len(joined) != len(outputs) - 1 - len(given):
        return None
    states = tuple(zip(inputs[2:], given, strict=True))
    return KnownLoop(body, times, inputs[0], inputs[1], states, tuple(results), {}, joined)


def _scan(rewriter: Rewriter, node: Node) -> KnownLoop | None:
    body, known = _body(node), node.attributes
    count = int(known.get("num_scan_inputs", 0))
    if body is None or count < 1 or len(body.input) != len(node.inputs) or not all(node.inputs):
        return None
    inputs, outputs = [v.name for v in body.input], [v.name for v in body.output]
    first = len(node.inputs) - count
    states = tuple(zip(inputs[:first], node.inputs[:first], strict=True))
    own = (known.get(f"scan_input_{what}") or (0,) * count for what in ("axes", "directions"))
    parts = {}
    times = set()
    for name, tensor, axis, way in zip(inputs[first:], node.inputs[first:], *own, strict=True):
        shape = rewriter.shape(tensor)
        if not shape or not rewriter.batch_free(tensor):
            return None
        parts[name] = (tensor, int(axis) % len(shape), bool(way))
        times.add(shape[int(axis)])
    more = outputs[first:]
    own = (known.get(f"scan_output_{what}") or (0,) * len(more) for what in ("axes", "directions"))
    joined = {name: (int(axis), bool(way)) for name, axis, way in zip(more, *own, strict=True)}
    if len(times) != 1 or len(joined) != len(more):
        return None
    results = tuple(outputs[:first])
    return KnownLoop(body, times.pop(), "", "", states, results, parts, joined)


def _body(node: Node) -> onnx.GraphProto | None:
    found = [onnx.AttributeProto.FromString(item) for item in node.opaque]
    body = found[0].g if len(found) == 1 and found[0].name == "body" else None
    return None if body is None or body.sparse_initializer else body


def _constants(rewriter: Rewriter, body: onnx.GraphProto) -> dict[str, npt.NDArray[Any]]:
    """Constants of a loop and around it, by the names that they have in it."""
    own = {*(value.name for value in body.input), *(n for node in body.node for n in node.output)}
    around = {name: array for name, array in rewriter.constants.items() if name not in own}
    return {**around, **inner_constants(body)[0]}


def _stays_true(rewriter: Rewriter, body: onnx.GraphProto, tensor: str, condition: str) -> bool:
    """Whether what says that a loop goes on is what said so before, or a constant, of the loop or
    around it."""
    made = {name: proto for proto in body.node for name in proto.output}
    while tensor in made and made[tensor].op_type in ("Identity", "Cast"):
        tensor = made[tensor].input[0]
    constants, _ = inner_constants(body)
    own = {*made, *constants, *(value.name for value in body.input)}
    known = constants.get(tensor) if tensor in own else rewriter.constants.get(tensor)
    return tensor == condition or (known is not None and bool(known.all()))


class LoopWriter:
    """Writes the nodes of a loop.

    Args:
        rewriter: Of the graph.
        node: The loop.
        loop: What is known of it.
    """

    def __init__(self, rewriter: Rewriter, node: Node, loop: KnownLoop) -> None:
        self._rewriter, self._node, self._loop = rewriter, node, loop
        self._nodes: list[Node] = []
        self._taken: set[str] = set()

    def write(self) -> None:
        """Puts them into the place of the loop."""
        loop, node = self._loop, self._node
        arrays, protos = inner_constants(loop.body)
        fixed = {name: self._constant(name, array) for name, array in arrays.items()}
        if loop.condition:
            fixed[loop.condition] = self._constant("goes on", self._single(True, 1))
        states = [first for _, first in loop.states]
        rows: dict[str, list[str]] = {name: [] for name in loop.joined}
        for time in range(loop.times):
            named = {**fixed, **self._given(time, states)}
            label = f"{node.name}/{time}"
            for proto in protos:
                for name in filter(None, proto.output):
                    named[name] = self._rewriter.fresh(f"{label}/{name}")
            self._nodes += inner_nodes(self._rewriter, label, protos, named, self._taken)
            states = [named.get(name, name) for name in loop.results]
            for name, found in rows.items():
                found.append(named.get(name, name))
        ends = [*states, *(self._joined(name, found) for name, found in rows.items())]
        for number, (inner, outer) in enumerate(zip(ends, node.outputs, strict=False)):
            if outer:
                self._add("Identity", [inner], f"result{number}", outer)
        self._rewriter.replace(node, *self._nodes)

    def _given(self, time: int, states: Sequence[str]) -> dict[str, str]:
        """The inputs of the body this time."""
        loop = self._loop
        found = {name: own for (name, _), own in zip(loop.states, states, strict=True)}
        if loop.counter:
            found[loop.counter] = self._constant(f"{time}", self._single(time, 0))
        for name, (tensor, axis, backwards) in loop.parts.items():
            place = loop.times - 1 - time if backwards else time
            index = self._constant(f"{time}/place", np.array(place, np.int64))
            found[name] = self._add("Gather", [tensor, index], f"{time}/{name}", axis=axis)
        return found

    def _single(self, value: bool | int, position: int) -> npt.NDArray[Any]:
        """A number at an input of the body: of one axis where the body says so, as runtimes do."""
        known = self._loop.body.input[position].type.tensor_type
        return np.full((1,) * len(known.shape.dim), value, np.dtype(type(value)))

    def _joined(self, name: str, rows: Sequence[str]) -> str:
        """What an output of the body was each time, along an axis of its own."""
        axis, backwards = self._loop.joined[name]
        parts = [self._unsqueezed(row, axis, f"{name}/{i}") for i, row in enumerate(rows)]
        return self._add("Concat", parts[::-1] if backwards else parts, name, axis=axis)

    def _unsqueezed(self, tensor: str, axis: int, label: str) -> str:
        if self._rewriter.graph.opsets.get("", 0) < _AXES_ARE_INPUTS:
            return self._add("Unsqueeze", [tensor], label, axes=(axis,))
        axes = self._constant(f"{label}/axes", np.array([axis], np.int64))
        return self._add("Unsqueeze", [tensor, axes], label)

    def _constant(self, label: str, array: Any) -> str:
        return self._rewriter.add_constant(f"{self._node.name}/{label}", np.asarray(array))

    def _add(
        self, op: str, inputs: Sequence[str], label: str, output: str = "", **attributes: Any
    ) -> str:
        name = f"{self._node.name}/{label}"
        result = output or self._rewriter.fresh(name)
        fresh = self._rewriter.fresh_node(name)
        while fresh in self._taken:
            fresh += "_"
        self._taken.add(fresh)
        self._nodes.append(Node(fresh, op, tuple(inputs), (result,), attributes))
        return result
