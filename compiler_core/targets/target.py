"""A target: a system on chip as frozen values, and where each of its numbers comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Annotated, Any

from compiler_core.errors import InputError
from compiler_core.files.plain import ONLY_WHERE_OTHER, PlainReader
from compiler_core.targets.places import Places, places_of
from compiler_core.units.names import CPU, is_on_cpu, unit_of
from compiler_core.units.registry import read_machine

UNIT_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
"""Names of units and memories."""

MAIN_MEMORY = "dram"
"""Memory in which the CPU, and every unit that does not say otherwise, works."""

MOST_CORES = 64


class OriginKind(Enum):
    """How far a number can be trusted."""

    MEASURED = "measured"
    PUBLISHED = "published"
    EXTRAPOLATED = "extrapolated"
    ASSUMED = "assumed"


@dataclass(frozen=True)
class Origin:
    """Where a number comes from: its kind, the source in words, and the target that states it."""

    kind: OriginKind
    source: str
    stated_by: str


@dataclass(frozen=True)
class Quantity:
    """One number of a target description.

    ``key`` is its dotted place in the file (``npu.timing.queue_depth``); a plain count has no unit.
    """

    key: str
    value: int | float
    unit: str
    origin: Origin


@dataclass(frozen=True)
class Cpu:
    """The host processor; all rates are those of the whole cluster."""

    name: str
    cores: int
    clock_hz: float
    float_macs_per_cycle: float
    int8_macs_per_cycle: float
    elements_per_cycle: float
    copy_bytes_per_cycle: float
    operator_overhead_s: float
    float_multiply_add_pj: float
    operation_overhead_pj: float


@dataclass(frozen=True)
class CpuRow:
    """One operator measured on a CPU; times in microseconds, ``low`` and ``high`` are quartiles."""

    operator: str
    signature: str
    count: int
    median_us: float
    low_us: float
    high_us: float
    repeats: int


@dataclass(frozen=True)
class CpuTable:
    """A table of measured operators.

    Attributes:
        name: For messages: the file's name.
        rows: By signature.
        digest: SHA-256 of what was read.
    """

    name: str
    rows: Mapping[str, CpuRow]
    digest: str


class Access(Enum):
    """How a unit uses the memory in which it works."""

    SHARED = "shared"
    """Beside others, which slow it down."""
    EXCLUSIVE = "exclusive"
    """Alone: it computes inside the memory, and while it runs nobody else reads or writes there."""


@dataclass(frozen=True)
class Memory:
    """A memory in which units work.

    Attributes:
        name: Of it.
        bytes_per_s: What each of its channels, for reading and for writing, moves; ``None`` where
            it is as fast as the ports of the units that work in it.
    """

    name: str
    bytes_per_s: float | None = None


@dataclass(frozen=True)
class Unit:
    """Cores of one kind that share a port to one memory.

    Attributes:
        name: In plans.
        machine: What each core is.
        cores: How many; 0 where the target has no such unit and the machine means nothing.
        memory: Name of the memory in which it works.
        access: How it uses that memory.
    """

    name: str
    machine: Annotated[Any, PlainReader(read_machine)]
    cores: int
    memory: str = MAIN_MEMORY
    access: Access = Access.SHARED

    @property
    def kind(self) -> str:
        """Name of its kind."""
        found: str = self.machine.kind
        return found


@dataclass(frozen=True)
class Target:
    """A system on chip: units, the memories in which they work, and the CPU that launches them.

    ``by_clock`` says that latencies are measured on the machine that compiles, or on the boards
    whose addresses ``board`` holds, and so are not deterministic. ``cpu_table`` holds measured
    times of operators, which count instead of the CPU's rates.

    ``digest`` is the SHA-256 of every resolved number and rule, and of the table, without name,
    description and origins: two targets with the same digest give the same cycles, times and
    energies.

    Raises:
        InputError: Units or memories have no names, share one, or do not fit together.
    """

    name: str
    description: str
    units: tuple[Unit, ...]
    memories: tuple[Memory, ...]
    cpu: Cpu
    launch_overhead_s: float
    digest: str
    cpu_memory: str = MAIN_MEMORY
    by_clock: bool = False
    board: str = field(default="", metadata={ONLY_WHERE_OTHER: True})
    cpu_table: CpuTable | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        memories = [memory.name for memory in self.memories]
        if not self.units:
            raise InputError("a target has at least one unit beside its CPU")
        require_names("units", [unit.name for unit in self.units])
        require_names("memories", memories)
        for name, memory in (
            *((unit.name, unit.memory) for unit in self.units),
            (CPU, self.cpu_memory),
        ):
            if memory not in memories:
                raise InputError(
                    f"unit {name!r} works in memory {memory!r}; memories are {', '.join(memories)}"
                )
        for unit in self.units:
            if not 0 <= unit.cores <= MOST_CORES:
                raise InputError(
                    f"unit {unit.name!r} has {unit.cores} cores; at most {MOST_CORES} are allowed"
                )
        if len(self.units) > 1:
            assert self.places  # refuses names that clash

    @cached_property
    def places(self) -> Places:
        """Where a plan can put a group of operators."""
        return places_of(self.units)

    @property
    def npu(self) -> Any:
        """The machine of the first unit: all there is where a target has one unit."""
        return self.units[0].machine

    @property
    def npu_cores(self) -> int:
        """Cores of the first unit; 0 where there is nothing but the CPU."""
        return self.units[0].cores

    def unit(self, name: str) -> Unit:
        """The unit of that name.

        Raises:
            InputError: There is none.
        """
        for unit in self.units:
            if unit.name == name:
                return unit
        raise InputError(
            f"target {self.name!r} has no unit {name!r}; it has "
            f"{', '.join(unit.name for unit in self.units)}"
        )

    def unit_at(self, place: str) -> Unit | None:
        """The unit of a place, by name; ``None`` for the CPU."""
        found = None if is_on_cpu(place) else unit_of(place, (unit.name for unit in self.units))
        return None if found is None else self.unit(found)


def require_names(what: str, names: list[str]) -> None:
    """Refuses names of units or memories that cannot be told apart.

    Raises:
        InputError: One cannot be a name, or is there twice.
    """
    for name in names:
        if not UNIT_NAME.fullmatch(name) or name == CPU:
            raise InputError(
                f"{what}: {name[:80]!r} cannot be a name: it has at most 32 small letters, digits "
                f"and dashes, begins with a letter and is not {CPU!r}"
            )
        if names.count(name) > 1:
            raise InputError(f"{what}: {name!r} is there twice")


@dataclass(frozen=True)
class TargetDescription:
    """A target together with the origin of each number.

    ``lineage`` names the descriptions it was resolved from, the most derived one first.
    """

    target: Target
    quantities: tuple[Quantity, ...]
    lineage: tuple[str, ...]
