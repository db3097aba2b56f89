"""The order of operators that needs the least memory.

Values live from the operator that writes them to the last that reads them. Among all orders that
respect dependences, the one with the smallest largest sum of live bytes is found exactly where the
graph is narrow enough, by dynamic programming over sets of finished operators; else the given order
stays.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler_core.units.cpu.c.network import Network, Operator
from compiler_core.units.cpu.c.operators.moves import Joined, View
from compiler_core.units.cpu.c.plan.packing import aligned

_MOST_WORK = 5_000_000
"""Looks at a buffer, over all sets of finished operators: some seconds."""


def best_order(network: Network) -> tuple[Operator, ...]:
    """Operators in an order of least memory, the given one where it is as good."""
    operators = network.operators
    if any(isinstance(item, Joined) for item in operators):
        return operators  # in stripes, which keep little memory in this order alone
    graph = _Dependences(network)
    given = graph.peak(range(len(operators)))
    if given <= graph.bound():
        return operators
    found = graph.search(given)
    return operators if found is None else tuple(operators[i] for i in found)


class _Dependences:
    """Operators as bits: what each waits for, reads and writes."""

    def __init__(self, network: Network) -> None:
        operators = network.operators
        writer = {item.output: i for i, item in enumerate(operators)}
        # Memory of a view is that of its source; what the caller holds costs nothing.
        root: dict[str, str] = {}
        for item in operators:
            source = item.inputs[0]
            root[item.output] = root.get(source, source) if isinstance(item, View) else item.output
        free = {*network.inputs, *network.constants}
        self.count = len(operators)
        self.after = [
            sum({1 << writer[name] for name in item.inputs if name in writer}) for item in operators
        ]
        self.touched: list[list[str]] = []
        self.users: dict[str, int] = {}
        self.makers: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        for i, item in enumerate(operators):
            names = {root.get(name, name) for name in (*item.inputs, item.output)} - free
            self.touched.append(sorted(names))
            for name in names:
                self.users[name] = self.users.get(name, 0) | 1 << i
                self.sizes[name] = aligned(network.values[name].size_bytes)
            home = root[item.output]
            if home not in free:
                self.makers.setdefault(home, 1 << i)
        held = {root.get(name, name) for name in network.outputs}
        for name in held - free:  # the caller's own memory
            self.sizes[name] = 0

    def live(self, done: int, step: int) -> int:
        """Bytes while an operator runs, after those of ``done``."""
        total = 0
        for name, users in self.users.items():
            made = self.makers[name] & (done | 1 << step)
            if made and users & ~done:
                total += self.sizes[name]
        return total

    def bound(self) -> int:
        """Bytes that no order is below: what one operator reads and writes."""
        touched = (sum(self.sizes[name] for name in names) for names in self.touched)
        return max(touched, default=0)

    def peak(self, order: Sequence[int]) -> int:
        """The most live bytes of an order."""
        done = most = 0
        for step in order:
            most = max(most, self.live(done, step))
            done |= 1 << step
        return most

    def search(self, given: int) -> list[int] | None:
        """An order whose peak is below ``given``; ``None`` where there is none or it is too wide.

        Sets of finished operators are visited by their peak, so that the first that holds all is
        best.
        """
        import heapq

        every = (1 << self.count) - 1
        best: dict[int, int] = {0: 0}
        came: dict[int, tuple[int, int]] = {}
        # Of equal peaks the one that has gone farthest: it ends soonest.
        heap = [(0, self.count, 0)]
        work = 0
        while heap:
            most, _, done = heapq.heappop(heap)
            if done == every:
                return _path(came, every) if most < given else None
            if most > best[done] or most >= given:
                continue
            for step in range(self.count):
                if done >> step & 1 or self.after[step] & ~done:
                    continue
                work += len(self.users)
                peak = max(most, self.live(done, step))
                following = done | 1 << step
                if peak < given and peak < best.get(following, given):
                    best[following] = peak
                    came[following] = (done, step)
                    heapq.heappush(heap, (peak, self.count - following.bit_count(), following))
            if work > _MOST_WORK:
                return None
        return None


def _path(came: dict[int, tuple[int, int]], every: int) -> list[int]:
    order = []
    done = every
    while done:
        done, step = came[done]
        order.append(step)
    return order[::-1]
