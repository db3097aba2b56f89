"""What the latency of a compiled model is made of: every instant has one reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from compiler_core.compile.compile import CompiledModel
from compiler_core.executable.report import CONVERSIONS, LayerReport
from compiler_core.system.jobs import Job, JobKind
from compiler_core.system.timeline import TimelineSpan

_PS_PER_MS = 1e9
LAUNCH, CONVERSION, HOST_WORK, ABOVE, IDLE = "launch", "conversion", "host", "above", "idle"
_LABELS = {
    ABOVE: "programs above their bound",
    LAUNCH: "launches",
    CONVERSION: "conversions between units",
    HOST_WORK: "operators on the CPU",
    IDLE: "nothing runs",
}


@dataclass(frozen=True)
class Share:
    """A part of the latency.

    Attributes:
        reason: What a bound of a layer comes from, such as ``compute``, or one of this module's.
        ms: How long.
        share: Of the latency, 0 to 1.
    """

    reason: str
    ms: float
    share: float

    @property
    def label(self) -> str:
        """For people."""
        return _LABELS.get(self.reason, f"programs at their bound: {self.reason}")

    @property
    def kind(self) -> str:
        """Class of its colour: one of this module's reasons, or ``bound``."""
        return self.reason if self.reason in _LABELS else "bound"


def latency_shares(compiled: CompiledModel) -> tuple[Share, ...]:
    """Reasons for the latency of one run; their times add up to it.

    While programs run on accelerators, these are the reason, each instant shared evenly among
    them; else it is what the CPU does. A program of ``cycles`` with a lower bound of
    ``bound_cycles`` spends that part of its time at its bound.
    """
    found = compiled.timeline
    total_ps = found.timeline.latency_ps
    stretches = [
        RunningSpan(
            span.start_ps,
            span.end_ps,
            *_reason(compiled.report.layers, found.jobs[span.job], span),
        )
        for span in found.timeline.spans
    ]
    sums = attribute(stretches, total_ps)
    return tuple(
        Share(reason, sums[reason] / _PS_PER_MS, sums[reason] / total_ps)
        for reason in sorted(sums, key=_rank)
    )


class RunningSpan(NamedTuple):
    """Something that runs, on an accelerator or on the CPU, and its reasons with their parts of
    1."""

    start_ps: int
    end_ps: int
    on_unit: bool
    parts: Mapping[str, float]


def attribute(stretches: Sequence[RunningSpan], total_ps: int) -> dict[str, float]:
    """Picoseconds of each reason; they add up to ``total_ps``.

    Args:
        stretches: In any order; none ends behind ``total_ps``.
        total_ps: From start to end.
    """
    sums: dict[str, float] = {}
    spans = [stretch for stretch in stretches if stretch.end_ps > stretch.start_ps]
    edges = sorted({0, total_ps, *(s.start_ps for s in spans), *(s.end_ps for s in spans)})
    begun = sorted(spans, key=lambda span: span.start_ps)
    running: list[RunningSpan] = []
    position = 0
    for start, end in pairwise(edges):
        running = [span for span in running if span.end_ps > start]
        while position < len(begun) and begun[position].start_ps <= start:
            running.append(begun[position])
            position += 1
        active = [span for span in running if span.on_unit] or running
        for span in active:
            for reason, part in span.parts.items():
                sums[reason] = sums.get(reason, 0.0) + part * (end - start) / len(active)
        if not active:
            sums[IDLE] = sums.get(IDLE, 0.0) + end - start
    return sums


def _rank(reason: str) -> tuple[int, str]:
    """What programs are bound by comes first."""
    order = list(_LABELS)
    return (order.index(reason) + 1 if reason in order else 0, reason)


def _reason(
    layers: tuple[LayerReport, ...], job: Job, span: TimelineSpan
) -> tuple[bool, Mapping[str, float]]:
    """Whether a stretch runs on an accelerator, and its reasons with their parts of 1."""
    layer = layers[job.subject]
    if layer.operator in CONVERSIONS or job.kind.converts:
        return False, {CONVERSION: 1.0}
    if job.kind is not JobKind.PROGRAM:
        return False, {HOST_WORK: 1.0}
    if span.track == 0:
        return False, {LAUNCH: 1.0}
    at_bound = min(layer.utilization, 1.0) if layer.limited_by else 0.0
    parts = {layer.limited_by: at_bound, ABOVE: 1.0 - at_bound}
    return True, {reason: part for reason, part in parts.items() if part > 0}
