"""Readers of workloads, schedules and machines: the facet
:class:`~compiler_core.units.unit.Documents`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from compiler_core.errors import InputError
from compiler_core.files.plain import from_plain
from compiler_core.tensor.digest import digest
from compiler_core.units.aim.machine.machine import MOST_CHANNELS, MOST_REGISTERS, AimMachine
from compiler_core.units.aim.schedule.schedule import ElementSchedule, ProductSchedule, Schedule
from compiler_core.units.aim.schedule.workload import (
    MOST_PARTS,
    ElementProduct,
    MatrixVector,
    Workload,
)

_EXTENT_MAX = 1 << 20
_MACS_MAX = 1 << 33
"""Products whose programs are timed in sensible time."""


class AimDocuments:
    """See :class:`~compiler_core.units.unit.Documents`."""

    def workload(self, value: Any, where: str, *, bounded: bool = False) -> Workload:
        elements = isinstance(value, dict) and "elements" in value
        kind: type[Workload] = ElementProduct if elements else MatrixVector
        workload = from_plain(kind, value, where)
        _require_extents(workload, where, bounded)
        return workload

    def schedule(self, value: Any, where: str) -> Schedule:
        elements = isinstance(value, dict) and "bank_groups" in value
        kind: type[Schedule] = ElementSchedule if elements else ProductSchedule
        schedule = from_plain(kind, value, where)
        for own in fields(schedule):
            number = getattr(schedule, own.name)
            if isinstance(number, int) and abs(number) > _EXTENT_MAX:
                raise InputError(f"{where}: {own.name} = {number}; up to {_EXTENT_MAX} can be")
        return schedule

    def machine(self, value: Any, where: str) -> AimMachine:
        machine = from_plain(AimMachine, value, where)
        if not 1 <= machine.channels <= MOST_CHANNELS:
            raise InputError(f"{where}: {machine.channels} channels; 1 to {MOST_CHANNELS} can be")
        if not 1 <= machine.registers <= MOST_REGISTERS:
            raise InputError(f"{where}: {machine.registers} registers; up to {MOST_REGISTERS}")
        return machine

    def machine_digest(self, machine: AimMachine) -> str:
        return digest((machine.channels, machine.rows, machine.registers, machine.timing))


DOCUMENTS = AimDocuments()


def _require_extents(workload: Workload, where: str, bounded: bool) -> None:
    if isinstance(workload, ElementProduct):
        numbers = [workload.elements]
    else:
        numbers = [workload.outputs, workload.inputs, workload.vectors, workload.heads]
        _require_rows(workload, where)
        parts = workload.parts
        if parts > MOST_PARTS or workload.outputs % parts:
            raise InputError(
                f"{where}: {parts} activations for {workload.outputs} outputs; allowed are at most "
                f"{MOST_PARTS}, of equal parts"
            )
    if min(numbers) < 1 or (bounded and max(numbers) > _EXTENT_MAX):
        raise InputError(f"{where}: extents {numbers}: one is not within 1 to {_EXTENT_MAX}")
    if bounded and workload.macs > _MACS_MAX:
        raise InputError(f"{where}: {workload.macs} products; at most {_MACS_MAX} are searched")


def _require_rows(workload: MatrixVector, where: str) -> None:
    """Refuses rows to write that the matrices do not have."""
    outputs, inputs = workload.written_outputs, workload.written_inputs
    fits = 0 <= outputs <= workload.outputs and 0 <= inputs <= workload.inputs
    if not fits or (outputs and inputs):
        raise InputError(
            f"{where}: {outputs} rows of outputs and {inputs} of inputs are written; allowed are "
            f"up to {workload.outputs} or up to {workload.inputs}, not both"
        )
    if workload.is_written and (workload.bias or workload.activations):
        raise InputError(f"{where}: a matrix that is written has neither bias nor activations")
