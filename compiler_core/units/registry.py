"""Kinds of processing units by name: entry points of the group ``nest_tune.units``.

A distribution offers a kind as ``name = "module:attribute"``, where the attribute is a
:class:`~compiler_core.units.unit.UnitKind`; those that come with this distribution are offered the
same way. In a source tree that is not installed, or was installed before a kind was added, the
group is read from its ``pyproject.toml``.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from compiler_core.errors import InputError, InternalError
from compiler_core.files.nearest import did_you_mean
from compiler_core.files.plain import from_plain
from compiler_core.units.unit import Machine, UnitKind, loaded

GROUP = "nest_tune.units"
"""Group of entry points."""

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@lru_cache(maxsize=1)
def _offers() -> dict[str, dict[str, str]]:
    """``module:attribute`` by name of the kind, with the distribution that offers it."""
    offers: dict[str, dict[str, str]] = {}
    for point in entry_points(group=GROUP):
        home = point.dist.name if point.dist is not None else "an unknown distribution"
        offers.setdefault(point.name, {})[point.value] = home
    for name, value in _of_source_tree().items():
        offers.setdefault(name, {}).setdefault(value, f"{_PROJECT.parent.name} (source)")
    return offers


def _of_source_tree() -> dict[str, str]:
    if not _PROJECT.is_file():
        return {}
    project = tomllib.loads(_PROJECT.read_text()).get("project", {})
    found: dict[str, str] = project.get("entry-points", {}).get(GROUP, {})
    return found


@lru_cache(maxsize=64)
def unit_kind(name: str) -> UnitKind:
    """A kind by name; nothing of the others is imported.

    Raises:
        InputError: There is none of that name, several distributions offer it, or it cannot be
            loaded.
    """
    offers = _offers().get(name)
    if offers is None:
        raise InputError(
            f"unit kind {name!r} is not known; known are {', '.join(unit_kinds())}",
            hint=did_you_mean(name, unit_kinds()) or f"an entry point of group {GROUP} offers one",
        )
    if len(offers) > 1:
        homes = ", ".join(f"{value} of {home}" for value, home in sorted(offers.items()))
        raise InputError(f"unit kind {name!r} is offered more than once: {homes}")
    ((value, home),) = offers.items()
    found: Any = loaded(value, f"unit kind {name!r} of {home}")
    if not isinstance(found, UnitKind) or found.name != name:
        shown = f"kind {found.name!r}" if isinstance(found, UnitKind) else type(found).__name__
        raise InputError(f"unit kind {name!r} of {home}: {value} is {shown}; {name!r} is needed")
    return found


def unit_kinds() -> tuple[str, ...]:
    """Names of all kinds, sorted; none is imported."""
    return tuple(sorted(_offers()))


def kind_of_machine(machine: Machine) -> UnitKind:
    """The kind that a machine is of.

    Raises:
        InputError: See :func:`unit_kind`.
    """
    return unit_kind(machine.kind)


def read_machine(value: Any, where: str) -> Machine:
    """A machine from plain values; one that names no kind is of the kind that ids do not name.

    Raises:
        InputError: It is none, or of a kind that is not known.
    """
    named = isinstance(value, dict) and "kind" in value
    kind = unit_kind(from_plain(str, value["kind"], f"{where}.kind")) if named else unnamed_kind()
    machine: Machine = kind.documents.machine(value, where)
    return machine


def kind_of_id(text: str) -> UnitKind:
    """The kind that the id of a task, or the key of a record, is of.

    Raises:
        InputError: It names a kind that is not known.
    """
    name, underline, _ = text.partition("_")
    return unit_kind(name) if underline else unnamed_kind()


@lru_cache(maxsize=1)
def unnamed_kind() -> UnitKind:
    """The one kind that ids, and documents older than other kinds, do not name."""
    own = __name__.rpartition(".")[0]
    for name, offers in sorted(_offers().items()):
        if all(value.startswith(f"{own}.") for value in offers) and unit_kind(name).unnamed_tasks:
            return unit_kind(name)
    raise InternalError("no unit kind is known whose tasks have ids without its name")


def forget_kinds() -> None:
    """Forgets what was found: for tests and notebooks, after a distribution was installed."""
    _offers.cache_clear()
    unit_kind.cache_clear()
    unnamed_kind.cache_clear()
