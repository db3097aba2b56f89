"""The system timeline as slices for Perfetto: one track for the CPU, one per NPU core."""

from __future__ import annotations

from collections.abc import Iterator

from compiler_core.files.trace import Colour, Slice
from compiler_core.partition.evaluate import Evaluation, Evaluator, describe
from compiler_core.system.timeline import Resource, TaskKind

_PICOSECONDS_PER_NANOSECOND = 1000


def track_names(evaluator: Evaluator) -> tuple[str, ...]:
    """Tracks in the order of the slices' numbers."""
    cores = evaluator.costs.cores
    return ("cpu", *(f"vta{core}" if cores > 1 else "vta" for core in range(cores)))


def plan_slices(evaluator: Evaluator, evaluation: Evaluation) -> Iterator[Slice]:
    """Slices of one run; those on the critical path are red."""
    critical = set(evaluation.timeline.critical_path())
    for span in evaluation.timeline.spans:
        task = evaluation.tasks[span.task]
        launching = task.resource is Resource.NPU and span.track == 0
        name = describe(evaluator, task)
        converting = task.kind in (TaskKind.QUANTIZE, TaskKind.DEQUANTIZE)
        yield Slice(
            span.track,
            f"launch {name}" if launching else name,
            "launch" if launching else task.kind.name.lower(),
            span.start_ps // _PICOSECONDS_PER_NANOSECOND,
            span.end_ps // _PICOSECONDS_PER_NANOSECOND,
            Colour.RED if span.task in critical else Colour.YELLOW if converting else Colour.NONE,
            {"critical": int(span.task in critical), "picoseconds": span.end_ps - span.start_ps},
        )
