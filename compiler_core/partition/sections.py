"""Times of placements by their sections: what changes in one is timed anew, the others are known.

A placement falls apart behind a group that everything before leads to and everything after waits
for, as modules do (:mod:`compiler_core.partition.modules`), but by what this placement does: what
is handed past the group may be there for the CPU as it is, so that nothing is done for it. Nothing
after such a group starts before it ends, and nothing before it is left to do: times add up.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING

from compiler_core.partition.costs import ON_CPU_FORM
from compiler_core.partition.group_graph import OUTSIDE, BaseTensor
from compiler_core.partition.modules import modules_of
from compiler_core.targets.places import ON_CPU, ON_HOST, Placement

if TYPE_CHECKING:
    from compiler_core.partition.evaluate import Evaluator

Times = tuple[int, ...]
"""Of a section, for each way of joining layers."""

_Timing = Callable[[Placement, int, int], Times]
_Known = dict[tuple[object, ...], Times]

_MOST_ASKED = 4
"""Groups whose places tell whether a section ends, where the answer is kept."""
_MOST_KNOWN = 1 << 22
"""Places that the keys of known sections may hold together."""


class Sections:
    """Times of one model's placements.

    Args:
        owner: The model and its costs, which stay as they are.
    """

    def __init__(self, owner: Evaluator) -> None:
        self.owner = owner
        self._count = len(owner.groups.groups)
        self._modules = modules_of(owner.groups)
        self._around = [self._neighbours(group) for group in range(self._count)]
        self._candidates = self._possible_ends()
        self._handed_on = [
            tensor for tensor in range(len(owner.groups.tensors)) if self._passes_by(tensor)
        ]
        self._readers = [
            {c for t in group.writes for c in owner.groups.tensors[t].consumers}
            for group in owner.groups.groups
        ]
        self._known_ends: list[dict[tuple[int, ...], bool]] = [{} for _ in self._readers]
        self._asked = [(at, *sorted(own)) for at, own in enumerate(self._readers)]
        self._latencies: _Known = {}
        self._totals: _Known = {}
        self._held = 0

    def latency_ps(self, placement: Placement, first: int = 0, stop: int | None = None) -> int:
        """Time from the start to the end of whole modules, ``first`` to ``stop - 1``."""
        return self._least(placement, first, stop, self._latencies, self.owner.timed_ways)

    def sequential_ps(self, placement: Placement, first: int = 0, stop: int | None = None) -> int:
        """The same if nothing overlapped."""
        return self._least(placement, first, stop, self._totals, self.owner.total_ways)

    def ends(self, placement: Placement, first: int = 0, stop: int | None = None) -> list[int]:
        """Last groups of the sections of whole modules."""
        stop = self._count if stop is None else stop
        low, high = bisect_left(self._candidates, first), bisect_left(self._candidates, stop - 1)
        found = self._candidates[low:high]
        if found:
            crossed = self._crossed(placement)
            found = [at for at in found if not crossed[at] and self._closes(at, placement)]
        return [*found, stop - 1]

    def _least(
        self, placement: Placement, first: int, stop: int | None, known: _Known, timing: _Timing
    ) -> int:
        """Time of all sections in the way of joining layers that takes least."""
        times, begin = [], first
        for end in self.ends(placement, first, stop):
            times.append(self._section(placement, begin, end + 1, known, timing))
            begin = end + 1
        return min(map(sum, zip(*times, strict=True)))

    def _section(
        self, placement: Placement, first: int, stop: int, known: _Known, timing: _Timing
    ) -> Times:
        key: tuple[object, ...] = first, placement[max(0, first - 1) : stop]
        if first and self.owner.savings:
            key = (*key, *self._beside(placement, first))
        found = known.get(key)
        if found is None:
            if self._held > _MOST_KNOWN:
                self._latencies.clear()
                self._totals.clear()
                self._held = 0
            self._held += stop - first
            found = known[key] = timing(placement, first, stop)
        return found

    def _beside(self, placement: Placement, first: int) -> list[int]:
        """Places elsewhere that a section's time depends on: of what tells which program its first
        layer follows. What is handed past its ends is on the CPU, wherever it is read there."""
        return [placement[other] for other in self._around[first - 1]]

    def _neighbours(self, group: int) -> tuple[int, ...]:
        """Groups that read what a group reads, and that write it."""
        tensors = [self.owner.groups.tensors[t] for t in self.owner.groups.groups[group].reads]
        found = {other for tensor in tensors for other in (tensor.producer, *tensor.consumers)}
        return tuple(sorted(found - {group, OUTSIDE}))

    def _possible_ends(self) -> list[int]:
        """Groups that all before lead to, and all after wait for, wherever they are."""
        groups, tensors = self.owner.groups.groups, self.owner.groups.tensors
        if any(self._is_loose(group) for group in range(self._count)):
            return []
        nearest = [
            min((c for t in group.writes for c in tensors[t].consumers), default=self._count)
            for group in groups
        ]
        leads_to = [0, *accumulate(nearest, max)]
        waits_for = [*accumulate(map(self._waits_for, reversed(range(self._count))), min)][::-1]
        return [
            at for at in range(self._count - 1) if leads_to[at] <= at and waits_for[at + 1] >= at
        ]

    def _waits_for(self, group: int) -> int:
        """The last group that a group's first job waits for, at any place."""
        tensors = self.owner.groups.tensors
        part = self.owner.costs.groups[group].cpu.parts[0]
        first = {*part.reads, *(tensor for tensor, _ in part.views)}
        return min(
            max((tensors[t].producer for t in own), default=OUTSIDE)
            for own in (first, self.owner.groups.groups[group].reads)
        )

    def _is_loose(self, group: int) -> bool:
        """Whether at some place it has a job that waits for nothing, or that nothing waits for."""
        cost, reads = self.owner.costs.groups[group], {*self.owner.groups.groups[group].reads}
        if not cost.cpu.parts:
            return True
        for place, own in cost.at.items():
            if self.owner.unit_of[place] == ON_HOST:
                continue
            if any(not item.tensors and not item.programs for item in own.order):
                return True
            waits = {tensor for item in own.order for tensor in item.tensors}
            if place not in self.owner.joins[group] and waits != reads:
                return True
        return False

    def _passes_by(self, tensor: int) -> bool:
        """Whether a tensor may be handed past a possible end."""
        low, high = self._reach(self.owner.groups.tensors[tensor])
        at = bisect_left(self._candidates, low)
        return at < bisect_right(self._candidates, high)

    def _reach(self, tensor: BaseTensor) -> tuple[int, int]:
        """First and last group past which a tensor is handed; that of the caller, past all."""
        if tensor.is_output:
            return max(0, tensor.producer), self._count
        return tensor.producer + 1, max(tensor.consumers, default=0) - 1

    def _crossed(self, placement: Placement) -> list[int]:
        """How many tensors are handed past each group for which something has to be done."""
        change = [0] * (self._count + 2)
        for number in self._handed_on:
            low, high = self._worked_on(self.owner.groups.tensors[number], placement)
            if low <= high:
                change[low] += 1
                change[high + 1] -= 1
        return list(accumulate(change))

    def _worked_on(self, tensor: BaseTensor, placement: Placement) -> tuple[int, int]:
        """The same of one tensor for which something has to be done: first and last group."""
        low, high = self._reach(tensor)
        is_plain = len(tensor.aliases) == 1 and not tensor.aliases[0].views
        if not is_plain or self.owner.form_at(tensor.producer, placement) != ON_CPU_FORM:
            return low, high
        others = (c for c in reversed(tensor.consumers) if placement[c] != ON_CPU)
        return tensor.producer + 1, next(others, 0) - 1

    def _closes(self, group: int, placement: Placement) -> bool:
        """Whether what follows a group goes on behind its last program, or job, alone."""
        asked = self._asked[group]
        if len(asked) > _MOST_ASKED:
            return self._is_end(group, placement)
        key = tuple([placement[at] for at in asked])
        found = self._known_ends[group].get(key)
        if found is None:
            found = self._known_ends[group][key] = self._is_end(group, placement)
        return found

    def _is_end(self, group: int, placement: Placement) -> bool:
        """The same, looked at."""
        owner, place = self.owner, placement[group]
        if place in owner.joins[group]:
            return False
        if not owner.joins_at(place):
            return True
        form = owner.form_of[place]
        tensors = owner.groups.tensors
        return all(
            owner.form_of[placement[reader]] != form
            or all(tensors[t].producer == group for t in owner.groups.groups[reader].reads)
            for reader in self._readers[group]
        )
