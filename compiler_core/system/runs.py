"""Programs of several layers on the timeline: one job while it runs, one for each layer after that.

A run takes its core once, after everything that any of its layers waits for, and pays for one
launch; what waits for one of its layers waits for its end. Its layers take their shares of its time
one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from compiler_core.system.jobs import WHOLE_PPM, Job, Machinery, ranks
from compiler_core.system.timeline import Timeline, TimelineSpan, simulate


def simulate_runs(
    jobs: Sequence[Job],
    continued: Sequence[bool],
    machinery: Machinery,
    priorities: Sequence[int] | None = None,
) -> Timeline:
    """Plays jobs, the highest rank first; see :func:`~compiler_core.system.timeline.simulate`.

    Args:
        jobs: Topologically sorted; those of a run lie next to one another.
        continued: Whether each one continues the program of the one before.
        machinery: Units and memories.
        priorities: By the subject of a job, in the place of ranks.
    """
    members: list[list[int]] = []
    for number, follows in enumerate(continued):
        if follows:
            members[-1].append(number)
        else:
            members.append([number])
    runs = Runs(jobs, [own for own in members if len(own) > 1])
    found = ranks(runs.jobs) if priorities is None else [priorities[j.subject] for j in runs.jobs]
    return runs.apart(simulate(runs.jobs, found, machinery))


class Runs:
    """Jobs with those of each run as one.

    Args:
        jobs: Topologically sorted.
        runs: Those that are one program, in order, two or more; nothing that any of them waits for
            waits for one of them.

    Attributes:
        jobs: Topologically sorted, each run where its first job was or later.
    """

    def __init__(self, jobs: Sequence[Job], runs: Sequence[Sequence[int]]) -> None:
        self._all = jobs
        of = {own[0]: own for own in runs}
        inside = {number for own in runs for number in own[1:]}
        self._members = [of.get(at, (at,)) for at in range(len(jobs)) if at not in inside]
        if not runs:
            self.jobs = list(jobs)
            return
        after = self._after()
        if any(source > at for at, sources in enumerate(after) for source in sources):
            order = _sorted(after)
            self._members = [self._members[at] for at in order]
            after = self._after()
        self.jobs = [
            self._joined(members)._replace(after=sources)
            for members, sources in zip(self._members, after, strict=True)
        ]

    def _after(self) -> list[tuple[int, ...]]:
        """What each run or job waits for."""
        position = {job: at for at, members in enumerate(self._members) for job in members}
        found = []
        for at, members in enumerate(self._members):
            sources = {position[s] for member in members for s in self._all[member].after}
            found.append(tuple(sorted(sources - {at})))
        return found

    def _joined(self, members: Sequence[int]) -> Job:
        own = [self._all[member] for member in members]
        time = sum(job.run_ps for job in own)
        if len(own) == 1 or not time:
            return own[0]
        return own[0]._replace(
            run_ps=time,
            read_ppm=min(WHOLE_PPM, sum(job.read_ppm * job.run_ps for job in own) // time),
            write_ppm=min(WHOLE_PPM, sum(job.write_ppm * job.run_ps for job in own) // time),
        )

    def apart(self, found: Timeline) -> Timeline:
        """The timeline of all jobs from that of the joined ones."""
        if len(self._members) == len(self._all):
            return found
        count = len(self._all)
        start, end, core, cause = [0] * count, [0] * count, [0] * count, [0] * count
        shares: list[list[int]] = []
        begun = {span.job: span.start_ps for span in found.spans if span.track > 0}
        for at, members in enumerate(self._members):
            first = found.start_ps[at]
            ends = self._ends(members, begun.get(at, first), found.end_ps[at])
            for member, last in zip(members, ends, strict=True):
                start[member], end[member], core[member] = first, last, found.core[at]
                first = last
            for before, member in pairwise(members):
                cause[member] = before
            source = found.cause[at]
            cause[members[0]] = self._members[source][-1] if source >= 0 else source
            shares.append(ends)
        spans = []
        for span in found.spans:
            members = self._members[span.job]
            first = span.start_ps
            if span.track == 0 or len(members) == 1:
                spans.append(span._replace(job=members[0]))
                continue
            for member, last in zip(members, shares[span.job], strict=True):
                spans.append(TimelineSpan(member, span.track, first, last))
                first = last
        spans.sort(key=lambda span: span.end_ps)
        return Timeline(
            found.latency_ps, tuple(start), tuple(end), tuple(core), tuple(cause), tuple(spans)
        )

    def _ends(self, members: Sequence[int], begun: int, ended: int) -> list[int]:
        """When each layer of a run is over; one that others slow down is stretched as a whole."""
        total = sum(self._all[member].run_ps for member in members)
        ends, done = [], 0
        for member in members[:-1]:
            done += self._all[member].run_ps
            ends.append(begun + (ended - begun) * done // max(total, 1))
        return [*ends, ended]


def _sorted(after: Sequence[Sequence[int]]) -> list[int]:
    """Numbers so that each follows what it waits for, else as they are."""
    order: list[int] = []
    begun, done = [False] * len(after), [False] * len(after)
    for number in range(len(after)):
        stack = [number]
        while stack:
            at = stack[-1]
            if not begun[at]:
                begun[at] = True
                stack += [source for source in after[at][::-1] if not begun[source]]
                continue
            stack.pop()
            if not done[at]:
                done[at] = True
                order.append(at)
    return order
