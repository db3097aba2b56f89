"""The system timeline of a compiled model: its own programs, conversions and CPU nodes, each as
soon as what it reads is there and its unit is free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler_core.executable.report import LayerReport
from compiler_core.system.places import Places
from compiler_core.system.steps import Step
from compiler_core.system.timeline import (
    ALL_CORES,
    ANY_CORE,
    PICOSECONDS,
    WHOLE_PPM,
    Resource,
    Task,
    TaskKind,
    Timeline,
    picoseconds,
    ranks,
    simulate,
)
from compiler_core.targets.target import Target
from compiler_core.units.facets.programs import LaunchCost
from compiler_core.units.names import SLICED_UNITS, core_of

_PICOSECONDS_PER_MILLISECOND = 10**9


@dataclass(frozen=True)
class CompiledTimeline:
    """A compiled model, simulated.

    Attributes:
        tasks: One per layer of the report, in its order; ``subject`` is the layer's number.
        timeline: When each ran.
    """

    tasks: tuple[Task, ...]
    timeline: Timeline

    @property
    def latency_ms(self) -> float:
        """From start to end."""
        return self.timeline.latency_ps / _PICOSECONDS_PER_MILLISECOND


def compiled_timeline(
    steps: Sequence[Step],
    layers: Sequence[LayerReport],
    launches: Sequence[LaunchCost],
    units: Sequence[str],
    places: Places,
    target: Target,
) -> CompiledTimeline:
    """Simulates one run.

    Args:
        steps: What has to be done.
        layers: What each step costs, in the same order.
        launches: Timing of the programs, in the order of their steps.
        units: Where each of them runs.
        places: Where the steps stand in the model.
        target: The machine.
    """
    timings = iter(zip(launches, units, strict=True))
    overhead = round(target.launch_overhead_s * PICOSECONDS)
    tasks = []
    for number, (step, layer) in enumerate(zip(steps, layers, strict=True)):
        if step.kind is not TaskKind.PROGRAM:
            run = picoseconds(layer.latency_ms)
            place = step.place(places)
            tasks.append(Task(number, step.kind, Resource.CPU, run, 0, step.after, place=place))
            continue
        timing, unit = next(timings)
        named = core_of(unit)
        core = ANY_CORE if named is None else named
        tasks.append(
            Task(
                number,
                step.kind,
                Resource.NPU,
                round(timing.cycles * PICOSECONDS / target.npu.clock_hz),
                overhead * len(timing.cores),
                step.after,
                ALL_CORES if unit in SLICED_UNITS else core,
                min(WHOLE_PPM, timing.read_cycles * WHOLE_PPM // timing.cycles),
                min(WHOLE_PPM, timing.write_cycles * WHOLE_PPM // timing.cycles),
                step.place(places),
            )
        )
    return CompiledTimeline(tuple(tasks), simulate(tasks, ranks(tasks), target.npu_cores))
