"""Which values share memory from the start: views, and results that overwrite their input.

A value's storage is one of: the caller's input or output, a constant, or a buffer of the arena.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compiler_core.units.cpu.c.network import Network, Operator
from compiler_core.units.cpu.c.operators.moves import View
from compiler_core.units.cpu.c.operators.pointwise import Product, Rescale, Sum, Table
from compiler_core.units.cpu.c.operators.real import RealMap, RealPair

_OVERWRITING = (Product, Rescale, Sum, Table, RealMap, RealPair)
"""Operators that read each element of an input of the result's shape before they write there."""


@dataclass(frozen=True)
class Storages:
    """What holds each value.

    Attributes:
        home: Per value, the first value of the same memory.
    """

    home: Mapping[str, str]


def storages(network: Network, order: Sequence[Operator]) -> Storages:
    """Joins values that can share their memory.

    Args:
        network: The network.
        order: Its operators in the order in which they run.
    """
    home = {name: name for name in network.values}
    last: dict[str, int] = {}
    for step, operator in enumerate(order):
        for name in operator.inputs:
            last[name] = step
    for name in network.outputs:
        last[name] = len(order)
    fixed = {*network.inputs, *network.constants}
    members: dict[str, list[str]] = {name: [name] for name in network.values}

    def join(result: str, source: str) -> None:
        root = home[source]
        home[result] = root
        members[root].append(result)

    for step, operator in enumerate(order):
        if isinstance(operator, View):
            join(operator.output, operator.inputs[0])
        elif isinstance(operator, _OVERWRITING):
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
    return Storages(home)
