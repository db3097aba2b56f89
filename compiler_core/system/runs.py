"""Programs of several layers on the timeline: one job while it runs, one for each layer after that.

A run takes its core once, after everything that any of its layers waits for, and pays for one
launch; what waits for one of its layers waits for its end. Its layers take their shares of its time
one after another.
"""

from __future__ import annotations

from collections.abc import Sequence

from compiler_core.system.jobs import WHOLE_PPM, Job, Machinery, ranks
from compiler_core.system.timeline import Span, Timeline, simulate
from compiler_core.units.facets.runs import joined_after


def simulate_runs(jobs: Sequence[Job], continued: Sequence[bool], machinery: Machinery) -> Timeline:
    """Plays jobs, the highest rank first; see :func:`~compiler_core.system.timeline.simulate`.

    Args:
        jobs: Topologically sorted; those of a run lie next to one another.
        continued: Whether each one continues the program of the one before.
        machinery: Units and memories.
    """
    if not any(continued):
        return simulate(jobs, ranks(jobs), machinery)
    runs = _Runs(jobs, continued)
    return runs.apart(simulate(runs.jobs, ranks(runs.jobs), machinery))


class _Runs:
    """Jobs with those of each run as one.

    Attributes:
        jobs: Topologically sorted.
    """

    def __init__(self, jobs: Sequence[Job], continued: Sequence[bool]) -> None:
        self._all = jobs
        self._members: list[list[int]] = []
        for number, follows in enumerate(continued):
            if follows:
                self._members[-1].append(number)
            else:
                self._members.append([number])
        position = {job: at for at, members in enumerate(self._members) for job in members}
        after = joined_after([job.after for job in jobs], continued)
        self.jobs = [
            self._joined(members)._replace(
                after=tuple(sorted({position[source] for source in after[members[0]]}))
            )
            for members in self._members
        ]

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
        count = len(self._all)
        start, end, core, cause = [0] * count, [0] * count, [0] * count, [0] * count
        shares: list[list[int]] = []
        begun = {span.job: span.start_ps for span in found.spans if span.track > 0}
        for at, members in enumerate(self._members):
            first = found.start_ps[at]
            ends = self._ends(members, begun.get(at, first), found.end_ps[at])
            for member, last in zip(members, ends, strict=True):
                start[member], end[member], core[member] = first, last, found.core[at]
                cause[member], first = member - 1, last
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
                spans.append(Span(member, span.track, first, last))
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
