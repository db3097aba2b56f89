"""From a model and a target to its cost table.

Where no quantization is given, one with a fixed exponent per tensor stands in: a program's cycles
depend on shapes and on which passes its requantization needs, and not on its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compiler_core.errors import InfeasibleError
from compiler_core.graph.ir import Node
from compiler_core.graph.macs import node_bytes, weight_bytes
from compiler_core.graph.order import reads
from compiler_core.partition.costs import (
    CostTable,
    CpuCost,
    CpuPart,
    GroupCost,
    LaunchOrder,
    TensorCost,
    UnitCost,
)
from compiler_core.partition.groups import GroupGraph
from compiler_core.partition.programs import ProgramCosts, Schedules
from compiler_core.quantize.exponents import RangeChoice
from compiler_core.quantize.ir import (
    IntegerConcat,
    IntegerSegment,
    QuantizedGraph,
    tensors_read,
)
from compiler_core.quantize.layout import plain_shape
from compiler_core.quantize.quantize import with_exponents
from compiler_core.quantize.skeleton import Skeleton
from compiler_core.system.jobs import PICOSECONDS, WHOLE_PPM, Machinery, picoseconds
from compiler_core.system.positions import Positions
from compiler_core.targets.integer_units import Form, integer_units
from compiler_core.targets.places import ON_HOST, Place
from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import of_unit
from compiler_core.units.facets.host import NodeCosts, host_costs, integer_costs
from compiler_core.units.launches import Launch
from compiler_core.units.names import CPU_INT8
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.ways import FLOAT32, INT8, TensorForm, ways_of

ASSUMED_EXPONENT = 4
"""Of every tensor where no quantization is given."""

_FLOAT_BYTES = 4


def quantized_stand_in(skeleton: Skeleton) -> QuantizedGraph:
    """A quantization whose programs cost what those of a calibrated one cost.

    Raises:
        InputError: An operator's weights are too far apart for any exponents.
    """
    wanted = dict.fromkeys(skeleton.calibrated, ASSUMED_EXPONENT)
    return with_exponents(skeleton, wanted, RangeChoice.MAX)


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
    """Costs of every group at every place where it can run.

    Args:
        groups: The model.
        target: The machine.
        node_costs: Of one operator on the CPU.
        schedules: By task id; a task without one gets the untuned default.
        quantized: The model with everything on a unit that can run there, for targets of one unit.
        progress: Told of each program that is measured.
        programs: What measures those of the first unit instead; then schedules are its own.
    """
    positions = Positions(groups.graph)
    found = [
        GroupCost(_cpu_cost(groups, index, node_costs, positions))
        for index in range(len(groups.groups))
    ]
    for unit in target.places.units:
        own = of_unit(schedules or {}, target, target.units[unit].name)
        measured = ProgramCosts(target.units[unit], own, progress)
        if programs is not None and unit == target.places.units[0]:
            measured = programs
        builder = _UnitCosts(groups, target, unit, measured, positions)
        found = list(builder.added(found, quantized))
    found = list(_with_host_integers(found, groups, target, positions))
    forms, form_of, tensors = _tensor_costs(groups, target)
    view_ps, view_energy_pj = _view_costs(groups, node_costs)
    return CostTable(
        tuple(found),
        tensors,
        target.places,
        Machinery.of(target),
        forms,
        form_of,
        round(target.launch_overhead_s * PICOSECONDS),
        target.cpu.copy_bytes_per_cycle * target.cpu.clock_hz,
        view_ps,
        {name: positions.of_node(name) for name in _view_names(groups)},
        tuple(positions.of_values(tensor.name) for tensor in groups.tensors),
        view_energy_pj,
    )


def with_node_costs(
    table: CostTable, groups: GroupGraph, target: Target, node_costs: NodeCosts
) -> CostTable:
    """The same programs with another CPU beside them (``target`` holds its rates)."""
    positions = Positions(groups.graph)
    times, energies = _view_costs(groups, node_costs)
    moved = [
        replace(old, cpu=_cpu_cost(groups, index, node_costs, positions))
        for index, old in enumerate(table.groups)
    ]
    return replace(
        table,
        groups=tuple(_with_host_integers(moved, groups, target, positions)),
        launch_ps=round(target.launch_overhead_s * PICOSECONDS),
        copy_bytes_per_s=target.cpu.copy_bytes_per_cycle * target.cpu.clock_hz,
        view_ps=times,
        view_energy_pj=energies,
    )


def _with_host_integers(
    costs: Sequence[GroupCost], groups: GroupGraph, target: Target, positions: Positions
) -> Iterator[GroupCost]:
    """Costs with those of the CPU on integers."""
    place = target.places.numbers.get(CPU_INT8)
    cost_of, graph = integer_costs().of_target(target), groups.graph
    for group, cost in zip(groups.groups, costs, strict=True):
        if place is None or group.host is None:
            yield cost
            continue
        found = cost_of(graph, group.host)
        sizes = [groups.tensors[tensor].values for tensor in (*group.reads, *group.writes)]
        written = sum(groups.tensors[tensor].values for tensor in group.writes)
        launch = Launch(
            group.name,
            "",
            0,
            picoseconds(found.seconds * 1e3),
            found.energy_pj,
            sum(sizes) - written,
            written,
            0,
            0,
            cost.cpu.constant_bytes,
            0,
            parts=0,
        )
        order = LaunchOrder(group.reads, (), positions.of_node(group.host.name))
        yield replace(cost, at={**cost.at, place: UnitCost((launch,), (launch,), (order,))})


def _tensor_costs(
    groups: GroupGraph, target: Target
) -> tuple[tuple[Form, ...], tuple[int, ...], tuple[TensorCost, ...]]:
    """Forms, the form at each place, and what each tensor costs there."""
    memories = [memory.name for memory in target.memories]
    on_host = Form(FLOAT32, memories.index(target.cpu_memory))
    forms = {on_host: 0}
    form_of = []
    held: list[tuple[Callable[[tuple[int, ...]], TensorForm], bool]] = []
    for place in target.places.all:
        if place.unit == ON_HOST and place.number == FLOAT32:
            form_of.append(0)
            continue
        if place.unit == ON_HOST:
            unit = target.units.index(integer_units(target)[0])
            form_of.append(form_of[target.places.whole(unit)])
            continue
        shaped = _shaped(target, place)
        memory = memories.index(target.units[place.unit].memory)
        form = Form(shaped((1, 1, 1, 1)).layout, memory)
        if form not in forms:
            forms[form] = len(forms)
            held.append((shaped, place.number == INT8))
        form_of.append(forms[form])
    tensors = []
    for tensor in groups.tensors:
        # Integers may be padded beyond the numbers that there are; other numbers are not.
        real = plain_shape(groups.graph.types.get(tensor.name))
        inside = [shaped(tensor.shape if padded else real) for shaped, padded in held]
        extra = tuple(round(form.extra_s * PICOSECONDS) for form in inside)
        tensors.append(
            TensorCost(
                (tensor.values * _FLOAT_BYTES, *(form.bytes for form in inside)),
                host_costs().conversion(target.cpu, tensor.values, 0).energy_pj,
                (0, *extra) if any(extra) else (),
            )
        )
    return tuple(forms), tuple(form_of), tuple(tensors)


def _shaped(target: Target, place: Place) -> Callable[[tuple[int, ...]], TensorForm]:
    machine = target.units[place.unit].machine
    ways = ways_of(machine)
    return lambda shape: ways.form(shape, place.number, machine)


def _view_costs(
    groups: GroupGraph, node_costs: NodeCosts
) -> tuple[dict[str, int], dict[str, float]]:
    """Time and energy of views on the CPU, by name."""
    nodes = {node.name: node for node in groups.graph.nodes}
    costs = {name: node_costs(groups.graph, nodes[name]) for name in _view_names(groups)}
    return (
        {name: picoseconds(cost.seconds * 1e3) for name, cost in costs.items()},
        {name: cost.energy_pj for name, cost in costs.items()},
    )


def _view_names(groups: GroupGraph) -> Iterable[str]:
    return dict.fromkeys(name for chain in groups.views_of.values() for name in chain)


def _cpu_cost(
    groups: GroupGraph, index: int, node_costs: NodeCosts, positions: Positions
) -> CpuCost:
    graph, group = groups.graph, groups.groups[index]
    energy, moved, constants = 0.0, 0, 0
    parts: list[CpuPart] = []
    for node in groups.computing(index):
        cost = node_costs(graph, node)
        bases = tuple(tensor for tensor in groups.reads_of(node) if tensor in group.reads)
        time, position = picoseconds(cost.seconds * 1e3), positions.of_node(node.name)
        parts.append(CpuPart(time, bases, _views_before(groups, node), position))
        energy += cost.energy_pj
        moved += node_bytes(graph, node)
        constants += weight_bytes(graph, node)
    return CpuCost(tuple(parts), energy, moved, constants)


def _views_before(groups: GroupGraph, node: Node) -> tuple[tuple[int, tuple[str, ...]], ...]:
    found = {
        name: (groups.base_of[name], groups.views_of[name])
        for name in sorted(reads(node))
        if groups.views_of.get(name)
    }
    return tuple(found.values())


@dataclass
class _UnitCosts:
    """Costs of all groups on one unit."""

    groups: GroupGraph
    target: Target
    unit: int
    measured: ProgramCosts
    positions: Positions

    def added(
        self, costs: Sequence[GroupCost], quantized: QuantizedGraph | None
    ) -> Iterator[GroupCost]:
        """Costs with those of the unit's places."""
        here = self.groups.on_unit.get(self.target.units[self.unit].name)
        layers, absent = dict[int, list[Any]](), dict[int, str]()
        if here is not None:
            layers, absent = self._layers(quantized or quantized_stand_in(here.skeleton))
        for index, cost in enumerate(costs):
            reason: str | None = "It is not quantized."
            if here is not None:
                reason = here.reason(self.groups.groups[index]) or absent.get(index)
            integer: UnitCosts | str = reason or ""
            if reason is None:
                integer = self._integer(index, layers.get(index, []))
            at, reasons = dict(cost.at), dict(cost.reasons)
            own = self.target.places.of_unit(self.unit)
            for place in own:
                kept = integer if self._number(place) == INT8 else self._other(index, place)
                suffix = self.target.places[place].way.suffix
                is_cut = self.target.places[place].is_cut
                if isinstance(kept, str):
                    reasons.setdefault(self.unit, kept)
                elif not is_cut:
                    at[place] = kept.whole
                elif suffix in kept.cut:
                    at[place] = kept.cut[suffix]
            if any(place in at for place in own):
                reasons.pop(self.unit, None)
            yield replace(cost, at=at, reasons=reasons)

    def _number(self, place: int) -> str:
        return self.target.places[place].number

    def _layers(self, quantized: QuantizedGraph) -> tuple[dict[int, list[Any]], dict[int, str]]:
        """Launches by group, and why groups have none."""
        machine = self.measured.unit.machine
        kind = kind_of_machine(machine)
        parts = [
            part
            for part in quantized.segments
            if isinstance(part, IntegerSegment) and part.unit == self.measured.unit.name
        ]
        operators = {operator.output: operator for part in parts for operator in part.operators}
        group_of = {
            output: self.groups.group_of[operator.sources[-1]]
            for output, operator in operators.items()
            if operator.sources
        }
        can = kind.has("layers")
        found: dict[int, list[Any]] = {}
        launched = set()
        alone = quantized.entering_alone()
        for part in parts:
            layers = kind.layers.layers if can else None
            made = (
                ()
                if layers is None
                else (layers(part, quantized.tensors, alone[part.name], machine).layers)
            )
            for layer in made:
                operator = layer.operator
                launched.add(operator.output)
                if operator.sources:
                    index = self.groups.group_of[operator.sources[-1]]
                else:  # a copy for a concatenation, named after what it is concatenated to
                    index = group_of[operator.output.rsplit("/", 1)[0]]
                found.setdefault(index, []).append(layer)
        absent = {
            group_of[output]: f"{kind.name} has no program for it."
            for output, operator in operators.items()
            if output in group_of
            and output not in launched
            and not (can and isinstance(operator, IntegerConcat))
        }
        return found, absent

    def _integer(self, index: int, layers: Sequence[Any]) -> UnitCosts | str:
        launches = self.measured.launches
        names = [layer.operator.name for layer in layers]
        works = [layer.task.workload for layer in layers]
        inside = [launches.entering(work, is_alone=False) for work in works]
        entering = [launches.entering(work, is_alone=True) for work in works]
        try:
            whole = UnitCost(
                self._programs(names, inside),
                self._programs(names, entering),
                tuple(self._orders(index, layers)),
            )
        except InfeasibleError as error:
            if any(self.measured.is_given(work) for work in (*inside, *entering)):
                raise
            return error.message
        cut = {}
        if len(layers) == 1:
            found = self.measured.across(names[0], inside[0])
            for suffix, launch in found.items():
                program = (self._in_memory(launch),)
                cut[suffix] = UnitCost(program, program, whole.order, is_cut=True)
        return UnitCosts(whole, cut)

    def _other(self, index: int, place: int) -> UnitCosts | str:
        """A group in a number format that quantization does not know."""
        group, machine = self.groups.groups[index], self.measured.unit.machine
        nodes = self.groups.computing(index)
        number = self._number(place)
        works = self.measured.launches.works(self.groups.graph, nodes, number, machine)
        if isinstance(works, str):
            return works
        names = [group.name]
        if len(works) > 1:  # its launches, one after another
            names = [f"{group.name}/{at}" for at in range(len(works))]
        try:
            programs = self._programs(names, works)
        except InfeasibleError as error:
            if any(self.measured.is_given(work) for work in works):
                raise
            return error.message
        position = self.positions.of_node(nodes[-1].name)
        order = tuple(
            LaunchOrder(group.reads if at == 0 else (), (at - 1,) if at else (), position)
            for at in range(len(works))
        )
        return UnitCosts(UnitCost(programs, programs, order), {})

    def _programs(self, names: Sequence[str], works: Sequence[Any]) -> tuple[Launch, ...]:
        return tuple(
            self._in_memory(self.measured.program(name, work))
            for name, work in zip(names, works, strict=True)
        )

    def _in_memory(self, launch: Launch) -> Launch:
        """A launch with its demand on a memory that has a speed of its own."""
        name = self.measured.unit.memory
        memory = next(memory for memory in self.target.memories if memory.name == name)
        if memory.bytes_per_s is None or not launch.run_ps:
            return launch
        can_move = memory.bytes_per_s * launch.run_ps / PICOSECONDS
        return replace(
            launch,
            read_ppm=min(WHOLE_PPM, round(launch.read_bytes * WHOLE_PPM / can_move)),
            write_ppm=min(WHOLE_PPM, round(launch.write_bytes * WHOLE_PPM / can_move)),
        )

    def _orders(self, index: int, layers: Sequence[Any]) -> Iterator[LaunchOrder]:
        groups, written = self.groups, dict[str, int]()
        whole = groups.groups[index].reads
        for position, layer in enumerate(layers):
            operator = layer.operator
            names = tensors_read(operator)
            tensors, known = set(), True
            for name in names:
                base = groups.base_of.get(name)
                known = known and (name in written or base in whole)
                if name not in written and base is not None:
                    tensors.add(base)
            programs = {written[name] for name in names if name in written}
            place = self.positions.of_launch(operator.output, operator.sources)
            yield LaunchOrder(
                tuple(sorted(tensors)) if known else whole, tuple(sorted(programs)), place
            )
            written[operator.output] = position


@dataclass(frozen=True)
class UnitCosts:
    """A group on a unit: on one core, and by suffix of the ways of cutting over all."""

    whole: UnitCost
    cut: dict[str, UnitCost]
