"""How layers become launches, in configurations: the table ``launches``.

    [launches]
    merge = true
    lowering = 2

    [launches.borders.conv2]
    ahead = 2
    early = 0
    micro_ops_early = 0

Where layers may be merged and no borders are given, the compile finds which layers follow one
another in one program, and how each begins; what it found stands in the complete configuration,
under the version of the lowering that it was found for. ``[launches.pinned.conv2]`` gives how one
layer begins, or with ``own = 1`` that it begins a program of its own, and leaves the others open.
A configuration that a compile has written
without this table was written before layers were merged, and has a launch for each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.files.plain import from_plain, to_plain

APART, MERGED = "apart", "merged"
LAUNCHES = (APART, MERGED)
"""Whether layers have a launch each, or one where they follow one another."""


BORDERS = "borders"
"""The part of a candidate that pins how layers begin."""

OWN: Mapping[str, int] = {"own": 1}
"""Of a layer that begins a program of its own."""


@dataclass(frozen=True)
class LaunchSettings:
    """How layers become launches.

    Attributes:
        merge: Whether layers that follow one another on a unit may be one program, launched once.
        lowering: Version of the kind of unit's lowering that the borders were found for; 0 where
            there are none.
        borders: How each layer that continues the one before begins, in numbers of the kind's own,
            by its name; every other one has a program of its own. ``None`` where that is open.
        pinned: What is given of them where the rest is open: how a layer begins if it continues the
            one before, or :data:`OWN`.
    """

    merge: bool = True
    lowering: int = 0
    borders: Mapping[str, Mapping[str, int]] | None = None
    pinned: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def require_known(self, names: Collection[str]) -> None:
        """Refuses pinned layers that no plan of a model has.

        Args:
            names: Of its nodes.

        Raises:
            InputError: There is one.
        """
        for name in self.pinned:
            if name not in names:
                raise InputError(
                    f"launches.pinned.{name}: the model has no such node",
                    hint=did_you_mean(name, list(names)),
                )

    def require_version(self, kind: str, lowering: int) -> None:
        """Refuses borders that were found for another lowering.

        Raises:
            InputError: They were.
        """
        if self.merge and self.borders is not None and self.lowering != lowering:
            raise InputError(
                f"[launches]: the borders between layers are for version {self.lowering} of the "
                f"lowering to {kind}; this one has version {lowering}",
                hint="remove lowering and [launches.borders] to have them found anew, or set "
                "merge = false for one program per operator",
            )


def launches_named(name: str, where: str) -> LaunchSettings:
    """Launches by one of :data:`LAUNCHES`.

    Raises:
        InputError: It is none.
    """
    if name not in LAUNCHES:
        raise InputError(
            f"{where}: {name!r}; allowed are {', '.join(LAUNCHES)}",
            hint=did_you_mean(name, LAUNCHES),
        )
    return LaunchSettings(merge=name == MERGED)


def launches_table(launches: LaunchSettings, *, is_compiled: bool) -> dict[str, Any]:
    """The table, empty where :func:`read_launches` takes none for the same.

    Args:
        launches: What it says.
        is_compiled: Whether it is that of a compile.
    """
    if launches == _without_table(is_compiled=is_compiled):
        return {}
    table: dict[str, Any] = {"merge": launches.merge}
    if launches.borders is not None:
        table["lowering"] = launches.lowering
        table["borders"] = to_plain(dict(sorted(launches.borders.items())))
    if launches.pinned:
        table["pinned"] = to_plain(dict(sorted(launches.pinned.items())))
    return table


def _without_table(*, is_compiled: bool) -> LaunchSettings:
    return LaunchSettings(merge=not is_compiled)


def read_launches(value: Any, where: str, *, is_compiled: bool) -> LaunchSettings:
    """The inverse of :func:`launches_table`.

    Args:
        value: The table, ``None`` where there is none.
        where: What errors call the configuration.
        is_compiled: Whether a compile has written it.

    Raises:
        InputError: A key is unknown, or a value is of the wrong type.
    """
    place = f"{where}: launches"
    if value is None:
        return _without_table(is_compiled=is_compiled)
    if isinstance(value, dict) and "borders" in value and "lowering" not in value:
        raise InputError(f"{place}: borders need the version of the lowering that they are for")
    if isinstance(value, dict) and "borders" in value and "pinned" in value:
        raise InputError(f"{place}: borders say it all; pinned is for where they are found")
    return from_plain(LaunchSettings, value, place)
