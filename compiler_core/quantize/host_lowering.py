"""Operators that the CPU runs on integers, written out: exactly, and in QDQ form.

In the exact form a group with one input is a table that is looked up; the others compute in float32
what their definition says and round it. Tensors between groups are float32 numbers that are
multiples of a power of two: dequantized integers, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.affine import AffineType
from compiler_core.quantize.assemble import usual_shapes
from compiler_core.quantize.float_weights import keep_float_weights
from compiler_core.quantize.host_groups import HostGroups
from compiler_core.quantize.host_tables import LOWEST, table_levels
from compiler_core.quantize.integer_rewriter import IntegerRewriter
from compiler_core.quantize.ir import (
    FloatSegment,
    HostGroup,
    HostIntegers,
    IntegerSegment,
    QuantizedGraph,
    QuantizedTensor,
)
from compiler_core.quantize.layout import plain_shape
from compiler_core.quantize.skeleton import Shape
from compiler_core.quantize.unit_arithmetics import Computing

_INT32 = 6
"""Of ONNX's element types."""


def with_host_integers(
    quantized: QuantizedGraph,
    found: HostGroups,
    chosen: Collection[str],
    exponent_of: Callable[[str], int | None],
    reasons: dict[str, str],
    arithmetic: Computing | None = None,
) -> QuantizedGraph:
    """Let the CPU run groups of operators on integers.

    Args:
        quantized: Where all that the CPU runs is float.
        found: Groups of its source.
        chosen: Nodes of those that are asked for.
        exponent_of: Exponent of a tensor that no integer operator of the other unit reads or
            writes; ``None`` where it is not known.
        reasons: Gets why a group of ``chosen`` stays float, by node.
        arithmetic: Of the NPUs; by default one of the usual kind.
    """
    asked = [group for group in found.groups if chosen and set(group.nodes) <= set(chosen)]
    if not asked:
        return quantized
    names: dict[str, list[QuantizedTensor]] = {}
    for tensor in quantized.tensors.values():
        names.setdefault(found.bases.get(tensor.name, tensor.name), []).append(tensor)
    shape_of = _Shapes(quantized.source, found, arithmetic)
    tensors: dict[str, QuantizedTensor] = {}
    groups = []
    for group in asked:
        own: dict[str, QuantizedTensor] = {}
        for name in (*group.inputs, *group.outputs):
            base = found.bases.get(name, name)
            held = tensors.get(base) or own.get(base) or _coarsest(names.get(base, ()))
            if held is None:
                before = own.get(found.bases.get(group.inputs[0], group.inputs[0]))
                handed_on = group.moves and len(group.inputs) == 1 and before is not None
                exponent = before.exponent if handed_on and before else exponent_of(base)
                if exponent is None:
                    missing = f"There are no statistics of '{base}'."
                    reasons |= dict.fromkeys(group.nodes, missing)
                    break
                held = QuantizedTensor(base, shape_of(base), exponent)
            own[base] = held
        else:
            groups.append(group)
            tensors |= own
    host = HostIntegers(tuple(groups), tensors, found.bases)
    written = host.written | {
        host.base(operator.output)
        for segment in quantized.segments
        if isinstance(segment, IntegerSegment)
        for operator in segment.operators
    }
    by_name = {group.name: group for group in host.groups}
    segments = tuple(
        _lowered(part, host, by_name, written) if isinstance(part, FloatSegment) else part
        for part in quantized.segments
    )
    own_tensors = {t.name: t for t in tensors.values() if t.name not in quantized.tensors}
    return replace(
        quantized, segments=segments, tensors={**quantized.tensors, **own_tensors}, host=host
    )


class _Shapes:
    """How tensors lie that the CPU alone holds as integers: as they would on an NPU, so that what
    their conversions move follows from the graph and not from the plan."""

    def __init__(self, graph: Graph, found: HostGroups, arithmetic: Computing | None) -> None:
        self._graph, self._found, self._arithmetic = graph, found, arithmetic

    def __call__(self, base: str) -> Shape:
        own = self._own.get(base)
        return plain_shape(self._graph.types.get(base)) if own is None else own

    @cached_property
    def _own(self) -> dict[str, Shape]:
        shapes = usual_shapes(self._graph, self._arithmetic)
        found: dict[str, Shape] = {}
        for name in sorted(shapes):
            found.setdefault(self._found.bases.get(name, name), shapes[name])
        return {**found, **{name: shapes[name] for name in found.keys() & shapes.keys()}}


def _coarsest(tensors: Sequence[QuantizedTensor]) -> QuantizedTensor | None:
    return min(tensors, key=lambda tensor: tensor.exponent, default=None)


def _lowered(
    part: FloatSegment,
    host: HostIntegers,
    by_name: Mapping[str, HostGroup],
    written: Collection[str],
) -> FloatSegment:
    """A part with the loops that it holds.

    Args:
        part: In float.
        host: What is on integers.
        by_name: Its groups, by their names: where all is there that they read.
        written: Bases whose values are integers already where the CPU reads them.
    """
    groups = [by_name[node.name] for node in part.graph.nodes if node.name in by_name]
    if not groups:
        return part
    exact, qdq = (_HostRewriter(part.graph, host, written) for _ in range(2))
    members = {node.name: node for node in part.graph.nodes}
    last = {group.name: group for group in groups}
    inside = {name for group in groups for name in group.nodes}
    for node in part.graph.nodes:
        if node.name in last:
            group = last[node.name]
            nodes = [members[name] for name in group.nodes]
            exact.add_group(group, nodes)
            qdq.add_qdq_group(group, nodes)
        elif node.name not in inside:
            exact.nodes.append(node)
            qdq.nodes.append(node)
    return replace(
        part, graph=exact.graph(), qdq=keep_float_weights(qdq.graph()), planned=part.graph
    )


class _HostRewriter(IntegerRewriter):
    """Groups in place of their nodes.

    Args:
        graph: The part of the model.
        host: What is on integers.
        integers: Bases whose values are integers already where the CPU reads them.
    """

    def __init__(self, graph: Graph, host: HostIntegers, integers: Collection[str]) -> None:
        super().__init__(graph)
        self._host, self._held = host, integers

    def _exponent(self, tensor: str) -> int:
        return self._host.tensors[self._host.base(tensor)].exponent

    def _type(self, tensor: str) -> AffineType:
        return AffineType(2.0 ** -self._exponent(tensor), 0, "int8")

    def _number(self, base: str, value: float) -> str:
        return self._constant(base, np.asarray(value, np.float32))

    def add_group(self, group: HostGroup, nodes: list[Node]) -> None:
        """In the exact form."""
        if group.is_table:
            self._table(group, nodes)
            return
        read = {name: self._levels(name) for name in group.inputs}
        real = {
            name: self._node(
                "Mul", (levels, self._number(name, 2.0 ** -self._exponent(name))), name
            )
            if levels is not None
            else name
            for name, levels in read.items()
        }
        inner = self._computed(group, nodes, real)
        for name, result in zip(group.outputs, inner, strict=True):
            levels = self._integers(result, self._type(name))
            scale = self._number(name, 2.0 ** -self._exponent(name))
            self._node("Mul", (levels, scale), name, output=name)

    def _levels(self, tensor: str) -> str | None:
        """Integers of a tensor of real numbers, ``None`` where they are integers already."""
        if self._host.base(tensor) in self._held:
            return None
        return self._integers(tensor, self._type(tensor))

    def _table(self, group: HostGroup, nodes: list[Node]) -> None:
        (source,), (output,) = group.inputs, group.outputs
        exponents = self._exponent(source), self._exponent(output)
        table = table_levels(self._source, nodes, source, exponents).astype(np.float32)
        real = self._constant(output, table * np.float32(2.0 ** -exponents[1]))
        levels = self._levels(source)
        if levels is None:
            by = self._number(source, 2.0 ** exponents[0])
            levels = self._node("Mul", (source, by), source)
        raised = self._node("Sub", (levels, self._number(source, LOWEST)), source)
        index = self._node("Cast", (raised,), source, "int32", attributes={"to": _INT32})
        self._node("Gather", (real, index), output, output=output, attributes={"axis": 0})

    def _computed(
        self, group: HostGroup, nodes: list[Node], real: Mapping[str, str]
    ) -> tuple[str, ...]:
        """Adds the nodes of a group over ``real``; what others read of them, under other names."""
        inner = {}
        for name in group.outputs:
            inner[name] = self._fresh(name)
            self._types[inner[name]] = self._types[name]
            if name in self._dynamic:
                self._dynamic.add(inner[name])
        for node in nodes:
            outputs = tuple(inner.get(name, name) for name in node.outputs)
            self.nodes.append(replace(node, inputs=_renamed(node, real), outputs=outputs))
        return tuple(inner.values())

    def add_qdq_group(self, group: HostGroup, nodes: list[Node]) -> None:
        """Between DequantizeLinear and QuantizeLinear."""
        real = {
            name: name
            if self._host.base(name) in self._held
            else self._guarded(name, self._quantized(name, name, self._type(name)))
            for name in group.inputs
        }
        inner = self._computed(group, nodes, real)
        for name, result in zip(group.outputs, inner, strict=True):
            self._guarded(name, self._quantized(result, name, self._type(name)), output=name)

    def _guarded(self, tensor: str, values: str, output: str | None = None) -> str:
        """A clamp that clips nothing: behind it no runtime fuses an operator into an integer one
        with another rounding."""
        step = 2.0 ** -self._exponent(tensor)
        return self._node(
            "Identity", (values,), tensor, output=output, clip=(LOWEST * step, -(LOWEST + 1) * step)
        )


def _renamed(node: Node, names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(names.get(name, name) for name in node.inputs)
