"""How operators are cut across the units of a kind, in configurations: the facet ``slicings``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from compiler_core.errors import InputError
from compiler_core.units.registry import kind_of_id


@runtime_checkable
class Slicings(Protocol):
    """Ways of cutting as plain values, and back."""

    def document(self, slicing: Any) -> dict[str, Any]:
        """A way of cutting as a table."""
        ...

    def read(self, value: Any, where: str) -> Any:
        """The inverse.

        Raises:
            InputError: It is none.
        """
        ...


def slicing_tables(slicings: Mapping[str, Any]) -> dict[str, Any]:
    """Tables by name, each of which begins like the id of a task."""
    found = {}
    for name, slicing in sorted(slicings.items()):
        found[name] = _slicings(name).document(slicing)
    return found


def read_slicings(value: Any, where: str) -> dict[str, Any]:
    """The inverse of :func:`slicing_tables`.

    Raises:
        InputError: The kind of an entry is not known or cuts nothing, or an entry is wrong.
    """
    if not isinstance(value, dict):
        raise InputError(f"{where}: slicing is no table")
    found = {}
    for name, table in value.items():
        place = f"{where}: slicing.{name}"
        try:
            known = _slicings(name)
        except InputError as error:
            raise InputError(f"{place}: {error}", hint=error.hint) from error
        found[name] = known.read(table, place)
    return found


def _slicings(name: str) -> Slicings:
    found: Slicings = kind_of_id(name).facet("slicings", Slicings)
    return found
