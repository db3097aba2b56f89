"""What a placement costs: its tasks on the system timeline, latency, energy, DRAM."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from compiler_core.partition.concat_copies import copy_conditions
from compiler_core.partition.costs import CostTable
from compiler_core.partition.groups import OUTSIDE, GroupGraph
from compiler_core.partition.live_bytes import peak_bytes
from compiler_core.partition.placement import (
    ON_CORE,
    ON_CPU,
    ON_NPU,
    SLICED,
    SLICED_WAYS,
    Placement,
)
from compiler_core.partition.programs import Program
from compiler_core.system.timeline import (
    ALL_CORES,
    ANY_CORE,
    PICOSECONDS,
    Resource,
    Task,
    TaskKind,
    Timeline,
    ranks,
    simulate,
)

_AT_START = -1


@dataclass(frozen=True)
class Evaluation:
    """A placement, simulated.

    Attributes:
        placement: What was simulated.
        tasks: With their dependences.
        timeline: When each ran.
        latency_ps: From start to end.
        sequential_ps: If nothing overlapped.
        energy_pj: Of all tasks.
        npu_cycles: Sum over launches.
        launches: Programs.
        read_bytes, write_bytes: DRAM traffic of all units.
        dram_constant_bytes: Weights and micro-ops.
        dram_peak_bytes: With the most activations that are live at a time.
    """

    placement: Placement
    tasks: tuple[Task, ...]
    timeline: Timeline
    latency_ps: int
    sequential_ps: int
    energy_pj: float
    npu_cycles: int
    launches: int
    read_bytes: int
    write_bytes: int
    dram_constant_bytes: int
    dram_peak_bytes: int

    @property
    def latency_ms(self) -> float:
        return self.latency_ps / PICOSECONDS * 1e3

    @property
    def energy_mj(self) -> float:
        return self.energy_pj * 1e-9


class Evaluator:
    """Simulates placements of one model with given costs.

    Args:
        groups: The model.
        costs: Of its groups and tensors.
    """

    def __init__(self, groups: GroupGraph, costs: CostTable) -> None:
        self.groups, self.costs = groups, costs
        self.units = tuple(
            (ON_CPU,)
            if cost.programs is None
            else (ON_CPU, ON_NPU)
            if cost.sliced is None
            else (ON_CPU, ON_NPU, SLICED)
            for cost in costs.groups
        )
        self._reads = [group.reads for group in groups.groups]
        self._outputs = [
            tuple(t for t in group.writes if groups.tensors[t].is_output) for group in groups.groups
        ]
        self._producer = [tensor.producer for tensor in groups.tensors]
        self._consumers = [tensor.consumers for tensor in groups.tensors]
        self._folds = [
            len(group.reads) == 1
            and cost.programs is not None
            and len(cost.programs) == 1
            and cost.programs != cost.entry_programs
            for group, cost in zip(groups.groups, costs.groups, strict=True)
        ]
        self._copies = copy_conditions(groups, costs)
        # Concatenations, and the rare groups with programs that do not wait for one another.
        self._joins = [
            group.operator == "Concat" or len(cost.ends) != 1
            for group, cost in zip(groups.groups, costs.groups, strict=True)
        ]
        self._first_user: dict[str, int] = {}
        for tensor in groups.tensors:
            for alias in tensor.aliases:
                users = [*alias.readers, *([tensor.producer] if alias.is_output else [])]
                for name in alias.views:
                    self._first_user[name] = min(
                        self._first_user.get(name, len(groups.groups)), *users
                    )
        self._convert = [
            costs.convert_ps(tensor.float_bytes + tensor.packed_bytes) for tensor in costs.tensors
        ]

    def latency_ps(self, placement: Placement, order: Sequence[int] | None = None) -> int:
        """End-to-end latency; see :meth:`evaluate` for the rest."""
        tasks = self.tasks(placement)
        return simulate(tasks, self.priorities(tasks, order), self.costs.cores).latency_ps

    def loads(self, group: int, unit: int) -> tuple[int, int]:
        """Time that a group takes at least from the CPU, and from all cores together."""
        cost, launch = self.costs.groups[group], self.costs.launch_ps
        if unit == ON_CPU:
            return cost.cpu_ps, 0
        sliced = cost.sliced_as(unit) if unit in SLICED_WAYS else None
        if sliced is not None:
            busy = sliced.run_ps + launch * sliced.parts
            return launch * sliced.parts, self.costs.cores * busy
        variants = self.variants(group)
        return (
            min(launch * len(v) for v in variants),
            min(sum(program.run_ps + launch for program in v) for v in variants),
        )

    def sequential_ps(self, placement: Placement) -> int:
        """Latency if nothing overlapped."""
        return sum(task.run_ps + task.overhead_ps for task in self.tasks(placement))

    def tasks(self, placement: Placement, first: int = 0, stop: int | None = None) -> list[Task]:
        """Tasks of the groups ``first`` to ``stop - 1``; what other groups write is there."""
        return _Tasks(self, placement, first, stop).build()

    def priorities(self, tasks: Sequence[Task], order: Sequence[int] | None = None) -> list[int]:
        """Priorities of tasks: by longest remaining way, or by a given order of the groups."""
        if order is None:
            return ranks(tasks)
        position = {group: at for at, group in enumerate(order)}
        last = len(position)
        priorities = []
        for task in tasks:
            if task.kind in (TaskKind.QUANTIZE, TaskKind.DEQUANTIZE):
                readers = self._consumers[task.subject]
                place = min((position.get(reader, last) for reader in readers), default=last)
            else:
                place = position.get(task.subject, last)
            priorities.append(-place)
        return priorities

    def entering(self, group: int, placement: Placement) -> bool:
        """Whether the CPU lays out the input of ``group`` for it alone, so that taps may fold."""
        if not self._folds[group] or placement[group] in SLICED_WAYS:
            return False
        (tensor,) = self._reads[group]
        producer = self._producer[tensor]
        if producer != OUTSIDE and placement[producer] != ON_CPU:
            return False
        return sum(placement[reader] != ON_CPU for reader in self._consumers[tensor]) == 1

    def programs(self, group: int, placement: Placement) -> tuple[Program, ...]:
        """Launches of a group that runs on the NPU."""
        return tuple(program for _, program in self.launches(group, placement))

    def launches(self, group: int, placement: Placement) -> tuple[tuple[int, Program], ...]:
        """The same, each with its position among all that the group may have to launch."""
        cost, copies = self.costs.groups[group], self._copies.get(group, {})
        needless = {
            at for at, others in copies.items() if all(placement[g] == ON_CPU for g in others)
        }
        if placement[group] in SLICED_WAYS:
            sliced = cost.sliced_as(placement[group])
            if sliced is None:
                raise ValueError(f"group {group} cannot be sliced that way")
            return () if needless else ((0, sliced),)
        found = cost.entry_programs if self.entering(group, placement) else cost.programs
        if found is None:
            raise ValueError(f"group {group} cannot run on the NPU")
        return tuple((at, program) for at, program in enumerate(found) if at not in needless)

    def variants(self, group: int) -> list[tuple[Program, ...]]:
        """What a group may have to launch on the NPU, not sliced; for a concatenation the least."""
        cost, copies = self.costs.groups[group], self._copies.get(group, {})
        return [
            tuple(program for at, program in enumerate(found) if at not in copies)
            for found in (cost.programs, cost.entry_programs)
            if found is not None
        ]

    def least_way_ps(self, group: int, tensor: int | None = None) -> int:
        """The longest way through the programs of a group, from those on that read ``tensor``;
        the least over all that it may have to launch. Programs side by side count once."""
        cost, launch, copies = self.costs.groups[group], self.costs.launch_ps, self._copies
        found = []
        for programs in (cost.programs, cost.entry_programs):
            ways: dict[int, int] = {}
            for at, (program, item) in enumerate(zip(programs or (), cost.order, strict=True)):
                before = [ways[p] for p in item.programs if p in ways]
                reads = tensor is None or tensor in item.tensors
                if at not in copies.get(group, {}) and (before or reads):
                    ways[at] = max(before, default=0) + program.run_ps + launch
            found.append(max(ways.values(), default=0))
        if cost.sliced is not None:
            found.append(cost.sliced.run_ps + launch * cost.sliced.parts)
        return min(found)

    def packed_bytes(self, tensor: int, placement: Placement) -> int:
        """Size of an int8 tensor in DRAM as its readers want it."""
        for reader in self._consumers[tensor]:
            if placement[reader] != ON_CPU and self.entering(reader, placement):
                batch = self.groups.tensors[tensor].shape[0]
                return batch * self.programs(reader, placement)[0].input_bytes
        return self.costs.tensors[tensor].packed_bytes

    def conversion_ps(self, tensor: int) -> int:
        """Time of converting a tensor in its plain layout, either way."""
        return self._convert[tensor]

    def least_conversion_ps(self, tensor: int) -> int:
        """No conversion of a tensor takes less, however its readers want it."""
        return self.costs.convert_ps(min(self._conversion_bytes(tensor)))

    def most_conversion_ps(self, tensor: int) -> int:
        """Time of converting a tensor both ways, in its largest layout."""
        return 2 * self.costs.convert_ps(max(self._conversion_bytes(tensor)))

    def _conversion_bytes(self, tensor: int) -> list[int]:
        size = self.costs.tensors[tensor]
        found = [size.float_bytes + size.packed_bytes]
        for reader in self._consumers[tensor]:
            entering = self.costs.groups[reader].entry_programs
            if self._folds[reader] and entering:
                batch = self.groups.tensors[tensor].shape[0]
                found.append(size.float_bytes + batch * entering[0].input_bytes)
        return found

    def laid_out(self, tensor: int, placement: Placement, groups: range) -> bool:
        """Whether a border hands ``tensor`` to the CPU in the one shape that it is read in, so that
        no view runs; as far as ``groups`` read it."""
        item = self.groups.tensors[tensor]
        if item.producer == OUTSIDE or placement[item.producer] == ON_CPU:
            return False
        shapes = sum(
            alias.is_output or any(r in groups and placement[r] == ON_CPU for r in alias.readers)
            for alias in item.aliases
        )
        return shapes <= 1

    def evaluate(self, placement: Placement, order: Sequence[int] | None = None) -> Evaluation:
        """Everything about a placement."""
        tasks = tuple(self.tasks(placement))
        timeline = simulate(tasks, self.priorities(tasks, order), self.costs.cores)
        energy, cycles, reads, writes, launches = 0.0, 0, 0, 0, 0
        constants = 0
        for index, cost in enumerate(self.costs.groups):
            if placement[index] == ON_CPU:
                energy += cost.cpu_energy_pj
                results = sum(self.costs.tensors[t].float_bytes for t in self._writes(index))
                reads += max(0, cost.cpu_bytes - results)
                writes += min(cost.cpu_bytes, results)
                constants += cost.cpu_constant_bytes
                continue
            for program in self.programs(index, placement):
                energy += program.energy_pj
                cycles += program.cycles
                reads += program.read_bytes
                writes += program.write_bytes
                constants += program.constant_bytes
                launches += 1
        for task in tasks:
            if task.kind in (TaskKind.QUANTIZE, TaskKind.DEQUANTIZE):
                size = self.costs.tensors[task.subject]
                packed = self.packed_bytes(task.subject, placement)
                inward = task.kind is TaskKind.QUANTIZE
                energy += size.convert_energy_pj
                reads += size.float_bytes if inward else packed
                writes += packed if inward else size.float_bytes
        return Evaluation(
            placement,
            tasks,
            timeline,
            timeline.latency_ps,
            sum(task.run_ps + task.overhead_ps for task in tasks),
            energy,
            cycles,
            launches,
            reads,
            writes,
            constants,
            constants + peak_bytes(self, placement, tasks, timeline),
        )

    def _writes(self, group: int) -> tuple[int, ...]:
        return self.groups.groups[group].writes


class _Tasks:
    """Builds the tasks of a range of groups."""

    def __init__(
        self, evaluator: Evaluator, placement: Placement, first: int, stop: int | None
    ) -> None:
        self._owner, self._placement = evaluator, placement
        self._first = first
        self._stop = len(placement) if stop is None else stop
        self._tasks: list[Task] = []
        self._last: dict[int, int] = {}
        self._floats: dict[int, int] = {}
        self._integers: dict[int, int] = {}
        self._views: dict[str, int] = {}
        self._groups = range(self._first, self._stop)

    def build(self) -> list[Task]:
        owner = self._owner
        for group in range(self._first, self._stop):
            unit = self._placement[group]
            if unit == ON_CPU:
                self._operators(group)
            else:
                self._programs(group, unit)
        for group in range(self._first, self._stop):
            for tensor in owner._outputs[group]:
                self._hand_out(tensor, group)
        if self._first == 0:
            for tensor, item in enumerate(owner.groups.tensors):
                if item.producer == OUTSIDE and item.is_output:
                    self._hand_out(tensor, 0)
        return self._tasks

    def _hand_out(self, tensor: int, group: int) -> None:
        """A tensor to the caller of the model, in every shape that it wants."""
        self._float(tensor)
        for alias in self._owner.groups.tensors[tensor].aliases:
            if alias.is_output:
                self._viewed(tensor, alias.views, group)

    def _viewed(self, tensor: int, views: tuple[str, ...], group: int) -> int:
        """Task after which a tensor is there in float behind ``views``, which run for ``group``."""
        owner = self._owner
        after = self._float(tensor)
        if not views or owner.laid_out(tensor, self._placement, self._groups):
            return after
        for name in views:
            # Where only a part of the model is looked at, one before it may have run the view.
            if self._first and owner._first_user[name] < self._first:
                continue
            if name not in self._views:
                time = owner.costs.view_ps[name]
                place = owner.costs.view_places[name]
                self._operator(group, time, self._after((after,)), place)
                self._views[name] = len(self._tasks) - 1
            after = self._views[name]
        return after

    def _operators(self, group: int) -> None:
        for part in self._owner.costs.groups[group].cpu_parts:
            sources = [self._float(tensor) for tensor in part.reads]
            sources += [self._viewed(tensor, views, group) for tensor, views in part.views]
            sources.append(self._last.get(group, _AT_START))
            self._operator(group, part.run_ps, self._after(sources), part.place)
            self._last[group] = len(self._tasks) - 1

    def _operator(self, group: int, time: int, after: tuple[int, ...], place: int) -> None:
        task = Task(group, TaskKind.OPERATOR, Resource.CPU, time, 0, after, place=place)
        self._tasks.append(task)

    def _programs(self, group: int, unit: int) -> None:
        owner = self._owner
        order = owner.costs.groups[group].order
        inputs = [self._integer(tensor) for tensor in owner._reads[group]]
        core = ANY_CORE if unit == ON_NPU else unit - ON_CORE
        if unit in SLICED_WAYS:
            core = ALL_CORES
        written: dict[int, int] = {}
        for position, program in owner.launches(group, self._placement):
            waits = order[position]
            sources = [self._integer(tensor) for tensor in waits.tensors]
            sources += [written[earlier] for earlier in waits.programs if earlier in written]
            self._tasks.append(
                Task(
                    group,
                    TaskKind.PROGRAM,
                    Resource.NPU,
                    program.run_ps,
                    owner.costs.launch_ps * program.parts,
                    self._after(sources),
                    core,
                    program.read_ppm,
                    program.write_ppm,
                    waits.place,
                )
            )
            written[position] = len(self._tasks) - 1
        if owner._joins[group]:
            # What is read of it was written by its programs and by the groups before it.
            after = self._after((*inputs, *written.values()))
            self._tasks.append(Task(group, TaskKind.PLACE, Resource.NONE, 0, 0, after))
        self._last[group] = len(self._tasks) - 1

    @staticmethod
    def _after(sources: Iterable[int]) -> tuple[int, ...]:
        return tuple(sorted({source for source in sources if source != _AT_START}))

    def _float(self, tensor: int) -> int:
        """Task after which a tensor is there in float."""
        producer = self._owner._producer[tensor]
        if producer == OUTSIDE:
            return _AT_START
        if self._placement[producer] == ON_CPU:
            return self._last.get(producer, _AT_START)
        if tensor not in self._floats:
            self._floats[tensor] = self._conversion(
                tensor, TaskKind.DEQUANTIZE, self._owner._convert[tensor]
            )
        return self._floats[tensor]

    def _integer(self, tensor: int) -> int:
        """Task after which a tensor is there in int8."""
        owner = self._owner
        producer = owner._producer[tensor]
        if producer != OUTSIDE and self._placement[producer] != ON_CPU:
            return self._last.get(producer, _AT_START)
        if tensor not in self._integers:
            time = owner._convert[tensor]
            packed = owner.packed_bytes(tensor, self._placement)
            size = owner.costs.tensors[tensor]
            if packed != size.packed_bytes:
                time = owner.costs.convert_ps(size.float_bytes + packed)
            self._integers[tensor] = self._conversion(tensor, TaskKind.QUANTIZE, time)
        return self._integers[tensor]

    def _conversion(self, tensor: int, kind: TaskKind, time: int) -> int:
        source = self._last.get(self._owner._producer[tensor], _AT_START)
        after, place = self._after((source,)), self._owner.costs.places[tensor]
        self._tasks.append(Task(tensor, kind, Resource.CPU, time, 0, after, place=place))
        return len(self._tasks) - 1


def describe(evaluator: Evaluator, task: Task) -> str:
    """Name of a task for people."""
    groups = evaluator.groups
    if task.kind in (TaskKind.QUANTIZE, TaskKind.DEQUANTIZE):
        return f"{task.kind.name.lower()} {groups.tensors[task.subject].name}"
    group = groups.groups[task.subject]
    return f"{group.operator} {group.name}"
