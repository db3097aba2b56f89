# ruff: noqa: ARG002 (protocols have more arguments than each kind reads)
"""What launches of VTA programs cost: the facet :class:`~compiler_core.units.launches.Launches`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from compiler_core.graph.ir import Graph, Node
from compiler_core.sums import float_sum
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.launches import Launch, cycles_ps, share_ppm
from compiler_core.units.vta.cores.multicore_schedule import default_slicings
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.lower.layer import input_bytes, measure_layer
from compiler_core.units.vta.lower.layer import weight_bytes as packed_weight_bytes
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.schedule import FoldVariant, Schedule, fold_of
from compiler_core.units.vta.simulate.timing_result import MemoryTraffic, MicroOps, Traffic
from compiler_core.units.vta.structure.fold import foldable
from compiler_core.units.vta.structure.ways import FASTEST, SUFFIX_OF_AXIS


class VtaLaunches:
    """See :class:`~compiler_core.units.launches.Launches`."""

    def alone(
        self, workload: Workload, schedules: Mapping[str, Schedule], machine: VtaCore, name: str
    ) -> Launch:
        schedule = _given(workload, schedules, machine) or default_schedule(workload, machine)
        timing = measure_layer(workload, schedule, machine)
        traffic = timing.traffic
        constants = traffic.uop.data_bytes + traffic.fetch.data_bytes
        if isinstance(workload, ConvWorkload):
            constants += packed_weight_bytes(workload, schedule, machine.geometry)
        return Launch(
            name,
            Task(machine.kind, workload).id,
            timing.cycles,
            cycles_ps(timing.cycles, machine.clock_hz),
            timing.energy_pj or 0.0,
            sum(item.data_bytes for item in _reads(traffic)),
            traffic.out.data_bytes,
            share_ppm(traffic.read_beats, timing.cycles),
            share_ppm(traffic.write_beats, timing.cycles),
            constants,
            input_bytes(workload, schedule, machine.geometry),
            least_ps=cycles_ps(_computing_cycles(timing.micro_ops, machine), machine.clock_hz),
        )

    def across(
        self, workload: Workload, whole: Launch, machine: VtaCore, cores: int
    ) -> Mapping[str, Launch]:
        found = {}
        for axis, slicing in default_slicings(workload, machine, cores).items():
            run = slicing.result
            traffic = [core.traffic for core in run.cores]
            found[SUFFIX_OF_AXIS[axis]] = replace(
                whole,
                cycles=run.cycles,
                run_ps=cycles_ps(run.cycles, machine.clock_hz),
                energy_pj=float_sum(core.energy_pj or 0.0 for core in run.cores),
                read_bytes=sum(sum(item.data_bytes for item in _reads(t)) for t in traffic),
                write_bytes=sum(item.out.data_bytes for item in traffic),
                read_ppm=share_ppm(run.port.read_cycles, run.cycles),
                write_ppm=share_ppm(run.port.write_cycles, run.cycles),
                parts=len(slicing.slices),
            )
        if found:
            found[FASTEST] = min(found.values(), key=lambda launch: launch.cycles)
        return found

    def entering(self, workload: Workload, *, is_alone: bool) -> Workload:
        """Whether the CPU lays out the input matters where taps can be folded, and nowhere else."""
        if not isinstance(workload, ConvWorkload):
            return workload
        entering = replace(workload, entry=True)
        return entering if is_alone and foldable(entering) else replace(workload, entry=False)

    def works(
        self, graph: Graph, nodes: Sequence[Node], number: str, machine: VtaCore
    ) -> Sequence[Workload] | str:
        return f"{machine.kind} does not compute {number}."


LAUNCHES = VtaLaunches()


def _given(
    workload: Workload, schedules: Mapping[str, Schedule], machine: VtaCore
) -> Schedule | None:
    """Where nothing is folded, a task and its twin at a border share their schedules."""
    twins = [workload]
    if isinstance(workload, ConvWorkload):
        twins.append(replace(workload, entry=not workload.entry))
    for twin in twins:
        schedule = schedules.get(Task(machine.kind, twin).id)
        if schedule is None:
            continue
        if twin is workload or fold_of(schedule) is FoldVariant.NONE:
            return schedule
    return None


def _computing_cycles(executions: MicroOps, machine: VtaCore) -> int:
    """Of the compute module with micro-ops, which is one for all layers and runs one at a time."""
    costs = machine.timing.costs
    return (
        executions.gemm * costs.gemm.per_micro_op
        + executions.gemm_reset * costs.gemm_reset.per_micro_op
        + executions.alu_immediate * costs.alu_immediate.per_micro_op
        + executions.alu_tensor * costs.alu_tensor.per_micro_op
    )


def _reads(traffic: MemoryTraffic) -> tuple[Traffic, ...]:
    """What is read from DRAM."""
    return traffic.uop, traffic.wgt, traffic.inp, traffic.acc, traffic.fetch
