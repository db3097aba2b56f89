"""Operators that several units compute together, cut by output channels: which unit has a channel
is that channel's precision.

A plan places such an operator on ``vta/32+int4/96``. The graph then has one operator for each
share and a concatenation of what they write, which lies in memory without a copy. The channels
that few bits damage most go to the unit with the widest weights; the order is undone where tensors
are read (:mod:`compiler_core.quantize.channel_classes`), or is the model's where it cannot be.
Channelwise operators behind are cut in the same shares, each unit going on with its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.attributes import names_read
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.quantize.border_writer import fresh_name
from compiler_core.quantize.channel_classes import (
    ChannelClasses,
    Order,
    channels_of,
    flattened_readers,
    is_channelwise,
    is_convolution,
    is_dense,
    out_channels_first,
)
from compiler_core.quantize.rounding_damage import channel_damage
from compiler_core.quantize.statistics import ChannelStatistics, TensorRange
from compiler_core.quantize.unit_arithmetics import Computing, UnitArithmetics, unit_arithmetics
from compiler_core.units.names import CPU, Shares, shared_place, shares_of


@dataclass(frozen=True, eq=False)
class CutGraph:
    """A graph whose shared operators are one for each unit.

    Attributes:
        graph: Computes the same, tensors within it in another order of channels.
        assignment: Place of every node, each on one unit.
        ranges: Statistics of its tensors, where there were some.
        origin: Node of the graph before, by name of a node that was made of it.
    """

    graph: Graph
    assignment: Mapping[str, str]
    ranges: Mapping[str, TensorRange]
    origin: Mapping[str, str] = field(default_factory=dict)


def cut_over_units(
    graph: Graph,
    assignment: Mapping[str, str],
    ranges: Mapping[str, TensorRange],
    arithmetic: Computing | None = None,
) -> CutGraph:
    """One operator for each share of those that an assignment places on several units.

    Args:
        graph: Simplified.
        assignment: Place of every node name.
        ranges: Statistics per tensor; may be empty.
        arithmetic: Of the units.

    Raises:
        InputError: An operator cannot be cut in these shares.
    """
    shares = {name: shares_of(place) for name, place in assignment.items() if "+" in place}
    if not any(shares.values()):
        return CutGraph(graph, assignment, ranges)
    units = unit_arithmetics(arithmetic)
    check_shares(graph, shares, units)
    classes = ChannelClasses(graph)
    orders = classes.orders(_chosen_orders(graph, shares, classes, units))
    return _Writer(graph, assignment, ranges, shares, orders).finish()


def check_shares(graph: Graph, shares: Mapping[str, Shares], units: UnitArithmetics) -> None:
    """Refuses shares of operators that cannot be cut so.

    Args:
        graph: Simplified.
        shares: By name of the node.
        units: What there is.

    Raises:
        InputError: With what is allowed.
    """
    for node in graph.nodes:
        if node.name in shares:
            reason = misfit_of(graph, node, shares, units)
            if reason is not None:
                names = [unit for unit, _ in shares[node.name]]
                whole = next((name for name in names if name in units.names), CPU)
                raise InputError(
                    f"plan: {node.name!r} is placed on {shared_place(shares[node.name])!r}: "
                    f"{reason}",
                    hint=f"the nearest legal plan: {node.name} = {whole}",
                )


def misfit_of(
    graph: Graph, node: Node, shares: Mapping[str, Shares], units: UnitArithmetics
) -> str | None:
    """Why a node cannot be cut as ``shares`` says, by name of the node; ``None`` where it can."""
    own, outputs = shares[node.name], channels_of(graph, node.output)
    names = [name for name, _ in own]
    unknown = next((name for name in names if name not in units.names), None)
    if unknown is not None:
        return f"no unit {unknown!r} computes in integers; there are {', '.join(units.names)}"
    follows = is_channelwise(graph, node)
    if not follows and not is_leading(graph, node):
        return (
            "only convolutions of one group, dense layers over rows of features, and channelwise "
            "operators behind them can be cut"
        )
    unable = next((n for n in names if units[n].unsupported(graph, node) is not None), None)
    if unable is not None:
        return f"{unable}: {units[unable].unsupported(graph, node)}"
    total = sum(channels for _, channels in own)
    if outputs != total:
        return f"it has {outputs} output channels, not {total}"
    block = max(units[name].traits.channel_block for name in names)
    if any(channels % block for _, channels in own[:-1]):
        return f"all shares but the last are multiples of {block} channels, which lie together"
    if follows:
        before = graph.producer(node.inputs[0])
        above = shares.get(before.name, ()) if before is not None else ()
        if [channels for _, channels in above] != [channels for _, channels in own]:
            return f"{node.inputs[0]!r}, which it reads channel by channel, is not cut like it"
    return None


def is_leading(graph: Graph, node: Node) -> bool:
    """Whether a node may be cut whatever is before it: each share reads its whole input."""
    return is_convolution(graph, node) or is_dense(graph, node)


def has_weights(node: Node) -> bool:
    """Whether a node that can be cut has a row of weights for each channel."""
    return node.op in ("Conv", "Dense")


def _chosen_orders(
    graph: Graph, shares: Mapping[str, Shares], classes: ChannelClasses, units: UnitArithmetics
) -> dict[str, Order]:
    """The order of each free class with a cut: by what few bits do to its channels."""
    first: dict[str, Shares] = {}
    damage: dict[str, npt.NDArray[np.float64]] = {}
    for node in graph.nodes:
        root = classes.of(node.output)
        if not shares.get(node.name) or not classes.is_free(root):
            continue
        own = shares[node.name]
        levels = [units[name].traits.weight_levels for name, _ in own]
        if len(set(levels)) > 1 and has_weights(node):
            first.setdefault(root, own)
            weight = np.asarray(out_channels_first(graph, node), np.float64)
            lost = channel_damage(weight, min(levels))
            damage[root] = damage.get(root, 0.0) + lost
    return {root: _filled(lost, first[root], units) for root, lost in damage.items()}


def _filled(lost: npt.NDArray[np.float64], shares: Shares, units: UnitArithmetics) -> Order:
    """The most damaged channels where weights are widest; equal ones in the model's order."""
    worst = np.argsort(-lost, kind="stable")
    levels = [units[name].traits.weight_levels for name, _ in shares]
    found: dict[int, Order] = {}
    start = 0
    for position in sorted(range(len(shares)), key=lambda at: -levels[at]):
        found[position] = worst[start : start + shares[position][1]]
        start += shares[position][1]
    return np.concatenate([found[position] for position in range(len(shares))])


class _Writer:
    """The graph with some operators cut and tensors reordered."""

    def __init__(
        self,
        graph: Graph,
        assignment: Mapping[str, str],
        ranges: Mapping[str, TensorRange],
        shares: Mapping[str, Shares],
        orders: Mapping[str, Order],
    ) -> None:
        self._graph, self._shares, self._orders = graph, shares, orders
        self._places, self._ranges = dict(assignment), dict(ranges)
        self._constants, self._types = dict(graph.constants), dict(graph.types)
        self._dynamic, self._kept = set(graph.dynamic_batch), dict(graph.kept)
        self._nodes: list[Node] = []
        self._names = {node.name for node in graph.nodes}
        self._origin: dict[str, str] = {}
        # What each unit writes of a tensor that is cut, in the order of its channels.
        self._parts: dict[str, tuple[str, ...]] = {}
        for name, order in orders.items():
            self._reorder(name, order)

    def finish(self) -> CutGraph:
        """The result."""
        for node in self._graph.nodes:
            if self._shares.get(node.name):
                self._cut(node)
            else:
                self._nodes.append(self._permuted(node))
        used = names_read(self._nodes, self._graph.outputs)
        changed = replace(
            self._graph,
            nodes=tuple(self._nodes),
            constants={name: value for name, value in self._constants.items() if name in used},
            types=self._types,
            dynamic_batch=frozenset(self._dynamic),
            kept=self._kept,
        )
        return CutGraph(changed, self._places, self._ranges, self._origin)

    def _permuted(self, node: Node) -> Node:
        """A node that reads and writes channels in their new order."""
        graph, own = self._graph, self._orders.get(node.output)
        if is_convolution(graph, node):
            return self._with_weights(node, own, self._orders.get(node.inputs[0]))
        if node.op == "Conv" and is_channelwise(graph, node):
            return self._with_weights(node, own, None)
        if is_dense(graph, node):
            return self._with_weights(node, own, self._rows_read(node))
        return node

    def _rows_read(self, node: Node) -> Order | None:
        """The order in which a dense layer reads its features."""
        view = self._graph.producer(node.inputs[0])
        if view is None or node not in flattened_readers(self._graph, view):
            return self._orders.get(node.inputs[0])
        order = self._orders.get(view.inputs[0])
        return None if order is None else self._flat(view.output, order)

    def _with_weights(self, node: Node, rows: Order | None, columns: Order | None) -> Node:
        if rows is None and columns is None:
            return node
        weight = out_channels_first(self._graph, node)
        if rows is not None:
            weight = weight[rows]
        if columns is not None:
            weight = weight[:, columns]
        inputs = [node.inputs[0], self._weight(node, weight), *node.inputs[2:]]
        if rows is not None and len(inputs) > 2 and inputs[2]:
            bias = np.ravel(self._graph.constants[inputs[2]])
            inputs[2] = self._constant(inputs[2], np.broadcast_to(bias, (len(rows),))[rows])
        return replace(node, inputs=tuple(inputs))

    def _cut(self, node: Node) -> None:
        """A node for each share, and their concatenation where somebody reads the whole."""
        own, follows = self._shares[node.name], is_channelwise(self._graph, node)
        ordered = self._permuted(node)
        # Each share of a channelwise operator reads its own.
        sources = self._parts[node.inputs[0]] if follows else (node.inputs[0],) * len(own)
        parts, first = [], 0
        for (unit, count), source in zip(own, sources, strict=True):
            channels = slice(first, first + count)
            output = self._part(node.output, unit, channels)
            constants = self._sliced(node, ordered, channels)
            attributes = dict(node.attributes)
            if follows and node.op == "Conv":
                attributes["group"] = count
            name = self._fresh_node(f"{node.name}/{unit}")
            self._places[name], self._origin[name] = unit, node.name
            inputs = (source, *constants)
            made = replace(node, name=name, inputs=inputs, outputs=(output,), attributes=attributes)
            self._nodes.append(made)
            parts.append(output)
            first += count
        self._parts[node.output] = tuple(parts)
        del self._places[node.name]
        if self._is_read_whole(node):
            name = self._fresh_node(f"{node.name}/whole")
            self._places[name], self._origin[name] = self._reader(node, own), node.name
            self._nodes.append(Node(name, "Concat", tuple(parts), (node.output,), {"axis": 1}))

    def _sliced(self, node: Node, ordered: Node, channels: slice) -> tuple[str, ...]:
        """Weights and bias of some channels of an operator, whose channels are ``ordered``; the
        constants of one without weights as they are."""
        if not has_weights(node):
            return node.inputs[1:]
        weight = self._constants[ordered.inputs[1]]
        weight = weight.T if node.op == "Dense" else weight
        found = [self._weight(node, weight[channels])]
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = np.broadcast_to(np.ravel(self._constants[ordered.inputs[2]]), len(weight))
            found.append(self._constant(node.inputs[2], bias[channels]))
        return tuple(found)

    def _part(self, tensor: str, unit: str, channels: slice) -> str:
        """A tensor of some channels of another."""
        name = fresh_name(f"{tensor}/{unit}", self._types)
        known = self._types[tensor]
        assert known.shape is not None  # its channels were counted
        count = channels.stop - channels.start
        self._types[name] = TensorType(known.dtype, (known.shape[0], count, *known.shape[2:]))
        if tensor in self._dynamic:
            self._dynamic.add(name)
        if tensor in self._kept:
            self._kept[name] = self._kept[tensor]
        if tensor in self._ranges:
            self._ranges[name] = _of_channels(self._ranges[tensor], channels)
        return name

    def _is_read_whole(self, node: Node) -> bool:
        """Whether anybody but operators that are cut alike reads what a cut node writes."""
        readers = self._graph.consumers(node.output)
        others = [
            item
            for item in readers
            if not (self._shares.get(item.name) and is_channelwise(self._graph, item))
        ]
        return bool(others) or node.output in self._graph.outputs

    def _reader(self, node: Node, own: Shares) -> str:
        """The unit in whose memory the whole is put together: one that reads it."""
        names = [name for name, _ in own]
        for item in self._graph.consumers(node.output):
            place = self._places.get(item.name)
            if place in names:
                return place
        return names[0]

    def _reorder(self, tensor: str, order: Order) -> None:
        """Statistics in the new order, also of a view as rows of features."""
        if tensor in self._ranges:
            self._ranges[tensor] = _of_channels(self._ranges[tensor], order)
        for view in self._graph.consumers(tensor):
            if view.output in self._ranges and flattened_readers(self._graph, view):
                rows = self._flat(view.output, order)
                self._ranges[view.output] = _of_channels(self._ranges[view.output], rows)

    def _flat(self, tensor: str, order: Order) -> Order:
        """The order of the features of a view whose channels are outermost."""
        pixels = (channels_of(self._graph, tensor) or 0) // len(order)
        return np.asarray((order[:, None] * pixels + np.arange(pixels)).reshape(-1))

    def _weight(self, node: Node, weight: npt.NDArray[np.generic]) -> str:
        """A constant of weights ``[O, ...]`` as the operator has them."""
        return self._constant(node.inputs[1], weight.T if node.op == "Dense" else weight)

    def _constant(self, base: str, value: npt.NDArray[np.generic]) -> str:
        name = fresh_name(f"{base}/cut", self._types)
        self._constants[name] = np.ascontiguousarray(value)
        self._types[name] = TensorType(str(value.dtype), value.shape)
        return name

    def _fresh_node(self, name: str) -> str:
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name


def _of_channels(known: TensorRange, channels: slice | Order) -> TensorRange:
    """The range of all, with the statistics of some channels."""
    found = {
        axis: ChannelStatistics(own.low[channels], own.high[channels], own.mean[channels])
        if axis == 1
        else own
        for axis, own in known.channels.items()
    }
    return replace(known, channels=found)
