"""Which kernels there are for a layer of generated C: the facet
:class:`~search_spaces.task_space.TaskSpaces`. Rules are those of the kernels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from compiler_core.units.cpu.c.schedules.legality import RULES, canonical_rows, demands, units_of
from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule
from compiler_core.units.cpu.c.schedules.workload import KernelWorkload
from compiler_core.units.cpu.c.tasks.machine import KernelMachine
from search_spaces.parameter import Parameter
from search_spaces.task_space import Cap, Mask, Rows, SpaceTables

_OUTPUTS: Final = (1, 2, 4, 8)
_PIXELS: Final = (1, 2, 3, 4, 6, 8)
_UNROLL: Final = (1, 2, 4)


class KernelSpaces:
    """See :class:`~search_spaces.task_space.TaskSpaces`."""

    def tables(self, workload: KernelWorkload, machine: KernelMachine) -> SpaceTables:
        unpacked = (False, True) if workload.numbers.weight_bits == 4 else (False,)
        parameters = (
            Parameter("unit", units_of(machine.core, library=bool(machine.library)), ordered=False),
            Parameter("outputs", _OUTPUTS),
            Parameter("pixels", _PIXELS),
            Parameter("unroll", _UNROLL),
            Parameter("unpacked", unpacked, ordered=False),
        )
        limits = (machine.core, bool(machine.library))
        exchanges = (("outputs", "pixels"), ("pixels", "unroll"))
        return SpaceTables(parameters, RULES, limits, exchanges=exchanges, leading=3)

    def broken(self, workload: KernelWorkload, rows: Rows, limits: tuple[str, bool]) -> Mask:
        core, library = limits
        told = demands(workload, rows, core, library=library)
        columns = [np.asarray(demand > bound) for demand, bound, *_ in told]
        return np.stack(columns, axis=1)

    def canonical(self, workload: KernelWorkload, rows: Rows, cap: Cap) -> Rows:
        del cap
        return canonical_rows(workload, rows)

    def schedule(self, workload: KernelWorkload, values: Mapping[str, Any]) -> KernelSchedule:
        del workload
        return KernelSchedule(**values)


SPACES = KernelSpaces()
