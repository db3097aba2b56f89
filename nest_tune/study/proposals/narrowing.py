"""Decisions that a study pins or narrows, by their names and values as they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.files.plain import to_plain
from nest_tune.study.domain import Domain
from nest_tune.study.trial import Point
from search_spaces.joint import JointSpace


def narrowed(space: JointSpace, values: Mapping[str, Sequence[Any]]) -> JointSpace:
    """A space of which the search takes only some values; its tables and its digest stay.

    Args:
        space: The whole one.
        values: What decisions may take, by name; of others all.

    Raises:
        InputError: A decision or value does not exist, or nothing legal is left.
    """
    if not values:
        return space
    found = JointSpace(space.parts, admitted_indices(space, values))
    found.require_start()
    return found


def admitted_indices(
    space: JointSpace, values: Mapping[str, Sequence[Any]], told: str = "spaces.values: "
) -> dict[str, tuple[int, ...]]:
    """What narrowed decisions may take, as indices into their tables.

    Args:
        space: The whole one.
        values: What they may take, by name.
        told: Before what is wrong.

    Raises:
        InputError: There is no such decision or value.
    """
    known = choices_of(space)
    found = {}
    for name, wanted in values.items():
        where = f"{told}{name!r}"
        shown = known.get(name)
        if shown is None:
            raise InputError(
                f"{where} is no decision of this study", hint=did_you_mean(name, list(known))
            )
        missing = [as_shown(value) for value in wanted if as_shown(value) not in shown]
        if missing or not wanted:
            raise InputError(
                f"{where}: {', '.join(missing) or 'nothing'}; allowed are {', '.join(shown)}"
            )
        found[name] = tuple(shown.index(as_shown(value)) for value in wanted)
    return found


def not_admitted(space: JointSpace, point: Point) -> list[str]:
    """Decisions of a point that the search may not take, in words; empty where it may take all."""
    rows = zip(space.parameters, space.admitted, point, strict=True)
    if all(index in admitted for _, admitted, index in rows):
        return []
    known = choices_of(space).items()
    return [
        f"{name} is {shown[index]}, not {' or '.join(shown[at] for at in admitted)}"
        for (name, shown), admitted, index in zip(known, space.admitted, point, strict=True)
        if index not in admitted
    ]


def point_with(space: JointSpace, start: Point, decisions: Mapping[str, Any]) -> Point:
    """A point with some decisions changed, by name.

    Raises:
        InputError: There is no such decision or value, or the point is not legal.
    """
    wanted = {name: (value,) for name, value in decisions.items()}
    indices = admitted_indices(space, wanted, "")
    names = list(choices_of(space))
    point = tuple(
        indices[name][0] if name in indices else index
        for name, index in zip(names, start, strict=True)
    )
    if outside := not_admitted(space, point):
        raise InputError(
            f"not admitted: {', '.join(outside)}", hint="what the study's [spaces.values] admit"
        )
    if not space.is_legal(point):
        told = ", ".join(f"{name}={as_shown(value)}" for name, value in decisions.items())
        raise InputError(f"{told or 'the configuration'}: these decisions do not go together")
    return point


def choices_of(space: JointSpace) -> dict[str, list[str]]:
    """Values of every decision as they are shown, by name."""
    domain = Domain([(p.name, to_plain(p.values)) for p in space.parameters])
    return {
        name: list(map(as_shown, choices))
        for name, choices in zip(domain.names, domain.choices, strict=True)
    }


def as_shown(value: Any) -> str:
    """A value as a file or a command line has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
