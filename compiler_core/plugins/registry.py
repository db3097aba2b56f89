"""Registries: the parts of one seam by name, from entry points of installed distributions.

A distribution offers a part as ``name = "module:attribute"`` in an entry-point group; those that
come with this distribution are offered the same way. In a source tree that is not installed, or was
installed before a part was added, the group is read from its ``pyproject.toml``. Nothing is
imported before a part is asked for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from compiler_core.errors import InputError, MissingDependencyError
from compiler_core.files.exhausted import lack_of
from compiler_core.files.nearest import did_you_mean, named_in_module

Part = TypeVar("Part")

_OWN = "nest-tune"
_PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@dataclass(frozen=True)
class Offer:
    """Where a part comes from.

    Attributes:
        value: ``module:attribute``.
        home: The distribution that offers it; the folder of a source tree.
        version: Of the distribution; empty for a source tree.
        is_bundled: Whether it comes with this distribution.
    """

    value: str
    home: str
    version: str
    is_bundled: bool


class Registry(Generic[Part]):
    """The parts of one seam.

    Args:
        group: Of entry points.
        what: What a part is called in messages.
        check: Says what is wrong with a part that was loaded under a name; empty for nothing.
    """

    def __init__(self, group: str, what: str, check: Callable[[str, Any], str]) -> None:
        self.group, self.what = group, what
        self._check = check
        self._found: dict[str, Part] = {}
        _REGISTRIES.append(self)

    def names(self) -> tuple[str, ...]:
        """Names of all parts, sorted; none is imported."""
        return tuple(sorted(offers(self.group)))

    def require(self, name: str, where: str = "") -> str:
        """Refuses a name that nothing offers.

        Args:
            name: Of a part.
            where: What asks for it, as the beginning of the message.

        Raises:
            InputError: Names what is registered, and the nearest of it.
        """
        if name not in offers(self.group):
            known = self.names()
            raise InputError(
                f"{where and f'{where}: '}{self.what} {name!r} is not known; known are "
                f"{', '.join(known) or 'none'}",
                hint=did_you_mean(name, known) or f"an entry point of group {self.group} adds one",
            )
        return name

    def offer(self, name: str) -> Offer:
        """Where a part comes from; it is not imported.

        Raises:
            InputError: There is none of that name, or several distributions offer it.
        """
        self.require(name)
        found = offers(self.group)[name]
        if len(found) > 1:
            homes = ", ".join(f"{offer.value} of {offer.home}" for offer in found)
            raise InputError(f"{self.what} {name!r} is offered more than once: {homes}")
        return found[0]

    def offers(self, name: str) -> tuple[Offer, ...]:
        """Everything that is offered under a name; usually one."""
        return offers(self.group).get(name, ())

    def get(self, name: str) -> Part:
        """A part by name; nothing of the others is imported.

        Raises:
            InputError: There is none of that name, several distributions offer it, or it cannot be
                loaded.
        """
        if name not in self._found:
            offer = self.offer(name)
            where = f"{self.what} {name!r} of {offer.home}"
            found = load(offer.value, where)
            if wrong := self._check(name, found):
                raise InputError(f"{where}: {offer.value} is {wrong}; {name!r} is needed")
            self._found[name] = found
        return self._found[name]

    def find(self, name: str) -> Part | None:
        """A part by name; ``None`` where nothing offers it."""
        return self.get(name) if name in offers(self.group) else None


_REGISTRIES: list[Registry[Any]] = []


def forget_parts() -> None:
    """Forgets what was found: for tests and notebooks, after a distribution was installed."""
    offers.cache_clear()
    for registry in _REGISTRIES:
        registry._found.clear()


def named(kind: type) -> Callable[[str, Any], str]:
    """A check for registries: a part is of this class, and its ``name`` that of its entry point."""

    def check(name: str, found: Any) -> str:
        if not isinstance(found, kind):
            return type(found).__name__
        own: Any = found
        return "" if own.name == name else f"kind {own.name!r}"

    return check


@lru_cache(maxsize=32)
def offers(group: str) -> dict[str, tuple[Offer, ...]]:
    """What is offered in a group of entry points, by name; different values for one name are kept
    apart. A source tree's own say is the newer one where it was installed from itself."""
    own = _of_source_tree(group)
    found: dict[str, dict[str, Offer]] = {}
    for point in entry_points(group=group):
        home = point.dist.name if point.dist is not None else "an unknown distribution"
        version = "" if point.dist is None else point.dist.version
        if home != _OWN or point.name not in own:
            offer = Offer(point.value, home, version, home == _OWN)
            found.setdefault(point.name, {}).setdefault(point.value, offer)
    for name, value in own.items():
        offer = Offer(value, f"{_PROJECT.parent.name} (source)", "", True)
        found.setdefault(name, {}).setdefault(value, offer)
    return {name: tuple(sorted(by.values(), key=lambda o: o.value)) for name, by in found.items()}


def _of_source_tree(group: str) -> dict[str, str]:
    if not _PROJECT.is_file():
        return {}
    project = tomllib.loads(_PROJECT.read_text()).get("project", {})
    found: dict[str, str] = project.get("entry-points", {}).get(group, {})
    return found


def load(reference: str, where: str) -> Any:
    """The object that ``module:attribute`` names.

    Raises:
        InputError: It cannot be loaded.
        MissingDependencyError: A library that it needs cannot be.
        ResourceError: The machine lacks what it needs.
    """
    module, _, attribute = reference.partition(":")
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # whatever a plug-in's import does, it is named
        if (lack := lack_of(error)) is not None:
            raise lack from error
        if isinstance(error, OSError):  # a library in machine code that the system does not map
            raise MissingDependencyError(
                f"{where}: {reference} needs a library that cannot be loaded: {error}",
                hint="nest-tune doctor; memory may be short for it, see ulimit -v",
            ) from error
        raise InputError(
            f"{where}: {reference} cannot be loaded: {type(error).__name__}: {error}",
            hint=named_in_module(reference),
        ) from error
    return found
