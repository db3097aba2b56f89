"""The system timeline of a compiled model: its own programs, conversions and CPU nodes, each as
soon as what it reads is there and its unit is free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler_core.executable.executable import Executable
from compiler_core.executable.report import LayerReport
from compiler_core.system.jobs import (
    PICOSECONDS,
    Job,
    JobKind,
    Machinery,
    picoseconds,
)
from compiler_core.system.positions import Positions
from compiler_core.system.runs import simulate_runs
from compiler_core.system.steps import ExecutionStep
from compiler_core.system.timeline import Timeline
from compiler_core.targets.integer_units import integer_units
from compiler_core.targets.places import ON_HOST
from compiler_core.units.facets.programs import LaunchCost
from compiler_core.units.launches import share_ppm

_PICOSECONDS_PER_MILLISECOND = 10**9


@dataclass(frozen=True)
class CompiledTimeline:
    """A compiled model, simulated.

    Attributes:
        jobs: One per layer of the report, in its order; ``subject`` is the layer's number.
        timeline: When each ran.
    """

    jobs: tuple[Job, ...]
    timeline: Timeline

    @property
    def latency_ms(self) -> float:
        """From start to end."""
        return self.timeline.latency_ps / _PICOSECONDS_PER_MILLISECOND


def compiled_timeline(
    steps: Sequence[ExecutionStep],
    layers: Sequence[LayerReport],
    launches: Sequence[LaunchCost],
    continued: Sequence[bool],
    units: Sequence[str],
    positions: Positions,
    executable: Executable,
    priorities: Sequence[int] | None = None,
) -> CompiledTimeline:
    """Simulates one run.

    Args:
        steps: What has to be done.
        layers: What each step costs, in the same order.
        launches: Timing of the programs, in the order of their steps.
        continued: Whether each of them runs in the program of the one before.
        units: Where each of them runs.
        positions: Where the steps stand in the model.
        executable: The compiled model.
        priorities: Of the steps; without, the longest remaining way goes first.
    """
    target = executable.target
    timings = iter(zip(launches, units, continued, strict=True))
    overhead = round(target.launch_overhead_s * PICOSECONDS)
    machinery, places = Machinery.of(target), target.places
    host = 1 << machinery.host_memory
    memory = {u.name: 1 << at for u, at in zip(target.units, machinery.memory, strict=True)}
    jobs: list[Job] = []
    joined, ended = [False] * len(steps), 0
    for number, (step, layer) in enumerate(zip(steps, layers, strict=True)):
        position = step.position(positions)
        if step.kind is not JobKind.PROGRAM:
            run = picoseconds(layer.latency_ms)
            memories = host
            if step.kind is not JobKind.OPERATOR:
                memories |= memory[step.unit or integer_units(target)[0].name]
            if step.source:
                memories |= memory[executable.placed[step.source]]
            jobs.append(
                Job(
                    number,
                    step.kind,
                    ON_HOST,
                    run,
                    0,
                    step.after,
                    position=position,
                    memories=memories,
                )
            )
            continue
        timing, name, follows = next(timings)
        place = places[places.numbers[name]]
        clock_hz = target.units[place.unit].machine.clock_hz
        # Shares are rounded so that they add up to the time of the whole program.
        begun = ended if follows else 0
        ended = begun + timing.cycles + timing.beside_cycles
        run_ps = round(ended * PICOSECONDS / clock_hz) - round(begun * PICOSECONDS / clock_hz)
        joined[number] = follows
        jobs.append(
            Job(
                number,
                step.kind,
                place.unit,
                run_ps,
                0 if follows else overhead * len(timing.cores),
                step.after,
                place.way.core,
                share_ppm(timing.read_cycles, timing.cycles),
                share_ppm(timing.write_cycles, timing.cycles),
                position,
                1 << machinery.memory[place.unit],
            )
        )
    return CompiledTimeline(tuple(jobs), simulate_runs(jobs, joined, machinery, priorities))
