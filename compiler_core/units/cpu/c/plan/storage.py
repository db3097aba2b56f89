"""Which values share memory from the start: views, and results that overwrite their input.

A value's storage is one of: the caller's input or output, a constant, or a buffer of the arena.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compiler_core.units.cpu.c.network import Network, Operator
from compiler_core.units.cpu.c.operators.moves import Joined, Part, View
from compiler_core.units.cpu.c.operators.pointwise import (
    Product,
    Rescale,
    Sum,
    Table,
    WideTable,
)
from compiler_core.units.cpu.c.operators.real import RealMap, RealPair

_OVERWRITING = (Product, Rescale, Sum, Table, WideTable, RealMap, RealPair)
"""Operators that read each element of an input of the result's shape before they write there."""


@dataclass(frozen=True)
class Storages:
    """What holds each value.

    Attributes:
        home: Per value, the first value of the same memory.
        start: Per value, the element of its home's memory that it begins at.
    """

    home: Mapping[str, str]
    start: Mapping[str, int]


def storages(network: Network, order: Sequence[Operator]) -> Storages:
    """Joins values that can share their memory.

    Args:
        network: The network.
        order: Its operators in the order in which they run.
    """
    home = {name: name for name in network.values}
    start = dict.fromkeys(network.values, 0)
    last: dict[str, int] = {}
    for step, operator in enumerate(order):
        for name in operator.inputs:
            last[name] = step
    for name in network.outputs:
        last[name] = len(order)
    fixed = {*network.inputs, *network.constants}
    members: dict[str, list[str]] = {name: [name] for name in network.values}

    def join(result: str, source: str, behind: int = 0) -> None:
        root = home[source]
        home[result] = root
        start[result] = start[source] + behind
        members[root].append(result)

    for operator in order:
        if isinstance(operator, Joined):
            behind = 0
            for name in operator.inputs:
                join(name, operator.output, behind)
                behind += network.values[name].size
    for step, operator in enumerate(order):
        if isinstance(operator, Joined):
            continue
        if isinstance(operator, View):
            behind = operator.start if isinstance(operator, Part) else 0
            join(operator.output, operator.inputs[0], behind)
        elif isinstance(operator, _OVERWRITING) and home[operator.output] == operator.output:
            for name in operator.inputs:
                root = home[name]
                dead = all(last.get(member, -1) <= step for member in members[root])
                alike = network.values[name].shape == network.values[operator.output].shape
                narrow = network.values[name].size_bytes == (
                    network.values[operator.output].size_bytes
                )
                twice = operator.inputs.count(name) > 1
                if root not in fixed and dead and alike and narrow and not twice:
                    join(operator.output, name)
                    break
    return Storages(home, start)
