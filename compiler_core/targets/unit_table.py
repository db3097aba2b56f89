"""The table of a unit in a target file: the facet ``table``, which kinds have whose units a target
file can describe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from compiler_core.errors import InputError
from compiler_core.targets.schema import UnitSection
from compiler_core.units.registry import unit_kind, unit_kinds


@dataclass(frozen=True)
class Figure:
    """One of the numbers or rules that matter most of a machine.

    Attributes:
        key, value: In documents; the key carries the unit.
        title, text: For people.
    """

    key: str
    value: int | float | str
    title: str
    text: str


@runtime_checkable
class UnitTable(Protocol):
    """What a kind's table holds.

    Attributes:
        section: Its keys and their bounds, a subclass of
            :class:`~compiler_core.targets.schema.UnitSection`.
    """

    @property
    def section(self) -> type[UnitSection]: ...

    def machine(self, section: Any) -> Any:
        """The machine that a section describes."""
        ...

    def figures(self, machine: Any) -> tuple[Figure, ...]:
        """What matters most of a machine beside its clock."""
        ...


def unit_table(kind: str) -> UnitTable:
    """The table of a kind.

    Raises:
        InputError: No such kind is known, or no target file can describe its units.
    """
    found: UnitTable = unit_kind(kind).facet("table", UnitTable)
    return found


def kinds_with_table() -> tuple[str, ...]:
    """Names of the kinds whose units a target file can describe; broken plug-ins are left out."""
    found = []
    for name in unit_kinds():
        try:
            if unit_kind(name).has("table"):
                found.append(name)
        except InputError:
            continue
    return tuple(found)
