"""Activations in DRAM along a timeline: when each buffer holds a value, and the most at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from compiler_core.partition.costs import CostTable
from compiler_core.partition.groups import OUTSIDE, GroupGraph
from compiler_core.partition.placement import ON_CPU, Placement
from compiler_core.system.timeline import Task, TaskKind, Timeline

Change = tuple[int, int]
"""Time in picoseconds and bytes that begin (or, negative, end) to be live."""


class Layout(Protocol):
    """What says how large tensors are."""

    groups: GroupGraph
    costs: CostTable

    def packed_bytes(self, tensor: int, placement: Placement) -> int:
        """Size of an int8 tensor in DRAM as its readers want it."""


def peak_bytes(
    layout: Layout, placement: Placement, tasks: Sequence[Task], timeline: Timeline
) -> int:
    """Most bytes of activations that are live at a time; what is placed by a concatenation lives in
    its buffer."""
    lives = _Lives(layout, placement, tasks, timeline)
    live = peak = 0
    for _, size in sorted(change for life in lives.all() for change in life):
        live += size
        peak = max(peak, live)
    return peak


class _Lives:
    """When each buffer holds a value: from the start of its writer to its last reader's end."""

    def __init__(
        self,
        layout: Layout,
        placement: Placement,
        tasks: Sequence[Task],
        timeline: Timeline,
    ) -> None:
        self._owner, self._placement = layout, placement
        self._end = timeline.latency_ps
        self._begins: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._converted: dict[int, tuple[int, int]] = {}
        self._placed: set[int] = set()
        for index, task in enumerate(tasks):
            start, end = timeline.start_ps[index], timeline.end_ps[index]
            if task.kind in (TaskKind.QUANTIZE, TaskKind.DEQUANTIZE):
                self._converted[task.subject] = start, end
                continue
            if task.kind is TaskKind.PLACE and task.subject not in self._begins:
                self._placed.add(task.subject)
            self._begins[task.subject] = min(start, self._begins.get(task.subject, start))
            self._ends[task.subject] = max(end, self._ends.get(task.subject, 0))

    def all(self) -> list[tuple[Change, Change]]:
        """``((start, bytes), (end, -bytes))`` per buffer."""
        found = []
        until: dict[int, int] = {}
        for group in reversed(self._owner.groups.groups):
            if group.index in self._placed:
                until[group.index] = max((self._last(t, until) for t in group.writes), default=0)
        for tensor, item in enumerate(self._owner.groups.tensors):
            if item.producer in self._placed:
                found += self._copies(tensor, self._ends[item.producer], until, own=0)
                continue
            begin = self._begins[item.producer] if item.producer != OUTSIDE else 0
            on_npu = item.producer != OUTSIDE and self._placement[item.producer] != ON_CPU
            size = self._owner.costs.tensors[tensor]
            own = size.packed_bytes if on_npu else size.float_bytes
            found += self._copies(tensor, begin, until, own=own)
        return found

    def _copies(
        self, tensor: int, begin: int, until: dict[int, int], *, own: int
    ) -> list[tuple[Change, Change]]:
        """The buffer that the producer writes, and the converted one where there is one."""
        last = self._last(tensor, until)
        found = [((begin, own), (last, -own))] if own else []
        if tensor in self._converted:
            start, end = self._converted[tensor]
            item = self._owner.groups.tensors[tensor]
            to_float = item.producer != OUTSIDE and self._placement[item.producer] != ON_CPU
            size = self._owner.costs.tensors[tensor].float_bytes
            if not to_float:
                size = self._owner.packed_bytes(tensor, self._placement)
            found.append(((start, size), (max(last, end), -size)))
        return found

    def _last(self, tensor: int, until: dict[int, int]) -> int:
        item = self._owner.groups.tensors[tensor]
        if item.is_output:
            return self._end
        return max(
            (until.get(reader, self._ends.get(reader, 0)) for reader in item.consumers), default=0
        )
