"""The system timeline as slices for Perfetto: one track for the CPU, one per core of each unit, and
one for the critical path."""

from __future__ import annotations

from collections.abc import Iterator

from compiler_core.files.trace import TraceSlice
from compiler_core.partition.evaluate import Evaluation, Evaluator
from compiler_core.system.jobs import Job, JobKind
from compiler_core.units.names import CPU

CRITICAL_PATH = "critical path"
"""Name of its track. A step ends there where it lets the next one begin: a program may run on
beside what waited for its launch alone."""

_PICOSECONDS_PER_NANOSECOND = 1000


def track_names(evaluator: Evaluator) -> tuple[str, ...]:
    """Tracks in the order of the slices' numbers."""
    places, tracks = evaluator.costs.places, [CPU]
    for unit, cores in enumerate(evaluator.costs.machinery.cores):
        name = places[places.whole(unit)].name if cores else ""
        tracks += [f"{name}{core}" if cores > 1 else name for core in range(cores)]
    return (*tracks, CRITICAL_PATH)


def plan_slices(evaluator: Evaluator, evaluation: Evaluation) -> Iterator[TraceSlice]:
    """Slices of one run; the steps of the critical path stand once more on a track of their own."""
    timeline, jobs = evaluation.timeline, evaluation.jobs
    path = timeline.critical_path()
    critical = set(path)
    for span in timeline.spans:
        job = jobs[span.job]
        launching = job.kind is JobKind.PROGRAM and span.track == 0
        name = describe(evaluator, job)
        yield TraceSlice(
            span.track,
            f"launch {name}" if launching else name,
            "launch" if launching else _category(job.kind),
            span.start_ps // _PICOSECONDS_PER_NANOSECOND,
            span.end_ps // _PICOSECONDS_PER_NANOSECOND,
            {"critical": int(span.job in critical), "picoseconds": span.end_ps - span.start_ps},
        )
    track = len(track_names(evaluator)) - 1
    starts = [timeline.start_ps[index] for index in path]
    ends = [*starts[1:], timeline.latency_ps]
    for index, start_ps, end_ps in zip(path, starts, ends, strict=True):
        yield TraceSlice(
            track,
            describe(evaluator, jobs[index]),
            _category(jobs[index].kind),
            start_ps // _PICOSECONDS_PER_NANOSECOND,
            end_ps // _PICOSECONDS_PER_NANOSECOND,
            {"picoseconds": end_ps - start_ps},
        )


def _category(kind: JobKind) -> str:
    return kind.name.lower()


def describe(evaluator: Evaluator, job: Job) -> str:
    """Name of a job for people."""
    groups = evaluator.groups
    if job.kind.converts:
        return f"{job.kind.name.lower()} {groups.tensors[job.subject].name}"
    group = groups.groups[job.subject]
    return f"{group.operator} {group.name}"
