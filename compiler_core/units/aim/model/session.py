"""Segments executed on the functional simulator; each thread has a device of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import local

import numpy as np
import numpy.typing as npt

from compiler_core.units.aim.device.device import Device, ResidentElements, ResidentProduct
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.model.segment import (
    AimLaunch,
    AimSegment,
    Placed,
    PlacedElements,
    computed,
)
from compiler_core.units.aim.program.instructions import Program
from compiler_core.units.aim.program.program_file import narrowed
from compiler_core.units.aim.simulate.numbers import Bits, to_float
from compiler_core.units.aim.simulate.timing import time_program
from compiler_core.units.facets.programs import LaunchState, Observer

Floats = npt.NDArray[np.float32]


class AimSession:
    """See :class:`~compiler_core.units.facets.programs.UnitSession`.

    Args:
        segments: Of one model.
        machine: What runs them.
    """

    def __init__(self, segments: Sequence[AimSegment], machine: AimMachine) -> None:
        self._segments, self._machine, self._local = segments, machine, local()

    def run(
        self,
        segment: AimSegment,
        inputs: Mapping[str, npt.NDArray[np.float32]],
        observer: Observer | None = None,
    ) -> dict[str, Floats]:
        """One run of the model through a segment: ``float32`` by name, of the tensors' shapes."""
        resident, launches = self._resident(), iter(segment.launches)

        def multiply(number: int, vectors: Floats, matrix: Bits | None = None) -> Floats:
            launch = next(launches)
            found = resident[segment.name, number].run(vectors, matrix)
            if observer is not None:
                self._tell(observer, segment, launch)
            return found

        held = computed(segment.work, inputs, multiply)
        return {name: held[name] for name in segment.outputs}

    def _tell(self, observer: Observer, segment: AimSegment, launch: AimLaunch) -> None:
        for program in launch.programs:
            files = {"insn.bin": narrowed(program.records).tobytes()}
            cycles = time_program(program.records, self._machine).cycles
            observer(LaunchState(segment, launch, launch.core, cycles, files))

    def _resident(self) -> dict[tuple[str, int], ResidentProduct | ResidentElements]:
        known: dict[tuple[str, int], ResidentProduct | ResidentElements] | None
        known = getattr(self._local, "resident", None)
        if known is None:
            device = Device(self._machine)
            known = {}
            for segment in self._segments:
                programs = {launch.layout: launch.programs for launch in segment.launches}
                for number, product in enumerate(segment.products):
                    own = programs[product.layout]
                    known[segment.name, number] = _laid_out(device, product, own)
            self._local.resident = known
        return known


def _laid_out(
    device: Device, product: Placed, programs: Sequence[Program]
) -> ResidentProduct | ResidentElements:
    """What computes a product of a segment."""
    if isinstance(product, PlacedElements):
        return ResidentElements(device, product.layout, programs)
    layout = product.layout
    return ResidentProduct(
        device,
        layout.workload,
        layout.schedule,
        None if layout.workload.is_written else to_float(product.matrix),
        to_float(product.bias),
        layout=layout,
        given=programs,
    )
