"""Cost tables: what each group costs on each unit, and each tensor at a border.

Times are integers in picoseconds. NPU times come from the timing simulator, one program per launch,
with a given schedule per task or the untuned default; CPU times from the analytic model or a
measured table.

Where no quantization is given, one with a fixed exponent per tensor stands in: a program's cycles
depend on shapes and on which passes its requantization needs, and not on its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

from compiler_core.errors import InfeasibleError
from compiler_core.partition.groups import GroupGraph
from compiler_core.quantize.exponents import RangeChoice
from compiler_core.quantize.ir import IntegerSegment, QuantizedGraph
from compiler_core.quantize.quantize import with_exponents
from compiler_core.system.latency import (
    NodeCosts,
    conversion_cost,
    node_bytes,
    weight_bytes,
)
from compiler_core.system.timeline import PICOSECONDS, WHOLE_PPM
from compiler_core.targets.target import Target
from compiler_core.targets.vta.conv_structure import blocks
from compiler_core.targets.vta.default_schedule import default_schedule
from compiler_core.targets.vta.fold import fold_workload, foldable
from compiler_core.targets.vta.hardware import VtaCore
from compiler_core.targets.vta.layer import measure_layer
from compiler_core.targets.vta.layer import weight_bytes as packed_weight_bytes
from compiler_core.targets.vta.multicore_schedule import best_default_slicing
from compiler_core.targets.vta.schedule import ConvSchedule, FoldVariant, Schedule
from compiler_core.targets.vta.segment import Layer, segment_layers
from compiler_core.targets.vta.timing_result import MemoryTraffic, Traffic
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Workload

ASSUMED_EXPONENT = 4
"""Of every tensor where no quantization is given."""

_LANES = 16
_FLOAT_BYTES = 4

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


@dataclass(frozen=True)
class CpuPart:
    """One operator of a group on the CPU, where nothing is fused.

    Attributes:
        run_ps: Its time, without views.
        reads: Indices of the base tensors of other groups that it reads.
        views: ``(time in ps, index of the base tensor)`` of the views that go with it.
    """

    run_ps: int
    reads: tuple[int, ...]
    views: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class GroupCost:
    """Costs of one group.

    Attributes:
        cpu_parts: Its operators on the CPU, one after another.
        cpu_energy_pj: Of all of them.
        cpu_bytes: Bytes that they read and write.
        cpu_constant_bytes: Their float weights.
        programs: Launches on the NPU, in order; empty for what its producers have already placed;
            ``None`` where the NPU cannot run it.
        entry_programs: The same where the CPU lays out the input for this group alone.
        sliced: The operator across all cores, where there are several and it can be cut.
    """

    cpu_parts: tuple[CpuPart, ...]
    cpu_energy_pj: float
    cpu_bytes: int
    cpu_constant_bytes: int
    programs: tuple[Program, ...] | None
    entry_programs: tuple[Program, ...] | None
    sliced: Program | None = None

    @property
    def cpu_ps(self) -> int:
        """Time on the CPU, without views."""
        return sum(part.run_ps for part in self.cpu_parts)

    def cpu_ps_from(self, tensor: int) -> int:
        """Time on the CPU from the first operator on that reads ``tensor``, without views."""
        for position, part in enumerate(self.cpu_parts):
            if tensor in part.reads:
                return sum(later.run_ps for later in self.cpu_parts[position:])
        return 0


@dataclass(frozen=True)
class TensorCost:
    """Sizes of a base tensor, and the energy of converting it either way."""

    float_bytes: int
    packed_bytes: int
    convert_energy_pj: float


@dataclass(frozen=True)
class CostTable:
    """All costs of a model on a target.

    Attributes:
        groups, tensors: As in the group graph.
        launch_ps: CPU time per launch.
        copy_bytes_per_s: Copy bandwidth of the CPU.
        cores: NPU cores.
        clock_hz: Of the NPU.
    """

    groups: tuple[GroupCost, ...]
    tensors: tuple[TensorCost, ...]
    launch_ps: int
    copy_bytes_per_s: float
    cores: int
    clock_hz: float

    def convert_ps(self, bytes_moved: int) -> int:
        """Time of a conversion at a border."""
        return round(bytes_moved * PICOSECONDS / self.copy_bytes_per_s)


def cycles_ps(cycles: int, clock_hz: float) -> int:
    """NPU cycles as time."""
    return round(cycles * PICOSECONDS / clock_hz)


def quantized_stand_in(groups: GroupGraph) -> QuantizedGraph:
    """A quantization whose programs cost what those of a calibrated one cost.

    Raises:
        InputError: An operator's weights are too far apart for any exponents.
    """
    wanted = dict.fromkeys(groups.skeleton.calibrated, ASSUMED_EXPONENT)
    return with_exponents(groups.skeleton, wanted, RangeChoice.MAX)


def build_costs(
    groups: GroupGraph,
    target: Target,
    node_costs: NodeCosts,
    *,
    schedules: Schedules | None = None,
    quantized: QuantizedGraph | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> CostTable:
    """Costs of every group on every unit that can run it.

    Args:
        groups: The model.
        target: The machine.
        node_costs: Of one operator on the CPU.
        schedules: By task id; a task without one gets the untuned default.
        quantized: The model with everything on the NPU that can run there.
        progress: Told of each program that is measured.
    """
    if quantized is None:
        quantized = quantized_stand_in(groups)
    measured = ProgramCosts(target.npu, schedules or {}, progress, target.npu_cores)
    layers: dict[int, list[Layer]] = {}
    for layer, group in _layers(groups, quantized):
        layers.setdefault(group, []).append(layer)
    costs = tuple(
        _group_cost(groups, index, layers.get(index, []), node_costs, measured)
        for index in range(len(groups.groups))
    )
    tensors = tuple(
        TensorCost(
            tensor.values * _FLOAT_BYTES,
            tensor.shape[0] * blocks(tensor.shape[1]) * _LANES * prod(tensor.shape[2:]),
            conversion_cost(target.cpu, tensor.values, 0).energy_pj,
        )
        for tensor in groups.tensors
    )
    return CostTable(
        costs,
        tensors,
        round(target.launch_overhead_s * PICOSECONDS),
        target.cpu.copy_bytes_per_cycle * target.cpu.clock_hz,
        target.npu_cores,
        target.npu.clock_hz,
    )


def with_node_costs(
    table: CostTable, groups: GroupGraph, target: Target, node_costs: NodeCosts
) -> CostTable:
    """The same programs with another CPU beside them (``target`` holds its rates)."""
    costs = []
    for index, old in enumerate(table.groups):
        fresh = _cpu_cost(groups, index, node_costs)
        costs.append(
            replace(
                fresh,
                programs=old.programs,
                entry_programs=old.entry_programs,
                sliced=old.sliced,
            )
        )
    return replace(
        table,
        groups=tuple(costs),
        launch_ps=round(target.launch_overhead_s * PICOSECONDS),
        copy_bytes_per_s=target.cpu.copy_bytes_per_cycle * target.cpu.clock_hz,
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
        self._core, self._schedules, self._progress = core, schedules, progress
        self._cores = cores
        self._sliced: dict[Workload, Program | None] = {}
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

    def sliced(self, name: str, workload: Workload) -> Program | None:
        """The cost of an operator across all cores by untuned schedules of its slices; ``None``
        where there is one core or the operator cannot be cut."""
        if self._cores == 1:
            return None
        if workload not in self._sliced:
            self._sliced[workload] = self._measure_sliced(workload)
        found = self._sliced[workload]
        return None if found is None else replace(found, name=name)

    def _measure_sliced(self, workload: Workload) -> Program | None:
        alone = self.program("", workload)
        self._progress(f"{alone.task} on {self._cores} cores")
        try:
            slicing = best_default_slicing(workload, self._core, self._cores)
        except InfeasibleError:
            return None
        cores = [core.traffic for core in slicing.result.cores]
        return replace(
            alone,
            cycles=slicing.result.cycles,
            run_ps=cycles_ps(slicing.result.cycles, self._core.clock_hz),
            energy_pj=sum(core.energy_pj or 0.0 for core in slicing.result.cores),
            read_bytes=sum(sum(item.data_bytes for item in read_traffic(t)) for t in cores),
            write_bytes=sum(traffic.out.data_bytes for traffic in cores),
            read_ppm=_ppm(slicing.result.port.read_cycles, slicing.result.cycles),
            write_ppm=_ppm(slicing.result.port.write_cycles, slicing.result.cycles),
        )

    def _given(self, workload: Workload) -> Schedule | None:
        """Where nothing is folded, a task and its twin at a border share their schedules."""
        twins = [workload]
        if isinstance(workload, ConvWorkload):
            twins.append(replace(workload, entry=not workload.entry))
        for twin in twins:
            schedule = self._schedules.get(Task("vta", twin).id)
            folds = isinstance(schedule, ConvSchedule) and schedule.fold is not FoldVariant.NONE
            if schedule is not None and (twin is workload or not folds):
                return schedule
        return None

    def _measure(self, workload: Workload) -> Program:
        task = Task("vta", workload).id
        self._progress(task)
        core = self._core
        schedule = self._given(workload) or default_schedule(workload, core)
        timing = measure_layer(workload, schedule, core)
        traffic = timing.traffic
        reads = read_traffic(traffic)
        constants = traffic.uop.data_bytes + traffic.fetch.data_bytes
        laid_out = workload
        if isinstance(workload, ConvWorkload) and isinstance(schedule, ConvSchedule):
            laid_out = fold_workload(workload, schedule.fold)
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
            blocks(channels) * _LANES * laid_out.in_height * laid_out.in_width,
        )


def _ppm(busy_cycles: int, cycles: int) -> int:
    return min(WHOLE_PPM, busy_cycles * WHOLE_PPM // cycles)


def read_traffic(traffic: MemoryTraffic) -> tuple[Traffic, ...]:
    """What is read from DRAM."""
    return traffic.uop, traffic.wgt, traffic.inp, traffic.acc, traffic.fetch


def _layers(groups: GroupGraph, quantized: QuantizedGraph) -> Iterable[tuple[Layer, int]]:
    """Launches with the group that each belongs to."""
    parts = [part for part in quantized.segments if isinstance(part, IntegerSegment)]
    computed = {operator.output for part in parts for operator in part.operators}
    writer = {
        operator.output: groups.group_of[operator.sources[-1]]
        for part in parts
        for operator in part.operators
        if operator.sources
    }
    for part in parts:
        made = segment_layers(part, quantized.tensors, set(quantized.views) - computed)
        for layer in made.layers:
            if layer.operator.sources:
                yield layer, groups.group_of[layer.operator.sources[-1]]
            else:  # a copy for a concatenation, named after what it is concatenated to
                yield layer, writer[layer.operator.output.rsplit("/", 1)[0]]


def _cpu_cost(groups: GroupGraph, index: int, node_costs: NodeCosts) -> GroupCost:
    graph, group = groups.graph, groups.groups[index]
    members = set(group.nodes)
    views = dict(group.views)
    energy, moved, constants = 0.0, 0, 0
    parts: list[CpuPart] = []
    waiting: list[tuple[int, int]] = []
    for node in graph.nodes:
        if node.name not in members:
            continue
        cost = node_costs(graph, node)
        time = round(cost.seconds * PICOSECONDS)
        if node.name in views:
            waiting.append((time, views[node.name]))
            continue
        reads = tuple(tensor for tensor in groups.reads_of(node) if tensor in group.reads)
        parts.append(CpuPart(time, reads, tuple(waiting)))
        waiting = []
        energy += cost.energy_pj
        moved += node_bytes(graph, node)
        constants += weight_bytes(graph, node)
    if waiting:  # views behind the last operator, or nothing but views
        last = parts.pop() if parts else CpuPart(0, group.reads, ())
        parts.append(replace(last, views=last.views + tuple(waiting)))
    return GroupCost(tuple(parts), energy, moved, constants, None, None)


def _group_cost(
    groups: GroupGraph,
    index: int,
    layers: list[Layer],
    node_costs: NodeCosts,
    measured: ProgramCosts,
) -> GroupCost:
    cost = _cpu_cost(groups, index, node_costs)
    if groups.groups[index].npu_reason is not None:
        return cost
    inside = tuple(
        measured.program(layer.operator.name, _with_entry(layer.workload, entry=False))
        for layer in layers
    )
    entering = tuple(
        measured.program(layer.operator.name, _with_entry(layer.workload, entry=True))
        for layer in layers
    )
    sliced = None
    if len(layers) == 1:
        workload = _with_entry(layers[0].workload, entry=False)
        sliced = measured.sliced(layers[0].operator.name, workload)
    return replace(cost, programs=inside, entry_programs=entering, sliced=sliced)


def _with_entry(workload: Workload, *, entry: bool) -> Workload:
    """Whether the CPU lays out the input matters where taps can be folded, and nowhere else."""
    if not isinstance(workload, ConvWorkload):
        return workload
    entering = replace(workload, entry=True)
    return entering if entry and foldable(entering) else replace(workload, entry=False)
