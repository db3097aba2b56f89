# ruff: noqa: ARG002 (the protocol has more arguments than this reads)
"""Launches of kinds of units that say nothing of them: what their tasks cost alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compiler_core.graph.ir import Graph, Node
from compiler_core.tensor.task import Task
from compiler_core.units.launches import Launch, Launches, cycles_ps, share_ppm
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import Machine


class TaskLaunches:
    """See :class:`~compiler_core.units.launches.Launches`."""

    def alone(
        self, workload: Any, schedules: Mapping[str, Any], machine: Machine, name: str
    ) -> Launch:
        kind = kind_of_machine(machine)
        task = Task(machine.kind, workload).id
        schedule = schedules.get(task) or kind.tasks.default(workload, machine)
        cost = kind.tasks.measure(workload, schedule, machine)
        return Launch(
            name,
            task,
            cost.cycles,
            cycles_ps(cost.cycles, machine.clock_hz),
            cost.energy_pj or 0.0,
            cost.dram_bytes,
            0,
            share_ppm(cost.read_cycles, cost.cycles),
            share_ppm(cost.write_cycles, cost.cycles),
            0,
            kind.layers.input_bytes(workload, schedule, machine),
        )

    def across(
        self, workload: Any, whole: Launch, machine: Machine, cores: int
    ) -> Mapping[str, Launch]:
        return {}

    def entering(self, workload: Any, *, is_alone: bool) -> Any:
        return workload

    def works(
        self, graph: Graph, nodes: Sequence[Node], number: str, machine: Machine
    ) -> Sequence[Any] | str:
        return f"{machine.kind} does not compute {number}."


_OF_TASKS = TaskLaunches()


def launches_of(machine: Machine) -> Launches:
    """The launches of a machine's kind.

    Raises:
        InputError: The kind is not known, or what it offers is no such facet.
    """
    kind = kind_of_machine(machine)
    found: Launches = kind.facet("launches", Launches) if kind.has("launches") else _OF_TASKS
    return found
