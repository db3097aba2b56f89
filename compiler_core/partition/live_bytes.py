"""Activations in DRAM along a timeline: when each buffer holds a value, and the most at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from compiler_core.partition.costs import CostTable
from compiler_core.partition.group_graph import OUTSIDE, GroupGraph
from compiler_core.system.jobs import Job, JobKind
from compiler_core.system.timeline import Timeline
from compiler_core.targets.places import Placement

Change = tuple[int, int]
"""Time in picoseconds and bytes that begin (or, negative, end) to be live."""


class TensorForms(Protocol):
    """What says how large tensors are."""

    groups: GroupGraph
    costs: CostTable

    def form_at(self, group: int, placement: Placement) -> int:
        """The form in which a group writes."""

    def form_bytes(self, tensor: int, form: int, placement: Placement) -> int:
        """Size of a tensor in a form, as those want it that read it so."""


def peak_bytes(
    layout: TensorForms, placement: Placement, jobs: Sequence[Job], timeline: Timeline
) -> int:
    """Most bytes of activations that are live at a time; what is placed by a concatenation lives in
    its buffer."""
    lives = _Lives(layout, placement, jobs, timeline)
    live = peak = 0
    for _, size in sorted(change for life in lives.all() for change in life):
        live += size
        peak = max(peak, live)
    return peak


class _Lives:
    """When each buffer holds a value: from the start of its writer to its last reader's end."""

    def __init__(
        self,
        layout: TensorForms,
        placement: Placement,
        jobs: Sequence[Job],
        timeline: Timeline,
    ) -> None:
        self._owner, self._placement = layout, placement
        self._end = timeline.latency_ps
        self._begins: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._converted: dict[int, list[tuple[int, int, int]]] = {}
        self._joined: set[int] = set()
        for index, job in enumerate(jobs):
            start, end = timeline.start_ps[index], timeline.end_ps[index]
            if job.kind.converts:
                self._converted.setdefault(job.subject, []).append((job.form, start, end))
                continue
            if job.kind is JobKind.JOIN and job.subject not in self._begins:
                self._joined.add(job.subject)
            self._begins[job.subject] = min(start, self._begins.get(job.subject, start))
            self._ends[job.subject] = max(end, self._ends.get(job.subject, 0))

    def all(self) -> list[tuple[Change, Change]]:
        """``((start, bytes), (end, -bytes))`` per buffer."""
        found = []
        until: dict[int, int] = {}
        for group in reversed(self._owner.groups.groups):
            if group.index in self._joined:
                until[group.index] = max((self._last(t, until) for t in group.writes), default=0)
        for tensor, item in enumerate(self._owner.groups.tensors):
            if item.producer in self._joined:
                found += self._copies(tensor, self._ends[item.producer], until, own=0)
                continue
            begin = self._begins[item.producer] if item.producer != OUTSIDE else 0
            form = self._owner.form_at(item.producer, self._placement)
            size = self._owner.costs.tensors[tensor].form_bytes[form]
            found += self._copies(tensor, begin, until, own=size)
        return found

    def _copies(
        self, tensor: int, begin: int, until: dict[int, int], *, own: int
    ) -> list[tuple[Change, Change]]:
        """The buffer that the producer writes, and the converted ones where there are any."""
        last = self._last(tensor, until)
        found = [((begin, own), (last, -own))] if own else []
        for form, start, end in self._converted.get(tensor, ()):
            size = self._owner.form_bytes(tensor, form, self._placement)
            found.append(((start, size), (max(last, end), -size)))
        return found

    def _last(self, tensor: int, until: dict[int, int]) -> int:
        item = self._owner.groups.tensors[tensor]
        if item.is_output:
            return self._end
        return max(
            (until.get(reader, self._ends.get(reader, 0)) for reader in item.consumers), default=0
        )
