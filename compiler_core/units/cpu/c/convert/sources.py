"""How a handler gets the tensors that its node reads: placed, laid out, typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from compiler_core.graph.ir import Graph, Node
from compiler_core.units.cpu.c.convert.builder import (
    Axes,
    Builder,
    PlacedValue,
    Refusal,
    channels_last,
    constant_type,
    finite,
    plain_type,
)
from compiler_core.units.cpu.c.convert.unary import Functions
from compiler_core.units.cpu.c.network import FLOAT, Value
from compiler_core.units.cpu.c.operators.pointwise import Table, WideTable
from compiler_core.units.cpu.c.operators.real import RealMap

WEIGHTED_OPS = ("Conv", "ConvTranspose", "Dense", "Gemm", "MatMul")
"""Operators whose second input may be weights."""


class TensorReader:
    """Reads tensors for handlers.

    Args:
        builder: The network that grows.
        functions: Tensors that are a function of one other, element by element; they become values
            only when somebody asks.
        pair: Adds a function of two tensors in float32.
    """

    def __init__(
        self,
        builder: Builder,
        functions: Functions,
        pair: Callable[[TensorReader, Node], PlacedValue],
    ) -> None:
        self._pair = pair
        self.builder = builder
        self.functions = functions
        self._wide = wide_inputs(builder.graph, builder.options.int16_layers)

    def any(self, tensor: str, wanted: Axes | None = None, dtype: str = "int8") -> PlacedValue:
        """A tensor as it lies, whatever its type.

        Args:
            tensor: Of the graph.
            wanted, dtype: Order of axes and integers for a graph input that nobody has asked for
                before.

        Raises:
            Refusal: It cannot be had.
        """
        builder = self.builder
        known = builder.places.get(tensor)
        if known:
            return known[0]
        rank = len(builder.shape(tensor))
        if tensor in builder.graph.inputs:
            standard = channels_last(rank) if rank == 4 else tuple(range(rank))
            wide = dtype == "int16" or tensor in self._wide
            return builder.input(tensor, wanted or standard, "int16" if wide else "int8")
        if tensor in builder.graph.constants:
            return self._constant(tensor)
        if tensor in self.functions:
            return self._function(tensor)
        raise Refusal(f"{tensor!r} is of a kind that is not supported")

    def integer(self, tensor: str, axes: Axes | None = None, dtype: str = "int8") -> PlacedValue:
        """A tensor in integers.

        Args:
            tensor: Of the graph.
            axes: In this order; as it lies where ``None``.
            dtype: ``int8`` or ``int16``.

        Raises:
            Refusal: It cannot be had.
        """
        return self.typed(tensor, axes, dtype)

    def real(self, tensor: str, axes: Axes | None = None) -> PlacedValue:
        """The same as :meth:`integer` in float32."""
        return self.typed(tensor, axes, "float32")

    def common_dtype(self, tensors: Sequence[str]) -> str:
        """The integers that an operator of these tensors computes in: ``int16`` where all integers
        that are computed have 16 bits, else ``int8``."""
        builder = self.builder
        computed = [name for name in tensors if name and name not in builder.graph.constants]
        lying = []
        for name in computed:
            if name in self.functions and not builder.places.get(name):
                self.any(name)
            if name in self._wide and not builder.places.get(name):
                lying.append("int16")  # it is placed by who reads it
            lying += [place.value.type.dtype for place in builder.places.get(name, [])[:1]]
        whole = {dtype for dtype in lying if dtype != FLOAT.dtype}
        return "int16" if whole == {"int16"} and len(lying) == len(computed) else "int8"

    def typed(self, tensor: str, axes: Axes | None, dtype: str) -> PlacedValue:
        """The same as :meth:`integer` in any type of elements."""
        place = self.any(tensor, axes, dtype)
        wanted = axes or place.axes
        known = self.builder.places.setdefault(tensor, [place])
        for other in known:
            if other.axes == wanted and other.value.type.dtype == dtype:
                return other
        for other in known:  # of the wanted type already: only its axes move
            if other.value.type.dtype == dtype:
                place = other
                break
        else:
            kind = FLOAT if dtype == FLOAT.dtype else self.builder.type_of(tensor, dtype)
            place = self.builder.converted(place, kind)
            known.append(place)
        if place.axes != wanted:
            place = self.builder.moved(place, wanted)
            known.append(place)
        return place

    def laid_out(self, tensor: str, axes: Axes) -> PlacedValue:
        """A tensor in the order of axes, whatever its type."""
        place = self.any(tensor, axes)
        return self.typed(tensor, axes, place.value.type.dtype)

    def broadcast(self, tensor: str, rank: int, axes: Axes, dtype: str) -> Value:
        """An operand of an operator that broadcasts, with leading axes of one.

        Args:
            tensor: Of the graph.
            rank: Of the result.
            axes: Of the result.
            dtype: That is wanted.

        Raises:
            Refusal: It cannot be had.
        """
        builder = self.builder
        if tensor in builder.graph.constants:
            array = builder.graph.constants[tensor]
            kind = plain_type(str(array.dtype))
            if kind is not None and dtype == FLOAT.dtype:  # exponents
                kind, array = FLOAT, array.astype(np.float32)
            elif kind is None:
                finite(array, f"constant {tensor!r}")
                kind = FLOAT if dtype == FLOAT.dtype else constant_type(array, dtype)
            full = array.reshape((1,) * (rank - array.ndim) + array.shape).transpose(axes)
            return builder.held(tensor, full, kind)
        own = len(builder.shape(tensor))
        if own == rank:
            return self.typed(tensor, axes, dtype).value
        place = self.typed(tensor, tuple(range(own)), dtype)
        shape = (1,) * (rank - own) + place.value.shape
        full_place = PlacedValue(builder.viewed(place.value, shape), tuple(range(rank)))
        return builder.moved(full_place, axes).value

    def _constant(self, tensor: str) -> PlacedValue:
        builder = self.builder
        array = builder.constant(tensor)
        kind = plain_type(str(array.dtype))
        if kind is None:
            finite(array, f"constant {tensor!r}")
            is_float = builder.options.precision == "float32"
            kind = FLOAT if is_float else constant_type(array)
        place = PlacedValue(builder.held(tensor, array, kind), tuple(range(array.ndim)))
        builder.places.setdefault(tensor, []).append(place)
        return place

    def _function(self, tensor: str) -> PlacedValue:
        builder = self.builder
        root = self.functions.root(tensor)
        node = builder.graph.producer(tensor)
        assert node is not None
        previous, builder.node = builder.node, node
        try:
            reasons = []
            options = builder.options
            in_table = options.precision == "int8" and node.name not in options.float_layers
            ways: tuple[str, ...] = (FLOAT.dtype,)
            if in_table:
                wide = self.common_dtype((root,)) == "int16"
                ways = ("int16", *ways, "int8") if wide else ("int8", *ways)
            for dtype in ways:
                try:
                    if dtype == FLOAT.dtype:
                        return self._maps(tensor)
                    return self._table(tensor, root, dtype)
                except Refusal as refusal:
                    reasons.append(f"in {dtype}, {refusal}")
            raise Refusal(f"node {node.name!r} ({node.op}): {'; '.join(reasons)}")
        finally:
            builder.node = previous

    def _table(self, tensor: str, root: str, dtype: str) -> PlacedValue:
        builder = self.builder
        kind = builder.type_of(tensor, dtype)
        source = self.integer(root, None, dtype)
        reads, types = (source.value.name,), (source.value.type, kind)
        if dtype == "int16":
            wide = self.functions.wide_table(tensor, *types)
            place = builder.place(tensor, source.axes, kind)
            builder.add(WideTable(builder.label, reads, place.value.name, wide))
            return place
        entries = self.functions.table(tensor, *types)
        place = builder.place(tensor, source.axes, kind)
        builder.add(Table(builder.label, reads, place.value.name, entries))
        return place

    def _maps(self, tensor: str) -> PlacedValue:
        """The function node by node in float32."""
        builder = self.builder
        node = builder.graph.producer(tensor)
        assert node is not None
        steps = self.functions.steps(node)
        if steps is None:
            return self._pair(self, node)
        source = self.real(steps.source)
        value = source.value
        for function, a, b in steps.maps[:-1]:
            following = builder.value(tensor, value.shape, FLOAT)
            builder.add(RealMap(node.name, (value.name,), following.name, function, a, b))
            value = following
        place = builder.place(tensor, source.axes, FLOAT)
        function, a, b = steps.maps[-1]
        builder.add(RealMap(node.name, (value.name,), place.value.name, function, a, b))
        return place


def wide_inputs(graph: Graph, int16_layers: frozenset[str]) -> frozenset[str]:
    """Inputs whose numbers reach layers with activations of 16 bits alone, before they reach any
    other layer with weights."""
    if not int16_layers:
        return frozenset()
    first: dict[str, set[str]] = {}  # layers that a tensor reaches, from the outputs on
    for node in reversed(graph.nodes):
        behind: set[str] = set().union(*(first.get(name, set()) for name in node.outputs))
        reached = {node.name} if node.op in WEIGHTED_OPS and _has_weights(graph, node) else behind
        for name in node.inputs:
            first.setdefault(name, set()).update(reached)
    wide = (name for name in graph.inputs if first.get(name))
    return frozenset(name for name in wide if first[name] <= int16_layers)


def _has_weights(graph: Graph, node: Node) -> bool:
    return len(node.inputs) > 1 and node.inputs[1] in graph.constants
