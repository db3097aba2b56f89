"""The system timeline as slices for Perfetto: one track for the CPU, one per NPU core, and one for
the critical path."""

from __future__ import annotations

from collections.abc import Iterator

from compiler_core.files.trace import Slice
from compiler_core.partition.evaluate import Evaluation, Evaluator, describe
from compiler_core.system.timeline import Resource, TaskKind
from compiler_core.units.names import CPU, NPU

CRITICAL_PATH = "critical path"
"""Name of its track. A step ends there where it lets the next one begin: a program may run on
beside what waited for its launch alone."""

_PICOSECONDS_PER_NANOSECOND = 1000


def track_names(evaluator: Evaluator) -> tuple[str, ...]:
    """Tracks in the order of the slices' numbers."""
    cores = evaluator.costs.cores
    units = (CPU, *(f"{NPU}{core}" if cores > 1 else NPU for core in range(cores)))
    return (*units, CRITICAL_PATH)


def plan_slices(evaluator: Evaluator, evaluation: Evaluation) -> Iterator[Slice]:
    """Slices of one run; the steps of the critical path stand once more on a track of their own."""
    timeline, tasks = evaluation.timeline, evaluation.tasks
    path = timeline.critical_path()
    critical = set(path)
    for span in timeline.spans:
        task = tasks[span.task]
        launching = task.resource is Resource.NPU and span.track == 0
        name = describe(evaluator, task)
        yield Slice(
            span.track,
            f"launch {name}" if launching else name,
            "launch" if launching else _category(task.kind),
            span.start_ps // _PICOSECONDS_PER_NANOSECOND,
            span.end_ps // _PICOSECONDS_PER_NANOSECOND,
            {"critical": int(span.task in critical), "picoseconds": span.end_ps - span.start_ps},
        )
    track = len(track_names(evaluator)) - 1
    starts = [timeline.start_ps[index] for index in path]
    ends = [*starts[1:], timeline.latency_ps]
    for index, start_ps, end_ps in zip(path, starts, ends, strict=True):
        yield Slice(
            track,
            describe(evaluator, tasks[index]),
            _category(tasks[index].kind),
            start_ps // _PICOSECONDS_PER_NANOSECOND,
            end_ps // _PICOSECONDS_PER_NANOSECOND,
            {"picoseconds": end_ps - start_ps},
        )


def _category(kind: TaskKind) -> str:
    return kind.name.lower()
