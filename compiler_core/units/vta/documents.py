"""Readers of VTA's workloads, schedules and machines: the facet
:class:`~compiler_core.units.unit.Documents`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from compiler_core.errors import InputError
from compiler_core.files.plain import from_plain, refuse_unknown
from compiler_core.tensor.digest import digest
from compiler_core.tensor.workload import ConvWorkload, MaxPoolWorkload, Workload
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.operators import CHANNEL_BLOCK
from compiler_core.units.vta.schedule.schedule import Schedule, schedule_kind
from compiler_core.units.vta.structure.sliced_workload import SlicedWorkload
from compiler_core.units.vta.structure.slicing import SliceAxis, slice_violations

MOST_CORES = 64
_EXTENT_MAX = 1 << 16
_SIZE_MAX = 1 << 31
"""Of a tile; nothing that follows from it leaves 64 bits."""


class VtaDocuments:
    """See :class:`~compiler_core.units.unit.Documents`."""

    def workload(
        self, value: Any, where: str, *, bounded: bool = False
    ) -> Workload | SlicedWorkload:
        if isinstance(value, dict) and "whole" in value:
            return self._sliced(value, where, bounded=bounded)
        pooled = isinstance(value, dict) and "channels" in value
        kind: type[Workload] = MaxPoolWorkload if pooled else ConvWorkload
        workload = from_plain(kind, value, where)
        if bounded:
            _require_extents(workload, where)
        return workload

    def _sliced(self, value: dict[str, Any], where: str, *, bounded: bool) -> SlicedWorkload:
        refuse_unknown(value, ["whole", "cores", "axis"], where)
        whole = self.workload(value["whole"], f"{where}: whole", bounded=bounded)
        if isinstance(whole, SlicedWorkload):
            raise InputError(f"{where}: an operator is cut once")
        cores = from_plain(int, value.get("cores"), f"{where}: cores")
        if not 2 <= cores <= MOST_CORES:
            raise InputError(f"{where}: {cores} cores; allowed are 2 to {MOST_CORES}")
        axis = from_plain(SliceAxis, value.get("axis"), f"{where}: axis")
        reasons = slice_violations(whole, cores, axis)
        if reasons:
            raise InputError(f"{where}: {whole.operator} cannot be cut: {reasons[0]}")
        return SlicedWorkload(whole, cores, axis)

    def schedule(self, value: Any, where: str) -> Schedule:
        found: Schedule = from_plain(schedule_kind(value), value, where)
        for item in fields(found):
            number = getattr(found, item.name)
            if isinstance(number, int) and abs(number) > _SIZE_MAX:
                raise InputError(f"{where}: {item.name} is larger than {_SIZE_MAX}")
        return found

    def machine(self, value: Any, where: str) -> VtaCore:
        return from_plain(VtaCore, value, where)

    def machine_digest(self, machine: VtaCore) -> str:
        return digest((machine.geometry, machine.timing))


DOCUMENTS = VtaDocuments()


def _require_extents(workload: Workload, where: str) -> None:
    window = workload.window
    numbers = [workload.batch, workload.in_height, workload.in_width]
    numbers += [*window.kernel, *window.strides, *window.dilations]
    if isinstance(workload, MaxPoolWorkload):
        numbers.append(workload.channels)
    else:
        numbers += [workload.in_channels, workload.out_channels, workload.groups]
        numbers.append(workload.interleave)
        whole = workload.out_channels % (CHANNEL_BLOCK * workload.interleave**2) == 0
        if workload.interleave > 1 and not whole:
            raise InputError(
                f"{where}: {workload.out_channels} channels in phases of {workload.interleave} "
                f"rows and columns; multiples of {CHANNEL_BLOCK} channels each are needed"
            )
        bits = workload.epilogue.bias_bits
        if not 0 <= bits <= 32 or not 0 <= (workload.epilogue.residual_bits or 0) <= 24:
            raise InputError(
                f"{where}: epilogue {workload.epilogue} is out of range; allowed are 0 to 32 bias "
                "bits and 0 to 24 residual bits"
            )
    if not all(1 <= number <= _EXTENT_MAX for number in numbers):
        raise InputError(f"{where}: extents {numbers}: one is not within 1 to {_EXTENT_MAX}")
    if not all(0 <= pad <= _EXTENT_MAX for pad in window.pads):
        raise InputError(f"{where}: pads {window.pads}; allowed are 0 to {_EXTENT_MAX}")
    if workload.out_height < 1 or workload.out_width < 1:
        raise InputError(
            f"{where}: its window does not fit its image: {window} over {workload.in_height} rows "
            f"of {workload.in_width}"
        )
    if isinstance(workload, ConvWorkload) and (
        workload.in_channels % workload.groups or workload.out_channels % workload.groups
    ):
        raise InputError(
            f"{where}: {workload.groups} groups do not divide the channels, {workload.in_channels} "
            f"read and {workload.out_channels} written"
        )
