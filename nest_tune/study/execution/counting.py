"""Measurements of schedules on workers, whatever their target is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compiler_core.targets.unit_tasks import HasUnits
from compiler_core.units.registry import kind_of_machine
from nest_tune.tuning.measure import measure


def measured_pairs(target: HasUnits, pairs: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Outcome, cycles and bytes of schedules.

    Args:
        target: Whose units they are for.
        pairs: ``{"on": name of the unit, "workload", "schedule"}`` each.
    """
    found = []
    for pair in pairs:
        machine = target.unit(pair["on"]).machine
        read = kind_of_machine(machine).documents
        workload = read.workload(pair["workload"], "workload")
        schedule = read.schedule(pair["schedule"], "schedule")
        done = measure(workload, schedule, machine)
        found.append([done.outcome.value, done.cycles, done.dram_bytes])
    return found
