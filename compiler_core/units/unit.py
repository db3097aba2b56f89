"""The seam of kinds of processing units: what a kind says of itself, in facets of at most four
methods.

A kind is one :class:`UnitKind`. It holds its facets by name, as objects or as ``module:attribute``,
which is imported when somebody asks. A facet is declared where it is used: what this package asks
for is here; :mod:`search_spaces.task_space` and :mod:`cost_models.task_features` declare theirs.

What a kind's readers give (workloads, schedules, machines) goes back to the same kind alone, so
that nobody else has to know more of them than :class:`TaskWorkload`, :class:`TaskSchedule` and
:class:`Machine` say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from compiler_core.errors import InputError
from compiler_core.plugins.registry import load
from compiler_core.units.violation import Violation

KIND_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
"""Names of kinds: an underline parts them from the rest of a task's id."""


class Machine(Protocol):
    """One unit of a kind in numbers, as a target file describes it.

    Attributes:
        kind: Name of the kind; no field of the value, or one with a default.
        clock_hz: Of its cycles.
    """

    @property
    def kind(self) -> str: ...

    @property
    def clock_hz(self) -> float: ...


class TaskWorkload(Protocol):
    """One operator with all shapes fixed: what cycles depend on, as a frozen value."""

    @property
    def operator(self) -> str:
        """The field's name for what it is, with underlines."""
        ...

    @property
    def digest(self) -> str:
        """16 hex digits: equal workloads have equal ones."""
        ...

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        ...

    @property
    def shape(self) -> str:
        """Extents in one line."""
        ...


class TaskSchedule(Protocol):
    """The decisions for one task, as a frozen value whose fields are plain."""

    @property
    def digest(self) -> str:
        """16 hex digits: equal schedules have equal ones."""
        ...


@dataclass(frozen=True)
class TaskBound:
    """What no schedule of a workload can beat.

    Attributes:
        cycles: The bound.
        limited_by: Which resource it comes from.
    """

    cycles: int
    limited_by: str


@dataclass(frozen=True)
class TaskCost:
    """What one run of a schedule costs.

    Attributes:
        cycles: From launch to end.
        energy_pj: Of the run; ``None`` where the machine has no table of energies.
        moved_bytes: Between the unit and the memory it works in, by what is moved.
        modules: Accounts of the parts of the unit: cycles by what they were spent on.
        read_cycles, write_cycles: How long either channel to that memory is taken; plans slow down
            by them what runs beside it, where the kind has no ``launches``.
    """

    cycles: int
    energy_pj: float | None
    moved_bytes: Mapping[str, int]
    modules: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    read_cycles: int = 0
    write_cycles: int = 0

    @property
    def dram_bytes(self) -> int:
        """All that is moved."""
        return sum(self.moved_bytes.values())


@runtime_checkable
class Tasks(Protocol):
    """What a schedule of a workload is, and what it costs."""

    def default(self, workload: Any, machine: Any) -> Any:
        """The untuned schedule.

        Raises:
            InfeasibleError: None fits.
        """
        ...

    def violations(self, workload: Any, schedule: Any, machine: Any) -> tuple[Violation, ...]:
        """Every rule that a schedule breaks; empty where it can be lowered.

        Raises:
            TypeError: The schedule is for another kind of workload.
        """
        ...

    def bound(self, workload: Any, machine: Any) -> TaskBound:
        """What no schedule can beat."""
        ...

    def measure(self, workload: Any, schedule: Any, machine: Any) -> TaskCost:
        """Lowers and times a schedule; the same arguments give the same cost.

        Raises:
            InfeasibleError: It does not fit.
        """
        ...


@runtime_checkable
class Documents(Protocol):
    """Readers of a kind's values as ``to_plain`` writes them; all of them come from outside."""

    def workload(self, value: Any, where: str, *, bounded: bool = False) -> Any:
        """A workload.

        Args:
            value: Plain.
            where: What errors call its place.
            bounded: Refuse also what a search could not go through in sensible time: of files that
                somebody else may have written.

        Raises:
            InputError: It is none.
        """
        ...

    def schedule(self, value: Any, where: str) -> Any:
        """A schedule.

        Raises:
            InputError: It is none.
        """
        ...

    def machine(self, value: Any, where: str) -> Any:
        """A machine.

        Raises:
            InputError: It is none.
        """
        ...

    def machine_digest(self, machine: Any) -> str:
        """Key of what cycles depend on, under which measurements are kept."""
        ...


@runtime_checkable
class Layers(Protocol):
    """How the integer operators of a model become layers of the unit, and how their data lies."""

    def layers(
        self, segment: Any, tensors: Mapping[str, Any], from_cpu: Collection[str], machine: Any
    ) -> Any:
        """The layers of a segment, an object whose ``layers`` have a ``task`` each.

        Args:
            segment: Integer operators in topological order.
            tensors: Every tensor of the quantized model.
            from_cpu: Tensors that the CPU quantizes from float, for this segment alone.
            machine: What runs them.
        """
        ...

    def layout_varies(self, workload: Any) -> bool:
        """Whether how the CPU lays out the input depends on the schedule."""
        ...

    def input_bytes(self, workload: Any, schedule: Any, machine: Any) -> int:
        """Bytes of the input as a schedule wants it laid out."""
        ...


@dataclass(frozen=True)
class UnitKind:
    """A kind of processing unit.

    Attributes:
        name: In target files, plans, reports and ids of tasks.
        lowering_version: Raised with every change that alters the cycles of a schedule; older
            measurements then no longer count.
        facets: By name: an object, or ``module:attribute``.
        unnamed_tasks: Ids of tasks do not name the kind; one kind can do so.
        is_host: It launches the others and runs what none of them can; one kind can do so.
        counted: What the cycles of its :class:`TaskCost` count, where they are no cycles.

    Raises:
        InputError: The name cannot be one.
    """

    name: str
    lowering_version: int = 1
    facets: Mapping[str, Any] = field(default_factory=dict)
    unnamed_tasks: bool = False
    is_host: bool = False
    counted: str = "cycles"
    _found: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not KIND_NAME.fullmatch(self.name):
            raise InputError(
                f"unit kind {self.name!r}: a name has small letters, digits and dashes, at most 32"
            )

    @property
    def task_prefix(self) -> str:
        """What ids of its tasks, and keys of their records, begin with."""
        return "" if self.unnamed_tasks else f"{self.name}_"

    @property
    def tasks(self) -> Tasks:
        """Schedules and what they cost."""
        found: Tasks = self.facet("tasks", Tasks)
        return found

    @property
    def documents(self) -> Documents:
        """Readers."""
        found: Documents = self.facet("documents", Documents)
        return found

    @property
    def layers(self) -> Layers:
        """How models become layers."""
        found: Layers = self.facet("layers", Layers)
        return found

    def has(self, facet: str) -> bool:
        """Whether the kind has a facet."""
        return facet in self.facets

    def facet(self, name: str, protocol: Any) -> Any:
        """A facet by name.

        Args:
            name: Of the facet.
            protocol: What it has to be.

        Raises:
            InputError: The kind has no such facet, it cannot be loaded, or it lacks a method.
        """
        if name in self._found:
            return self._found[name]
        if name not in self.facets:
            raise InputError(
                f"unit kind {self.name!r} has no {name}; it has "
                f"{', '.join(sorted(self.facets)) or 'nothing beside its name'}"
            )
        found = self.facets[name]
        where = f"unit kind {self.name!r}: {name}"
        if isinstance(found, str):
            found = load(found, where)
        lacking = [method for method in members_of(protocol) if not hasattr(found, method)]
        if lacking:
            raise InputError(f"{where}: {type(found).__name__} lacks {', '.join(lacking)}")
        self._found[name] = found
        return found


def members_of(protocol: Any) -> Iterable[str]:
    """Names of what a Protocol asks for, sorted."""
    own = {*vars(protocol), *getattr(protocol, "__annotations__", {})}
    return sorted(name for name in own if not name.startswith("_"))
