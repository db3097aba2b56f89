"""What one launch costs: a workload timed with a given schedule or the untuned default, on one core
or across all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from compiler_core.errors import InputError
from compiler_core.system.timeline import PICOSECONDS, WHOLE_PPM
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.unit import Machine
from compiler_core.units.vta.cores.multicore_schedule import default_slicings
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.lower.layer import measure_layer
from compiler_core.units.vta.lower.layer import weight_bytes as packed_weight_bytes
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.schedule import FoldVariant, Schedule, fold_of
from compiler_core.units.vta.simulate.timing_result import MemoryTraffic, Traffic
from compiler_core.units.vta.structure.conv_structure import blocks
from compiler_core.units.vta.structure.fold import fold_workload
from compiler_core.units.vta.structure.slicing import SliceAxis

LANES = 16
"""Channels of a block as activations lie in DRAM."""

Schedules = Mapping[str, Schedule]


@dataclass(frozen=True)
class Program:
    """One launch as measured by the timing simulator.

    Attributes:
        name: Of the operator.
        task: Id of its task.
        cycles: From launch to FINISH.
        run_ps: The same as time.
        energy_pj: Of the launch.
        read_bytes, write_bytes: DRAM traffic.
        read_ppm, write_ppm: Share of the time that each channel of the port is busy, in millionths.
        constant_bytes: Weights, biases and micro-ops in DRAM.
        input_bytes: Of one sample of its input, as laid out in DRAM.
        parts: How many programs start together, on a core each.
    """

    name: str
    task: str
    cycles: int
    run_ps: int
    energy_pj: float
    read_bytes: int
    write_bytes: int
    read_ppm: int
    write_ppm: int
    constant_bytes: int
    input_bytes: int
    parts: int = 1


def cycles_ps(cycles: int, clock_hz: float) -> int:
    """NPU cycles as time."""
    return round(cycles * PICOSECONDS / clock_hz)


def require_planned_kind(machine: Machine) -> None:
    """Refuses machines whose kind plans and packages do not know.

    Raises:
        InputError: It is of another kind.
    """
    if not isinstance(machine, VtaCore):
        raise InputError(
            f"units of kind {machine.kind!r} are tuned task by task; plans, packages and studies "
            f"know those of kind {VtaCore.kind!r} alone",
            hint="nest-tune task list MODEL --target T",
        )


class ProgramCosts:
    """Measures workloads, each once.

    Args:
        core: The machine.
        schedules: By task id.
        progress: Told of each program that is measured.
        cores: How many there are.
    """

    def __init__(
        self,
        core: VtaCore,
        schedules: Schedules,
        progress: Callable[[str], None] = lambda _: None,
        cores: int = 1,
    ) -> None:
        require_planned_kind(core)
        self._core, self._schedules, self._progress = core, schedules, progress
        self._cores = cores
        self._sliced: dict[Workload, dict[SliceAxis, Program]] = {}
        self._known: dict[Workload, Program] = {}

    def program(self, name: str, workload: Workload) -> Program:
        """The cost of one launch.

        Raises:
            InfeasibleError: A given schedule does not fit.
        """
        found = self._known.get(workload)
        if found is None:
            found = self._known[workload] = self._measure(workload)
        return replace(found, name=name)

    def sliced(self, name: str, workload: Workload) -> dict[SliceAxis, Program]:
        """The cost of an operator across all cores by untuned schedules of its slices, along each
        axis that it can be cut along; empty where there is one core."""
        if self._cores == 1:
            return {}
        if workload not in self._sliced:
            self._sliced[workload] = self._measure_sliced(workload)
        found = self._sliced[workload]
        return {axis: replace(program, name=name) for axis, program in found.items()}

    def _measure_sliced(self, workload: Workload) -> dict[SliceAxis, Program]:
        alone = self.program("", workload)
        self._progress(f"{alone.task} on {self._cores} cores")
        found = {}
        for axis, slicing in default_slicings(workload, self._core, self._cores).items():
            run = slicing.result
            cores = [core.traffic for core in run.cores]
            found[axis] = replace(
                alone,
                cycles=run.cycles,
                run_ps=cycles_ps(run.cycles, self._core.clock_hz),
                energy_pj=sum(core.energy_pj or 0.0 for core in run.cores),
                read_bytes=sum(sum(item.data_bytes for item in read_traffic(t)) for t in cores),
                write_bytes=sum(traffic.out.data_bytes for traffic in cores),
                read_ppm=_ppm(run.port.read_cycles, run.cycles),
                write_ppm=_ppm(run.port.write_cycles, run.cycles),
                parts=len(slicing.slices),
            )
        return found

    def _given(self, workload: Workload) -> Schedule | None:
        """Where nothing is folded, a task and its twin at a border share their schedules."""
        twins = [workload]
        if isinstance(workload, ConvWorkload):
            twins.append(replace(workload, entry=not workload.entry))
        for twin in twins:
            schedule = self._schedules.get(Task(self._core.kind, twin).id)
            if schedule is None:
                continue
            if twin is workload or fold_of(schedule) is FoldVariant.NONE:
                return schedule
        return None

    def _measure(self, workload: Workload) -> Program:
        task = Task(self._core.kind, workload).id
        self._progress(task)
        core = self._core
        schedule = self._given(workload) or default_schedule(workload, core)
        timing = measure_layer(workload, schedule, core)
        traffic = timing.traffic
        reads = read_traffic(traffic)
        constants = traffic.uop.data_bytes + traffic.fetch.data_bytes
        laid_out = workload
        if isinstance(workload, ConvWorkload):
            laid_out = fold_workload(workload, fold_of(schedule))
            constants += packed_weight_bytes(workload, schedule, core.geometry)
        channels = laid_out.in_channels if isinstance(laid_out, ConvWorkload) else laid_out.channels
        return Program(
            "",
            task,
            timing.cycles,
            cycles_ps(timing.cycles, core.clock_hz),
            timing.energy_pj or 0.0,
            sum(item.data_bytes for item in reads),
            traffic.out.data_bytes,
            _ppm(traffic.read_beats, timing.cycles),
            _ppm(traffic.write_beats, timing.cycles),
            constants,
            blocks(channels) * LANES * laid_out.in_height * laid_out.in_width,
        )


def _ppm(busy_cycles: int, cycles: int) -> int:
    return min(WHOLE_PPM, busy_cycles * WHOLE_PPM // cycles)


def read_traffic(traffic: MemoryTraffic) -> tuple[Traffic, ...]:
    """What is read from DRAM."""
    return traffic.uop, traffic.wgt, traffic.inp, traffic.acc, traffic.fetch
