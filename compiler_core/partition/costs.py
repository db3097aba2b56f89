"""Cost tables: what each group costs on each unit, and each tensor at a border.

Times are integers in picoseconds. NPU times come from the timing simulator, one program per launch,
with a given schedule per task or the untuned default; CPU times from the analytic model or a
measured table.

Where no quantization is given, one with a fixed exponent per tensor stands in: a program's cycles
depend on shapes and on which passes its requantization needs, and not on its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from compiler_core.graph.ir import Node
from compiler_core.graph.order import reads
from compiler_core.partition.groups import GroupGraph
from compiler_core.partition.placement import SLICED, SLICED_CHANNELS, SLICED_ROWS
from compiler_core.partition.programs import LANES, Program, ProgramCosts, Schedules
from compiler_core.quantize.exponents import RangeChoice
from compiler_core.quantize.ir import IntegerConv, IntegerSegment, QuantizedGraph
from compiler_core.quantize.quantize import with_exponents
from compiler_core.system.places import Places
from compiler_core.system.timeline import PICOSECONDS, picoseconds
from compiler_core.targets.target import Target
from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.cpu.cost import (
    NodeCosts,
    conversion_cost,
    node_bytes,
    weight_bytes,
)
from compiler_core.units.vta.link.segment import Layer, segment_layers
from compiler_core.units.vta.structure.conv_structure import blocks
from compiler_core.units.vta.structure.fold import foldable
from compiler_core.units.vta.structure.slicing import SliceAxis

ASSUMED_EXPONENT = 4
"""Of every tensor where no quantization is given."""

_FLOAT_BYTES = 4
_NUMBER_OF_AXIS = {SliceAxis.CHANNELS: SLICED_CHANNELS, SliceAxis.ROWS: SLICED_ROWS}


@dataclass(frozen=True)
class CpuPart:
    """One operator of a group on the CPU, where nothing is fused.

    Attributes:
        run_ps: Its time, without views.
        reads: Indices of the base tensors of other groups that it reads.
        views: ``(index of the base tensor, nodes)`` of the views through which it reads them.
        place: Where it stands in the model.
    """

    run_ps: int
    reads: tuple[int, ...]
    views: tuple[tuple[int, tuple[str, ...]], ...]
    place: int = 0


@dataclass(frozen=True)
class LaunchOrder:
    """What one program of a group waits for, and what it goes before.

    Attributes:
        tensors: Indices of the base tensors of other groups that it reads.
        programs: Positions of the group's programs that write what it reads.
        place: Where it stands in the model.
    """

    tensors: tuple[int, ...]
    programs: tuple[int, ...]
    place: int


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
        sliced: The operator across all cores along the faster axis, where there are several and it
            can be cut.
        slices: The same along each axis, by the number that placements have for it.
        order: Of the programs, one by one.
    """

    cpu_parts: tuple[CpuPart, ...]
    cpu_energy_pj: float
    cpu_bytes: int
    cpu_constant_bytes: int
    programs: tuple[Program, ...] | None
    entry_programs: tuple[Program, ...] | None
    sliced: Program | None = None
    slices: Mapping[int, Program] = field(default_factory=dict)
    order: tuple[LaunchOrder, ...] = ()

    @property
    def ends(self) -> tuple[int, ...]:
        """Positions of the programs whose results none of the group's others read."""
        inner = {source for item in self.order for source in item.programs}
        return tuple(position for position in range(len(self.order)) if position not in inner)

    def sliced_as(self, unit: int) -> Program | None:
        """The operator across all cores as a placement wants it; ``None`` where it cannot be."""
        return self.sliced if unit == SLICED else self.slices.get(unit)

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
        view_ps: Time of each view that the CPU has to run, by the name of its node.
        view_places: Where those nodes stand in the model.
        places: Where conversions of each tensor stand in the model.
    """

    groups: tuple[GroupCost, ...]
    tensors: tuple[TensorCost, ...]
    launch_ps: int
    copy_bytes_per_s: float
    cores: int
    clock_hz: float
    view_ps: Mapping[str, int] = field(default_factory=dict)
    view_places: Mapping[str, int] = field(default_factory=dict)
    places: tuple[int, ...] = ()

    def convert_ps(self, bytes_moved: int) -> int:
        """Time of a conversion at a border."""
        return picoseconds(bytes_moved / self.copy_bytes_per_s * 1e3)


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
    programs: ProgramCosts | None = None,
) -> CostTable:
    """Costs of every group on every unit that can run it.

    Args:
        groups: The model.
        target: The machine.
        node_costs: Of one operator on the CPU.
        schedules: By task id; a task without one gets the untuned default.
        quantized: The model with everything on the NPU that can run there.
        progress: Told of each program that is measured.
        programs: What measures them instead; then schedules are its own.
    """
    if quantized is None:
        quantized = quantized_stand_in(groups)
    measured = programs or ProgramCosts(target.npu, schedules or {}, progress, target.npu_cores)
    layers: dict[int, list[Layer]] = {}
    for layer, group in _layers(groups, quantized):
        layers.setdefault(group, []).append(layer)
    places = Places(groups.graph)
    costs = tuple(
        _group_cost(groups, index, layers.get(index, []), node_costs, measured, places)
        for index in range(len(groups.groups))
    )
    tensors = tuple(
        TensorCost(
            tensor.values * _FLOAT_BYTES,
            tensor.shape[0] * blocks(tensor.shape[1]) * LANES * prod(tensor.shape[2:]),
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
        _view_times(groups, node_costs),
        {name: places.of_node(name) for name in _view_names(groups)},
        tuple(places.of_values(tensor.name) for tensor in groups.tensors),
    )


def with_node_costs(
    table: CostTable, groups: GroupGraph, target: Target, node_costs: NodeCosts
) -> CostTable:
    """The same programs with another CPU beside them (``target`` holds its rates)."""
    costs, places = [], Places(groups.graph)
    for index, old in enumerate(table.groups):
        fresh = _cpu_cost(groups, index, node_costs, places)
        costs.append(
            replace(
                fresh,
                programs=old.programs,
                entry_programs=old.entry_programs,
                sliced=old.sliced,
                slices=old.slices,
                order=old.order,
            )
        )
    return replace(
        table,
        groups=tuple(costs),
        launch_ps=round(target.launch_overhead_s * PICOSECONDS),
        copy_bytes_per_s=target.cpu.copy_bytes_per_cycle * target.cpu.clock_hz,
        view_ps=_view_times(groups, node_costs),
    )


def _view_times(groups: GroupGraph, node_costs: NodeCosts) -> dict[str, int]:
    nodes = {node.name: node for node in groups.graph.nodes}
    return {name: _run_ps(node_costs, groups, nodes[name]) for name in _view_names(groups)}


def _view_names(groups: GroupGraph) -> Iterable[str]:
    return dict.fromkeys(name for chain in groups.views_of.values() for name in chain)


def _run_ps(node_costs: NodeCosts, groups: GroupGraph, node: Node) -> int:
    return picoseconds(node_costs(groups.graph, node).seconds * 1e3)


def _layers(groups: GroupGraph, quantized: QuantizedGraph) -> Iterable[tuple[Layer, int]]:
    """Launches with the group that each belongs to."""
    parts = [part for part in quantized.segments if isinstance(part, IntegerSegment)]
    writer = {
        operator.output: groups.group_of[operator.sources[-1]]
        for part in parts
        for operator in part.operators
        if operator.sources
    }
    alone = quantized.read_by_one_segment()
    for part in parts:
        made = segment_layers(part, quantized.tensors, alone)
        for layer in made.layers:
            if layer.operator.sources:
                yield layer, groups.group_of[layer.operator.sources[-1]]
            else:  # a copy for a concatenation, named after what it is concatenated to
                yield layer, writer[layer.operator.output.rsplit("/", 1)[0]]


def _cpu_cost(groups: GroupGraph, index: int, node_costs: NodeCosts, places: Places) -> GroupCost:
    graph, group = groups.graph, groups.groups[index]
    members = set(group.nodes)
    views = {name for name, _ in group.views}
    energy, moved, constants = 0.0, 0, 0
    parts: list[CpuPart] = []
    for node in graph.nodes:
        if node.name not in members or node.name in views:
            continue
        cost = node_costs(graph, node)
        bases = tuple(tensor for tensor in groups.reads_of(node) if tensor in group.reads)
        time, place = picoseconds(cost.seconds * 1e3), places.of_node(node.name)
        parts.append(CpuPart(time, bases, _views_before(groups, node), place))
        energy += cost.energy_pj
        moved += node_bytes(graph, node)
        constants += weight_bytes(graph, node)
    return GroupCost(tuple(parts), energy, moved, constants, None, None)


def _views_before(groups: GroupGraph, node: Node) -> tuple[tuple[int, tuple[str, ...]], ...]:
    found = {
        name: (groups.base_of[name], groups.views_of[name])
        for name in sorted(reads(node))
        if groups.views_of.get(name)
    }
    return tuple(found.values())


def _group_cost(
    groups: GroupGraph,
    index: int,
    layers: list[Layer],
    node_costs: NodeCosts,
    measured: ProgramCosts,
    places: Places,
) -> GroupCost:
    cost = _cpu_cost(groups, index, node_costs, places)
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
    slices = {}
    if len(layers) == 1:
        workload = _with_entry(layers[0].workload, entry=False)
        found = measured.sliced(layers[0].operator.name, workload)
        slices = {_NUMBER_OF_AXIS[axis]: program for axis, program in found.items()}
    best = min(slices.values(), key=lambda program: program.cycles, default=None)
    return replace(
        cost,
        programs=inside,
        entry_programs=entering,
        sliced=best,
        slices=slices,
        order=tuple(_launch_orders(groups, index, layers, places)),
    )


def _launch_orders(
    groups: GroupGraph, index: int, layers: Sequence[Layer], places: Places
) -> Iterator[LaunchOrder]:
    written: dict[str, int] = {}
    whole = groups.groups[index].reads
    for position, layer in enumerate(layers):
        operator = layer.operator
        residual = operator.residual if isinstance(operator, IntegerConv) else None
        names = [name for name in (operator.input, residual) if name is not None]
        tensors, known = set(), True
        for name in names:
            base = groups.base_of.get(name)
            known = known and (name in written or base in whole)
            if name not in written and base is not None:
                tensors.add(base)
        programs = {written[name] for name in names if name in written}
        place = places.of_launch(operator.output, operator.sources)
        yield LaunchOrder(
            tuple(sorted(tensors)) if known else whole, tuple(sorted(programs)), place
        )
        written[operator.output] = position


def _with_entry(workload: Workload, *, entry: bool) -> Workload:
    """Whether the CPU lays out the input matters where taps can be folded, and nowhere else."""
    if not isinstance(workload, ConvWorkload):
        return workload
    entering = replace(workload, entry=True)
    return entering if entry and foldable(entering) else replace(workload, entry=False)
