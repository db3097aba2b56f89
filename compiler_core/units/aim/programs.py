"""Parts of models on AiM units: the facet
:class:`~compiler_core.units.facets.programs.Programs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from compiler_core.errors import InfeasibleError, InputError, InternalError
from compiler_core.quantize.ir import QuantizedTensor
from compiler_core.units.aim.launches import cycles_beside
from compiler_core.units.aim.lower.measure import measure, moved_bytes
from compiler_core.units.aim.lower.programs import Located, programs_of
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.model.layers import ProductLayer, view_works
from compiler_core.units.aim.model.segment import AimLaunch, AimSegment, Placed
from compiler_core.units.aim.model.session import AimSession
from compiler_core.units.aim.model.work import Work
from compiler_core.units.aim.program.instructions import Program
from compiler_core.units.aim.simulate.energy import energy_of
from compiler_core.units.aim.simulate.timing import time_program
from compiler_core.units.aim.verify.verify import verify
from compiler_core.units.facets.programs import (
    CoreCost,
    LaunchCost,
    LinkedSegments,
    LinkRequest,
    MemoryUse,
)


class AimPrograms:
    """See :class:`~compiler_core.units.facets.programs.Programs`."""

    joins_layers = False

    def link(self, request: LinkRequest) -> LinkedSegments:
        machine, row, constants = request.units.machine, 0, 0
        segments = []
        for part in request.layers:
            placed: dict[int, Placed] = {}
            programs: dict[int, tuple[Program, ...]] = {}
            work: dict[str, Work] = {}
            made = []
            for count, layer in enumerate(part.layers):
                number = layer.number
                if number not in placed:
                    own = _placed(layer, request.schedules[layer.task.id], row, machine)
                    placed[number] = own
                    programs[number] = programs_of(own.layout, machine)
                    row += own.layout.rows
                    constants += own.constant_bytes
                work[layer.work.name] = layer.work
                made.append(
                    AimLaunch(
                        f"launch-{count:03d}",
                        layer.operator.name,
                        layer.operator.sources,
                        layer.task.id,
                        placed[number].layout,
                        programs[number],
                    )
                )
            products = tuple(placed[number] for number in sorted(placed))
            named = part.segment
            work |= {own.name: own for own in view_works(named.graph)}
            segments.append(
                AimSegment(
                    named.name, named.inputs, named.outputs, products, tuple(work.values()),
                    tuple(made),
                )
            )  # fmt: skip
        return LinkedSegments(tuple(segments), MemoryUse(constants, constants, 0, 0))

    def verify(self, linked: LinkedSegments, request: LinkRequest) -> None:
        for segment in linked.segments:
            for launch in {launch.layout: launch for launch in segment.launches}.values():
                for program in launch.programs:
                    found = verify(program, request.units.machine)
                    if found:
                        raise InternalError(
                            f"the program of layer {launch.layer!r} ({launch.name}) breaks a rule "
                            f"of the machine: {found[0]}",
                            hint="report it with the model and the configuration",
                        )

    def prepare(
        self,
        segments: Sequence[AimSegment],
        tensors: Mapping[str, QuantizedTensor],
        memory_bytes: int,
        machine: AimMachine,
    ) -> AimSession:
        del tensors, memory_bytes  # shapes and rows stand in the segments
        taken = 0
        for layout in (product.layout for segment in segments for product in segment.products):
            if layout.first_row < taken:
                raise InputError(
                    f"segments: two products meet in row {layout.first_row} of the banks"
                )
            taken = layout.first_row + layout.rows
        return AimSession(segments, machine)

    def time(self, launch: AimLaunch, machine: AimMachine) -> LaunchCost:
        layout = replace(launch.layout, first_row=0)
        beside = _beside(layout, machine)
        cores = _costs(launch.programs, machine)
        cycles = sum(core.cycles for core in cores)
        # What computes in the memory keeps others out of it.
        return LaunchCost(cycles, cores, cycles, cycles, beside)


PROGRAMS = AimPrograms()


def _placed(layer: ProductLayer, schedule: Any, first_row: int, machine: AimMachine) -> Placed:
    """A product in rows that nothing else holds.

    Raises:
        InputError: The schedule is for something else.
        InfeasibleError: There are no such rows left.
    """
    try:
        found = layer.placed(schedule, first_row)
    except TypeError as error:
        raise InputError(f"task {layer.task.id}: {error}") from error
    end = first_row + found.layout.rows
    if end > machine.rows:
        raise InfeasibleError(
            f"task {layer.task.id}: its data need rows up to {end - 1}; {machine.rows} rows are "
            "there"
        )
    return found


@lru_cache(maxsize=256)
def _beside(layout: Located, machine: AimMachine) -> int:
    cost = measure(layout.workload, layout.schedule, machine)
    return cycles_beside(layout.workload, layout.schedule, cost)


@lru_cache(maxsize=64)
def _costs(programs: tuple[Program, ...], machine: AimMachine) -> tuple[CoreCost, ...]:
    """Of each program of a product; all of its launches share them."""
    return tuple(_cost(program, machine) for program in programs)


def _cost(program: Program, machine: AimMachine) -> CoreCost:
    timing = time_program(program.records, machine)
    energy = energy_of(program.records, timing, machine).total_pj
    return CoreCost(timing.cycles, energy, len(program), moved_bytes(timing.commands), {})
