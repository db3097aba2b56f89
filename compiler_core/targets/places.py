"""The places of a target, where a plan can put a group of operators: a unit, a way of cutting over
its cores, and a number format. A placement is an index into them for each group.

The first is the CPU in float32; the last, beside a unit whose arithmetic is known, the CPU on that
unit's integers. Names are those of units with the way of cutting behind them, and
the number format where it is not the usual one: ``vta``, ``vta1``, ``vta-rows``, ``aim``,
``cpu:int8``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from compiler_core.errors import InputError
from compiler_core.units.names import CPU, CPU_INT8
from compiler_core.units.registry import kind_of_machine, unnamed_kind
from compiler_core.units.unit import Machine
from compiler_core.units.ways import ALL_CORES, FLOAT32, INT8, Way, ways_of

ON_HOST = -1
"""The CPU, as the unit of a place or of a job; the target's units have their index."""

ON_CPU = 0
"""Number of the place that every target has: float32 on the CPU."""

Placement = tuple[int, ...]
"""Number of a place for each group."""


@dataclass(frozen=True)
class Place:
    """Where a group can run.

    Attributes:
        name: In plans.
        unit: Index of the unit in its target, or :data:`ON_HOST`.
        way: How operators are cut over its cores.
        number: Number format in which it computes.
    """

    name: str
    unit: int
    way: Way
    number: str

    @property
    def is_cut(self) -> bool:
        """Whether operators are cut over all cores."""
        return self.way.core == ALL_CORES


class PlacedUnit(Protocol):
    """What places follow from."""

    @property
    def name(self) -> str: ...

    @property
    def machine(self) -> Machine: ...

    @property
    def cores(self) -> int: ...


@dataclass(frozen=True)
class Places:
    """All places of a target, by number."""

    all: tuple[Place, ...]

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, number: int) -> Place:
        return self.all[number]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """In their order."""
        return tuple(place.name for place in self.all)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Numbers by name."""
        return {name: number for number, name in enumerate(self.names)}

    @cached_property
    def units(self) -> tuple[int, ...]:
        """Units that have places, ascending, without the CPU."""
        return tuple(sorted({place.unit for place in self.all} - {ON_HOST}))

    def of_unit(self, unit: int) -> tuple[int, ...]:
        """Numbers of a unit's places."""
        return tuple(at for at, place in enumerate(self.all) if place.unit == unit)

    def whole(self, unit: int) -> int:
        """Number of the first place of a unit: whole operators in its usual number format."""
        return self.of_unit(unit)[0]

    @cached_property
    def uncut(self) -> tuple[int, ...]:
        """Numbers of the places of whole operators on any core, those of the CPU first."""
        found = [ON_CPU]
        for unit in (ON_HOST, *self.units):
            first = self.all[self.whole(unit)].way
            found += [at for at in self.of_unit(unit) if self.all[at].way == first]
        return tuple(dict.fromkeys(found))


def places_of(units: Sequence[PlacedUnit]) -> Places:
    """The places of the units of a target.

    Raises:
        InputError: Two places would have one name.
    """
    found = [Place(CPU, ON_HOST, Way(), FLOAT32)]
    for index, unit in enumerate(units):
        if unit.cores:
            found += _of_unit(index, unit)
    names = [place.name for place in found] + [CPU_INT8]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            f"units {', '.join(repr(unit.name) for unit in units)}: two places are called "
            f"{twice!r}: a unit's cores and ways of cutting have its name with something behind it",
            hint="give one of the units another name",
        )
    return Places((*found, *_host_integers(units)))


def _host_integers(units: Sequence[PlacedUnit]) -> Iterable[Place]:
    """The CPU on the integers of the unit for which models are quantized, where it is a single one
    of the usual kind."""
    told = [unit for unit in units if kind_of_machine(unit.machine).has("arithmetic")]
    own = [unit for unit in told if INT8 in ways_of(unit.machine).formats(unit.machine)]
    if len(own) == 1 and own[0].cores and own[0].machine.kind == unnamed_kind().name:
        yield Place(CPU_INT8, ON_HOST, Way(), INT8)


def _of_unit(index: int, unit: PlacedUnit) -> Iterable[Place]:
    ways = ways_of(unit.machine)
    for position, number in enumerate(ways.formats(unit.machine)):
        for way in ways.ways(unit.machine, unit.cores):
            name = f"{unit.name}{way.suffix}" + (f":{number}" if position else "")
            yield Place(name, index, way, number)
