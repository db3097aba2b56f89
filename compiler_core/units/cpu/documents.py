"""Readers of what records keep of the CPU.

Of a CPU that onnxruntime runs on, the clock measured operators and their formats: a workload is one
operator or two neighbours, its schedule the places that they had, its cycles nanoseconds. Of
generated C, a workload is a layer, its schedule a kernel, its cycles instructions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compiler_core.errors import InputError
from compiler_core.files.plain import from_plain
from compiler_core.tensor.digest import digest
from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule
from compiler_core.units.cpu.c.schedules.workload import (
    ConvolutionKernel,
    DenseKernel,
    KernelWorkload,
    ProductKernel,
    check_workload,
)
from compiler_core.units.cpu.c.tasks.machine import KernelMachine, check_machine
from compiler_core.units.names import is_on_cpu

_LONGEST = 1 << 16
_MOST_PLACES = 8


@dataclass(frozen=True)
class CpuWorkload:
    """Operators of a float model.

    Attributes:
        signature: Operators, shapes and attributes, as
            :attr:`~compiler_core.precision.parts.ModelPart.signature` writes them.
    """

    signature: str

    @property
    def operator(self) -> str:
        """What it is."""
        return "part"

    @property
    def digest(self) -> str:
        """16 hex digits: equal workloads have equal ones."""
        return digest(self)

    @property
    def macs(self) -> int:
        """Not counted here."""
        return 0

    @property
    def shape(self) -> str:
        """The signature is all that is known."""
        return self.signature


@dataclass(frozen=True)
class CpuPlaces:
    """Number formats of the operators of a workload, in order."""

    places: tuple[str, ...]

    @property
    def digest(self) -> str:
        """16 hex digits: equal places have equal ones."""
        return digest(self)


class CpuDocuments:
    """See :class:`~compiler_core.units.unit.Documents`."""

    def workload(
        self, value: Any, where: str, *, bounded: bool = False
    ) -> CpuWorkload | KernelWorkload:
        if isinstance(value, dict) and "numbers" in value:
            kind: type[KernelWorkload] = ConvolutionKernel if "kernel" in value else DenseKernel
            kind = ProductKernel if "columns" in value else kind
            return check_workload(from_plain(kind, value, where), where, bounded=bounded)
        found = from_plain(CpuWorkload, value, where)
        if bounded and len(found.signature) > _LONGEST:
            raise InputError(f"{where}: a signature of {len(found.signature)} characters")
        return found

    def schedule(self, value: Any, where: str) -> CpuPlaces | KernelSchedule:
        if isinstance(value, dict) and "places" not in value:
            return from_plain(KernelSchedule, value, where)
        found = from_plain(CpuPlaces, value, where)
        if not 0 < len(found.places) <= _MOST_PLACES or not all(map(is_on_cpu, found.places)):
            raise InputError(f"{where}: places are {found.places!r}; those of the CPU are needed")
        return found

    def machine(self, value: Any, where: str) -> KernelMachine:
        return check_machine(from_plain(KernelMachine, value, where), where)

    def machine_digest(self, machine: Any) -> str:
        """Of a :class:`~compiler_core.clock.machine.ClockMachine` or a :class:`KernelMachine`."""
        found: str = machine.digest
        return found


DOCUMENTS = CpuDocuments()
