"""The memory plan of a network: order, what shares memory, offsets in the arena."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from compiler_core.units.cpu.c.network import Network, Operator
from compiler_core.units.cpu.c.plan.order import best_order
from compiler_core.units.cpu.c.plan.packing import (
    ALIGNMENT,
    ArenaBuffer,
    Packing,
    aligned,
    live_bound,
    pack,
)
from compiler_core.units.cpu.c.plan.storage import storages

SCRATCH = "scratch"
"""Prefix of buffers that an operator needs while it runs."""


@dataclass(frozen=True, eq=False)
class MemoryPlan:
    """Where every value lies.

    Attributes:
        order: Operators as they run.
        home: Per value, the value whose memory it has.
        start: Per value, the element of that memory that it begins at.
        packing: Offsets of arena buffers by their home value, and of ``scratch<step>``.
        caller: Homes that the caller holds: inputs, and outputs that are written in place.
        copied: Outputs that are copied at the end, since they are an input, a constant, or share
            memory with another output.
        live: Buffers of the arena with their first and last step.
    """

    order: tuple[Operator, ...]
    home: Mapping[str, str]
    start: Mapping[str, int]
    packing: Packing
    caller: frozenset[str]
    copied: tuple[str, ...]
    live: tuple[ArenaBuffer, ...]

    @property
    def arena_bytes(self) -> int:
        """Size of the arena."""
        return max(self.packing.size, ALIGNMENT)


def plan_memory(
    network: Network,
    scratch_bytes: Callable[[Operator], int] = lambda _operator: 0,
    *,
    exact: bool = True,
) -> MemoryPlan:
    """Plans a network's memory.

    Args:
        network: The network.
        scratch_bytes: What an operator needs while it runs.
        exact: Whether buffers are placed; else nothing but the bound of the packing is of use.
    """
    order = best_order(network)
    shared = storages(network, order)
    home = shared.home
    fixed = {*network.inputs, *network.constants}
    direct: dict[str, str] = {}
    copied = []
    for name in network.outputs:
        root = home[name]
        same_size = network.values[root].size_bytes == network.values[name].size_bytes
        if root in fixed or root in direct or not same_size:
            copied.append(name)
        else:
            direct[root] = name
    live: dict[str, list[int]] = {}
    for step, operator in enumerate(order):
        for name in (*operator.inputs, operator.output):
            root = home[name]
            if root not in fixed and root not in direct:
                live.setdefault(root, [step, step])[1] = step
    for name in copied:
        if home[name] in live:
            live[home[name]][1] = len(order)
    buffers = [
        ArenaBuffer(name, network.values[name].size_bytes, first, last)
        for name, (first, last) in live.items()
    ]
    for step, operator in enumerate(order):
        size = scratch_bytes(operator)
        if size:
            buffers.append(ArenaBuffer(f"{SCRATCH}{step}", aligned(size), step, step))
    return MemoryPlan(
        order,
        home,
        shared.start,
        pack(buffers) if exact else Packing({}, 0, live_bound(buffers)),
        frozenset({*network.inputs, *direct}),
        tuple(copied),
        tuple(sorted(buffers, key=lambda item: (item.first, item.name))),
    )
