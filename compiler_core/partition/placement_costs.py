"""What groups take at their places, and tensors between them, before any timeline is simulated."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Self

from compiler_core.partition.concat_copies import copy_conditions
from compiler_core.partition.costs import ON_CPU_FORM, CostTable, UnitCost
from compiler_core.partition.group_graph import OUTSIDE, GroupGraph
from compiler_core.partition.layer_shares import Overlaps
from compiler_core.partition.savings import NO_SAVINGS, Savings
from compiler_core.targets.places import ON_CPU, ON_HOST, Placement
from compiler_core.units.launches import Launch
from compiler_core.units.ways import INT8


class PlacementCosts:
    """What programs and conversions of one model cost, wherever its groups are.

    Args:
        groups: The model.
        costs: Of its groups and tensors.
        joins_layers: Whether layers that follow one another on a core are launched together: the
            launch is paid once.
        joining: Whether each unit can do so; else all.
        overlaps: How far they overlap then, which an evaluation counts; searches count ``savings``.

    Attributes:
        choices: Places of each group that searches try, the CPU first.
        unit_of, form_of: Unit and form of each place.
        integer_forms: Forms that hold int8.
        run_at: Unit, core and memories, as a bit each, of programs at each place.
        folds: Places of each group where its input may be laid out for it alone, with taps folded.
        copies: Programs that run only beside others, see :mod:`.concat_copies`.
        savings: What layers that are launched together take less than apart.
    """

    def __init__(
        self,
        groups: GroupGraph,
        costs: CostTable,
        *,
        joins_layers: bool = False,
        joining: Sequence[bool] | None = None,
        overlaps: Overlaps | None = None,
    ) -> None:
        self.groups, self.costs = groups, costs
        joins = (True,) * len(costs.machinery.cores) if joining is None else joining
        self._joins_at = tuple(
            joins_layers and place.unit >= 0 and not place.is_cut and joins[place.unit]
            for place in costs.places.all
        )
        self.joins_layers, self.overlaps = joins_layers, overlaps
        self.savings: Savings = NO_SAVINGS
        self.choices = tuple(costs.offered(index) for index in range(len(costs.groups)))
        self.unit_of = tuple(place.unit for place in costs.places.all)
        self.form_of = costs.form_of
        places = zip(costs.places.all, costs.form_of, strict=True)
        self.integer_forms = frozenset(form for place, form in places if place.number == INT8)
        memory = costs.machinery.memory
        self.run_at = tuple(
            (place.unit, place.way.core, 1 << memory[place.unit] if place.unit >= 0 else 0)
            for place in costs.places.all
        )
        self._loads: dict[tuple[int, int], tuple[int, int]] = {}
        self._reads = [group.reads for group in groups.groups]
        self.outputs = [
            tuple(t for t in group.writes if groups.tensors[t].is_output) for group in groups.groups
        ]
        self.producer = [tensor.producer for tensor in groups.tensors]
        self._consumers = [tensor.consumers for tensor in groups.tensors]
        self.folds = [
            {
                place
                for place, at in cost.at.items()
                if len(group.reads) == 1
                and not at.is_cut
                and len(at.programs) == 1
                and at.programs != at.entry_programs
            }
            for group, cost in zip(groups.groups, costs.groups, strict=True)
        ]
        self.copies = copy_conditions(groups, costs)
        # Concatenations, and the rare groups with programs that do not wait for one another.
        self.joins = [
            {
                place
                for place, at in cost.at.items()
                if group.operator == "Concat" or len(at.ends) != 1
            }
            for group, cost in zip(groups.groups, costs.groups, strict=True)
        ]
        self.first_user: dict[str, int] = {}
        for tensor in groups.tensors:
            for alias in tensor.aliases:
                users = [*alias.readers, *([tensor.producer] if alias.is_output else [])]
                for name in alias.views:
                    self.first_user[name] = min(
                        self.first_user.get(name, len(groups.groups)), *users
                    )

    def narrowed(self, choices: Sequence[Sequence[int]]) -> Self:
        """The same, but searches try only some places of each group."""
        found = copy(self)
        found.choices = tuple(map(tuple, choices))
        return found

    def apart(self) -> Self:
        """The same with every layer a launch of its own."""
        found = copy(self)
        found.joins_layers, found.overlaps, found.savings = False, None, NO_SAVINGS
        found._joins_at, found._loads = (False,) * len(self._joins_at), {}
        return found

    def with_costs(self, costs: CostTable) -> Self:
        """The same with other times of programs."""
        found = copy(self)
        found.costs, found.savings, found._loads = costs, NO_SAVINGS, {}
        return found

    def loads(self, group: int, place: int) -> tuple[int, int]:
        """Time that a group takes at least from the CPU, and from all cores of its unit."""
        found = self._loads.get((group, place))
        if found is None:
            found = self._loads[group, place] = self._load(group, place)
        return found

    def least_launch_ps(self, place: int) -> int:
        """CPU time that a launch at a place takes at least; none where it may continue another."""
        return 0 if self.joins_at(place) else self.costs.launch_ps

    def joins_at(self, place: int) -> bool:
        """Whether layers at a place may be launched together."""
        return self._joins_at[place]

    def _load(self, group: int, place: int) -> tuple[int, int]:
        cost, launch = self.costs.groups[group], self.least_launch_ps(place)
        if place == ON_CPU:
            return cost.cpu.run_ps, 0
        at = cost.at[place]
        if self.unit_of[place] == ON_HOST:
            return at.busy_ps(launch), 0
        if at.is_cut:
            (cut,) = at.programs
            return launch * cut.parts, self.costs.cores_at(place) * at.busy_ps(launch)
        variants = self.variants(group, place)
        return (
            min(launch * len(v) for v in variants),
            min(sum(program.run_ps + launch for program in v) for v in variants),
        )

    def form_at(self, group: int, placement: Placement) -> int:
        """The form in which a group writes; the caller of the model writes as the CPU does."""
        return ON_CPU_FORM if group == OUTSIDE else self.form_of[placement[group]]

    def entering(self, group: int, placement: Placement) -> bool:
        """Whether the CPU lays out the input of ``group`` for it alone, so that taps may fold."""
        if placement[group] not in self.folds[group]:
            return False
        (tensor,) = self._reads[group]
        form = self.form_of[placement[group]]
        if self.form_at(self.producer[tensor], placement) == form:
            return False
        readers = self._consumers[tensor]
        return sum(self.form_of[placement[reader]] == form for reader in readers) == 1

    def programs(self, group: int, placement: Placement) -> tuple[Launch, ...]:
        """Launches of a group that runs on a unit."""
        return tuple(program for _, program in self.launches(group, placement))

    def launches(self, group: int, placement: Placement) -> tuple[tuple[int, Launch], ...]:
        """The same, each with its position among all that the group may have to launch."""
        cost = self.unit_cost(group, placement[group])
        found = cost.entry_programs if self.entering(group, placement) else cost.programs
        unit = self.unit_of[placement[group]]
        copies = self.copies.get((group, unit), {})
        if not copies:
            return tuple(enumerate(found))
        needless = {
            at
            for at, others in copies.items()
            if all(self.unit_of[placement[other]] != unit for other in others)
        }
        return tuple((at, program) for at, program in enumerate(found) if at not in needless)

    def unit_cost(self, group: int, place: int) -> UnitCost:
        """Costs of a group at a place of a unit.

        Raises:
            ValueError: It cannot run there.
        """
        found = self.costs.groups[group].at.get(place)
        if found is None:
            name = self.costs.places[place].name
            raise ValueError(f"group {group} cannot run on {name}")
        return found

    def variants(self, group: int, place: int) -> list[tuple[Launch, ...]]:
        """What a group may have to launch at a place, not cut; for a concatenation the least."""
        cost = self.costs.groups[group].at[place]
        copies = self.copies.get((group, self.unit_of[place]), {})
        return [
            tuple(program for at, program in enumerate(found) if at not in copies)
            for found in (cost.programs, cost.entry_programs)
        ]

    def least_way_ps(self, group: int, place: int, tensor: int | None = None) -> int:
        """The longest way through the programs of a group, from those on that read ``tensor``;
        the least over all that it may have to launch. Programs side by side count once."""
        cost, launch = self.costs.groups[group].at[place], self.least_launch_ps(place)
        if cost.is_cut or self.unit_of[place] == ON_HOST:
            return cost.busy_ps(launch)
        copies, found = self.copies.get((group, self.unit_of[place]), {}), []
        for programs in (cost.programs, cost.entry_programs):
            ways: dict[int, int] = {}
            for at, (program, item) in enumerate(zip(programs, cost.order, strict=True)):
                before = [ways[p] for p in item.programs if p in ways]
                reads = tensor is None or tensor in item.tensors
                if at not in copies and (before or reads):
                    ways[at] = max(before, default=0) + program.run_ps + launch
            found.append(max(ways.values(), default=0))
        return min(found)

    def form_bytes(self, tensor: int, form: int, placement: Placement) -> int:
        """Size of a tensor in a form, as those want it that read it so."""
        if form != ON_CPU_FORM:
            for reader in self._consumers[tensor]:
                if self.form_of[placement[reader]] == form and self.entering(reader, placement):
                    batch = self.groups.tensors[tensor].shape[0]
                    return batch * self.programs(reader, placement)[0].input_bytes
        return self.costs.tensors[tensor].form_bytes[form]

    def conversion_ps(self, tensor: int, source: int, form: int) -> int:
        """Time of bringing a tensor from one form in its plain layout to another."""
        sizes = self.costs.tensors[tensor].form_bytes
        return self.converting_ps(tensor, source, form, sizes[source] + sizes[form])

    def converting_ps(self, tensor: int, source: int, form: int, bytes_moved: int) -> int:
        """The same where other sizes are copied."""
        time, extra = self.costs.convert_ps(bytes_moved), self.costs.tensors[tensor].extra_ps
        return time + extra[source] + extra[form] if extra else time

    def least_conversion_ps(self, tensor: int, form: int) -> int:
        """No conversion of a tensor into a form takes less, however its readers want it."""
        others = [other for other in range(len(self.costs.forms)) if other != form]
        return min((self._convert(tensor, other, form)[0] for other in others), default=0)

    def most_conversion_ps(self, tensor: int) -> int:
        """Time of converting a tensor into all forms, in its largest layout."""
        forms = range(len(self.costs.forms))
        return sum(
            max(self._convert(tensor, other, form)[1] for other in forms if other != form)
            for form in forms
            if len(forms) > 1
        )

    def _convert(self, tensor: int, source: int, form: int) -> tuple[int, int]:
        """The least and the most that a conversion takes."""
        sizes = self.costs.tensors[tensor].form_bytes
        found = [sizes[source] + sizes[form]]
        batch = self.groups.tensors[tensor].shape[0]
        for reader in self._consumers[tensor]:
            for place in self.folds[reader]:
                entering = self.costs.groups[reader].at[place].entry_programs[0]
                folded = batch * entering.input_bytes
                if self.form_of[place] == form:
                    found.append(sizes[source] + folded)
                elif self.form_of[place] == source:
                    found.append(folded + sizes[form])
        times = [self.converting_ps(tensor, source, form, size) for size in found]
        return min(times), max(times)

    def laid_out(self, tensor: int, placement: Placement, groups: range) -> bool:
        """Whether a border hands ``tensor`` to the CPU in the one shape that it is read in, so that
        no view runs; as far as ``groups`` read it."""
        item = self.groups.tensors[tensor]
        if item.producer == OUTSIDE or self.unit_of[placement[item.producer]] == ON_HOST:
            return False
        if self.costs.places[placement[item.producer]].number != INT8:
            return False  # other numbers come back as the model has them
        shapes = sum(
            alias.is_output
            or any(r in groups and self.unit_of[placement[r]] == ON_HOST for r in alias.readers)
            for alias in item.aliases
        )
        return shapes <= 1
