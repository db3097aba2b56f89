# ruff: noqa: ARG002 (protocols have more arguments than each kind reads)
"""What products cost beside others in the same memory: the facet
:class:`~compiler_core.units.launches.Launches`.

Plans charge what the cycles of programs leave out: moving zeros, biases and sums of groups between
the host and general registers, a register in a cycle, and functions that the CPU applies. Vectors
and results are charged as forms of tensors; those of the steps of a cell cross each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from compiler_core.graph.ir import Graph, Node
from compiler_core.tensor.task import Task
from compiler_core.units.aim.lower.measure import measure
from compiler_core.units.aim.machine.machine import BLOCK_BYTES, LANES, AimMachine
from compiler_core.units.aim.operators.additions import addition_of
from compiler_core.units.aim.operators.cached_products import cached_products, workload_of
from compiler_core.units.aim.operators.elements import model_elements
from compiler_core.units.aim.operators.products import (
    launch_order,
    node_products,
    product_alone,
)
from compiler_core.units.aim.schedule.default import default_schedule
from compiler_core.units.aim.schedule.schedule import ElementSchedule, Schedule, Side
from compiler_core.units.aim.schedule.workload import (
    ElementProduct,
    MatrixVector,
    Workload,
)
from compiler_core.units.aim.ways import BFLOAT16
from compiler_core.units.launches import Launch, cycles_ps
from compiler_core.units.unit import TaskCost

_WHOLE_PPM: Final = 1_000_000
_CYCLES_PER_NUMBER: Final = 4
"""Of the unit's clock, for each number that the CPU applies a function to: assumed, and more than
any CPU beside such a memory takes."""


class AimLaunches:
    """See :class:`~compiler_core.units.launches.Launches`."""

    def alone(
        self, workload: Workload, schedules: Mapping[str, Schedule], machine: AimMachine, name: str
    ) -> Launch:
        task = Task(machine.kind, workload).id
        schedule = schedules.get(task) or default_schedule(workload, machine)
        cost = measure(workload, schedule, machine)
        inputs, _, constants = _blocks(workload)
        beside = cycles_beside(workload, schedule, cost)
        bytes_in = sum(cost.moved_bytes.get(name, 0) for name in ("buffer", "bias", "matrix"))
        return Launch(
            name,
            task,
            cost.cycles,
            cycles_ps(cost.cycles + beside, machine.clock_hz),
            cost.energy_pj or 0.0,
            bytes_in,
            cost.moved_bytes["results"],
            _WHOLE_PPM,  # what computes in the memory keeps others out of it
            _WHOLE_PPM,
            constants * BLOCK_BYTES,
            inputs * BLOCK_BYTES,
            cost.modules["channels"]["launches"],
        )

    def across(
        self, workload: Workload, whole: Launch, machine: AimMachine, cores: int
    ) -> Mapping[str, Launch]:
        return {}

    def entering(self, workload: Workload, *, is_alone: bool) -> Workload:
        return workload

    def works(
        self, graph: Graph, nodes: Sequence[Node], number: str, machine: AimMachine
    ) -> Sequence[Any] | str:
        if number != BFLOAT16:
            return f"{machine.kind} does not compute {number}."
        cached = cached_products(graph).get(nodes[-1].name)
        if cached is not None:
            if [node.name for node in nodes] != [node.name for node in cached.nodes]:
                return f"{machine.kind}: a cache and its product are placed together."
            return [workload_of(graph, cached)]
        if nodes[0].op == "Mul" and len(nodes) == 1:
            elements = model_elements(graph, nodes[0])
            return (
                f"{machine.kind}: {elements}" if isinstance(elements, str) else [elements.workload]
            )
        try:
            found = [product for node in nodes[:1] for product in node_products(graph, node)]
        except ValueError as error:
            return f"{machine.kind}: {error}."
        if not found:
            return f"{machine.kind}: {nodes[0].op} is no product of a matrix in the banks."
        added = len(nodes) == 2 and addition_of(graph, nodes[0]) is nodes[1]
        if len(nodes) > 1 and not added:
            return f"{machine.kind}: {nodes[1].op} behind {nodes[0].op} is not computed there."
        if nodes[0].clip is not None and not found[0].workload.activations:
            return f"{machine.kind}: the clamp of {nodes[0].op} is not computed there."
        order = launch_order(graph, nodes[0], len(found))
        works = [product_alone(found[number], nodes[0]).workload for number in order]
        return [replace(work, adds=True) for work in works] if added else works


LAUNCHES = AimLaunches()


def cycles_beside(workload: Workload, schedule: Schedule, cost: TaskCost) -> int:
    """What the cycles of programs leave out, in cycles of the unit's clock.

    Args:
        workload, schedule: What is computed, and how.
        cost: Of its programs.
    """
    inputs, outputs = _formed(workload)
    cpu = cost.modules.get("cpu", {})
    moved = cpu.get("registers_in_blocks", inputs) + cpu.get("registers_out_blocks", outputs)
    if isinstance(workload, MatrixVector) and workload.is_step:
        return moved + _cpu_cycles(workload, schedule)
    return max(0, moved - inputs - outputs) + _cpu_cycles(workload, schedule)


def _formed(workload: Workload) -> tuple[int, int]:
    """Blocks that inputs and results have as forms of tensors, where nothing pads their vectors."""
    if isinstance(workload, ElementProduct):
        return (2 * workload.blocks, workload.blocks) if workload.crosses else (0, 0)
    w, vectors = workload, workload.vectors * workload.heads
    # Of a matrix that is written whole, registers are told again what the model does not tell.
    keys = w.written_outputs * w.inputs if w.written_outputs < w.outputs else 0
    values = w.written_inputs * w.outputs if w.written_inputs < w.inputs else 0
    rows = -(-w.heads * (keys + values) // LANES)
    return rows - (-vectors * w.inputs // LANES), -(-vectors * w.outputs // LANES)


def _cpu_cycles(workload: Workload, schedule: Schedule) -> int:
    """Cycles of functions that the CPU applies, and of what a cell does with them."""
    if isinstance(workload, ElementProduct) or isinstance(schedule, ElementSchedule):
        return 0
    numbers = workload.outputs * workload.vectors * workload.heads
    applied = numbers if workload.activations and schedule.activation is Side.CPU else 0
    # What gates multiply, and the state of it, are computed by the CPU, who applies functions and
    # adds residuals.
    combined = numbers if workload.is_step or workload.adds else 0
    return _CYCLES_PER_NUMBER * (applied + combined)


def _blocks(workload: Workload) -> tuple[int, int, int]:
    """Blocks of inputs, results and what stays in the banks, without what pads passes."""
    if isinstance(workload, ElementProduct):
        return *_formed(workload), 3 * workload.blocks
    vectors = workload.vectors * workload.heads
    outputs = -(-workload.outputs // LANES)
    return (
        vectors * workload.columns,
        vectors * outputs,
        workload.heads * outputs * LANES * workload.columns,
    )
