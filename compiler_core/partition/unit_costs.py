"""What groups cost on one unit, whole and cut over its cores.

Where no quantization is given, one with a fixed exponent per tensor stands in: a program's cycles
depend on shapes and on which passes its requantization needs, and not on its numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compiler_core.errors import InfeasibleError
from compiler_core.partition.costs import GroupCost, LaunchOrder, UnitCost
from compiler_core.partition.group_graph import GroupGraph
from compiler_core.partition.programs import ProgramCosts
from compiler_core.quantize.exponents import RangeChoice
from compiler_core.quantize.ir import IntegerConcat, IntegerSegment, QuantizedGraph, tensors_read
from compiler_core.quantize.quantize import with_exponents
from compiler_core.quantize.skeleton import Skeleton
from compiler_core.system.jobs import PICOSECONDS, WHOLE_PPM
from compiler_core.system.positions import Positions
from compiler_core.targets.target import Target
from compiler_core.units.launches import Launch
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.ways import INT8

ASSUMED_EXPONENT = 4
"""Of every tensor where no quantization is given."""


def quantized_stand_in(skeleton: Skeleton) -> QuantizedGraph:
    """A quantization whose programs cost what those of a calibrated one cost.

    Raises:
        InputError: An operator's weights are too far apart for any exponents.
    """
    wanted = dict.fromkeys(skeleton.calibrated, ASSUMED_EXPONENT)
    return with_exponents(skeleton, wanted, RangeChoice.MAX)


@dataclass
class UnitCostBuilder:
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
            integer: _Costs | str = reason or ""
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

    def _integer(self, index: int, layers: Sequence[Any]) -> _Costs | str:
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
        return _Costs(whole, cut)

    def _other(self, index: int, place: int) -> _Costs | str:
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
        return _Costs(UnitCost(programs, programs, order), {})

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
class _Costs:
    """A group on a unit: on one core, and by suffix of the ways of cutting over all."""

    whole: UnitCost
    cut: dict[str, UnitCost]
