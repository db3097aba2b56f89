"""How a handler gets the tensors that its node reads: placed, laid out, typed."""

from __future__ import annotations

from collections.abc import Callable

from compiler_core.graph.ir import Node
from compiler_core.units.cpu.c.convert.builder import (
    Axes,
    Builder,
    Place,
    Refusal,
    channels_last,
    constant_type,
    finite,
)
from compiler_core.units.cpu.c.convert.unary import Functions
from compiler_core.units.cpu.c.network import FLOAT, Value
from compiler_core.units.cpu.c.operators.pointwise import Table
from compiler_core.units.cpu.c.operators.real import RealMap


class Sources:
    """Reads tensors for handlers.

    Args:
        builder: The network that grows.
        functions: Tensors that are a function of one other, element by element; they become values
            only when somebody asks.
        pair: Adds a function of two tensors in float32.
    """

    def __init__(
        self, builder: Builder, functions: Functions, pair: Callable[[Sources, Node], Place]
    ) -> None:
        self._pair = pair
        self.builder = builder
        self.functions = functions

    def any(self, tensor: str, wanted: Axes | None = None) -> Place:
        """A tensor as it lies, whatever its type.

        Args:
            tensor: Of the graph.
            wanted: Order of axes for a graph input that nobody has asked for before.

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
            return builder.input(tensor, wanted or standard)
        if tensor in builder.graph.constants:
            return self._constant(tensor)
        if tensor in self.functions:
            return self._function(tensor)
        raise Refusal(f"{tensor!r} is of a kind that is not supported")

    def integer(self, tensor: str, axes: Axes | None = None) -> Place:
        """A tensor in int8.

        Args:
            tensor: Of the graph.
            axes: In this order; as it lies where ``None``.

        Raises:
            Refusal: It cannot be had.
        """
        return self._typed(tensor, axes, is_float=False)

    def real(self, tensor: str, axes: Axes | None = None) -> Place:
        """The same as :meth:`integer` in float32."""
        return self._typed(tensor, axes, is_float=True)

    def _typed(self, tensor: str, axes: Axes | None, *, is_float: bool) -> Place:
        place = self.any(tensor, axes)
        wanted = axes or place.axes
        known = self.builder.places.setdefault(tensor, [place])
        for other in known:
            if other.axes == wanted and other.value.type.is_float == is_float:
                return other
        for other in known:  # of the wanted type already: only its axes move
            if other.value.type.is_float == is_float:
                place = other
                break
        else:
            kind = FLOAT if is_float else self.builder.type_of(tensor)
            place = self.builder.converted(place, kind)
            known.append(place)
        if place.axes != wanted:
            place = self.builder.moved(place, wanted)
            known.append(place)
        return place

    def laid_out(self, tensor: str, axes: Axes) -> Place:
        """A tensor in the order of axes, whatever its type."""
        place = self.any(tensor, axes)
        return self._typed(tensor, axes, is_float=place.value.type.is_float)

    def broadcast(self, tensor: str, rank: int, axes: Axes, *, is_float: bool) -> Value:
        """An operand of an operator that broadcasts, with leading axes of one.

        Args:
            tensor: Of the graph.
            rank: Of the result.
            axes: Of the result.
            is_float: Whether float32 or int8 is wanted.

        Raises:
            Refusal: It cannot be had.
        """
        builder = self.builder
        if tensor in builder.graph.constants:
            array = finite(builder.graph.constants[tensor], f"constant {tensor!r}")
            full = array.reshape((1,) * (rank - array.ndim) + array.shape).transpose(axes)
            return builder.held(tensor, full, FLOAT if is_float else constant_type(array))
        own = len(builder.shape(tensor))
        if own == rank:
            return self._typed(tensor, axes, is_float=is_float).value
        place = self._typed(tensor, tuple(range(own)), is_float=is_float)
        shape = (1,) * (rank - own) + place.value.shape
        full_place = Place(builder.viewed(place.value, shape), tuple(range(rank)))
        return builder.moved(full_place, axes).value

    def _constant(self, tensor: str) -> Place:
        builder = self.builder
        array = finite(builder.constant(tensor), f"constant {tensor!r}")
        is_float = builder.options.precision == "float32"
        kind = FLOAT if is_float else constant_type(array)
        place = Place(builder.held(tensor, array, kind), tuple(range(array.ndim)))
        builder.places.setdefault(tensor, []).append(place)
        return place

    def _function(self, tensor: str) -> Place:
        builder = self.builder
        root = self.functions.root(tensor)
        node = builder.graph.producer(tensor)
        assert node is not None
        previous, builder.node = builder.node, node
        try:
            reasons = []
            options = builder.options
            if options.precision == "int8" and node.name not in options.float_layers:
                try:
                    return self._table(tensor, root)
                except Refusal as refusal:
                    reasons.append(f"in int8, {refusal}")
            try:
                return self._maps(tensor)
            except Refusal as refusal:
                reasons.append(f"in float32, {refusal}")
            raise Refusal(f"node {node.name!r} ({node.op}): {'; '.join(reasons)}")
        finally:
            builder.node = previous

    def _table(self, tensor: str, root: str) -> Place:
        builder = self.builder
        kind = builder.type_of(tensor)
        source = self.integer(root)
        entries = self.functions.table(tensor, source.value.type, kind)
        place = builder.place(tensor, source.axes, kind)
        builder.add(Table(builder.label, (source.value.name,), place.value.name, entries))
        return place

    def _maps(self, tensor: str) -> Place:
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
