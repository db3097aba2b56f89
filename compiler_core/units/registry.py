"""Kinds of processing units by name: entry points of the group ``nest_tune.units``.

A distribution offers a kind as ``name = "module:attribute"``, where the attribute is a
:class:`~compiler_core.units.unit.UnitKind`; see :mod:`compiler_core.plugins.registry`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from compiler_core.errors import InternalError
from compiler_core.files.plain import from_plain
from compiler_core.plugins.registry import Registry, forget_parts, named
from compiler_core.units.unit import Machine, UnitKind

GROUP = "nest_tune.units"
"""Group of entry points."""

KINDS: Registry[UnitKind] = Registry(GROUP, "unit kind", named(UnitKind))


def unit_kind(name: str) -> UnitKind:
    """A kind by name; nothing of the others is imported.

    Raises:
        InputError: There is none of that name, several distributions offer it, or it cannot be
            loaded.
    """
    return KINDS.get(name)


def unit_kinds() -> tuple[str, ...]:
    """Names of all kinds, sorted; none is imported."""
    return KINDS.names()


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
    for kind in _bundled():
        if kind.unnamed_tasks:
            return kind
    raise InternalError("no unit kind is known whose tasks have ids without its name")


@lru_cache(maxsize=1)
def host_kind() -> UnitKind:
    """The one kind that every target has: it launches the others."""
    for kind in _bundled():
        if kind.is_host:
            return kind
    raise InternalError("no unit kind is known that launches others")


def _bundled() -> Iterator[UnitKind]:
    """The kinds that come with this distribution; of others nothing is imported."""
    for name in KINDS.names():
        if all(offer.is_bundled for offer in KINDS.offers(name)):
            yield KINDS.get(name)


def forget_kinds() -> None:
    """Forgets what was found: for tests and notebooks, after a distribution was installed."""
    forget_parts()
    unnamed_kind.cache_clear()
    host_kind.cache_clear()
