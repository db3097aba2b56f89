"""Points that somebody asks a study to try: they come before all others.

They are kept one by one beside the results of workers, so that a running study finds them and a
resume finds them again; nothing that is there is ever changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compiler_core.configuration.configuration import read_configuration
from compiler_core.configuration.launches import MERGED
from compiler_core.errors import InputError
from compiler_core.partition.best import planned_assignment
from compiler_core.partition.plan import read_plan
from compiler_core.tensor.digest import digest
from nest_tune.study.proposals.narrowing import point_with
from nest_tune.study.proposals.outer_space import PlacementPart
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.stored_study import StoredStudy
from nest_tune.study.trial import Point
from search_spaces.quantization import QuantizationSpace

_AHEAD = 16
"""Places of a queue that are looked at together."""


def enqueue(storage: StudyStorage, study: StoredStudy, point: Point) -> int:
    """Has a study try a point next; its place among all that were asked for, from 0."""
    while True:
        place = len(enqueued(storage, study))
        storage.add_result(_key(study, place), list(point))
        if storage.results([_key(study, place)]).get(_key(study, place)) == list(point):
            return place  # else somebody else was faster


def enqueued(
    storage: StudyStorage, study: StoredStudy, known: tuple[Point, ...] = ()
) -> tuple[Point, ...]:
    """All points that were asked for, in their order.

    Args:
        storage: Where the study is.
        study: Which.
        known: The first of them, as found before.
    """
    found = list(known)
    while True:
        keys = [_key(study, place) for place in range(len(found), len(found) + _AHEAD)]
        stored = storage.results(keys)
        for key in keys:
            if key not in stored:
                return tuple(found)
            found.append(tuple(int(index) for index in stored[key]))


def wished_point(
    ground: Ground,
    *,
    config: Path | None = None,
    plan: Path | None = None,
    decisions: Mapping[str, Any] | None = None,
) -> Point:
    """The point that a lock file, a plan and single decisions name, each before the one it follows;
    what none of them says is as by default.

    Args:
        ground: What the study stands on.
        config: Lock file: its scheme and plan.
        plan: File of a plan.
        decisions: Values by name, as they are shown.

    Raises:
        InputError: A file is wrong or for something else, or the study's space does not hold it.
    """
    space = ground.space
    point = space.start
    lock = None if config is None else read_configuration(config)
    for part, block in zip(space.parts, space.blocks, strict=True):
        own = point[block]
        if isinstance(part, QuantizationSpace) and lock is not None:
            own = part.point(lock.scheme.quantization())
        if isinstance(part, PlacementPart):
            if lock is not None:
                own = _placed(part, own, lock.plan, str(config))
            if plan is not None:
                units = planned_assignment(
                    read_plan(plan),
                    ground.model.graph,
                    ground.target,
                    joins_layers=ground.settings.launches == MERGED,
                )
                own = _placed(part, own, units, str(plan))
        point = (*point[: block.start], *own, *point[block.stop :])
    return point_with(space, point, decisions or {})


def _placed(part: PlacementPart, own: Point, units: Mapping[str, str], where: str) -> Point:
    """A placement with what ``units`` says of its nodes."""
    known = [parameter.name in units for parameter in part.parameters]
    if units and known and not any(known):
        raise InputError(
            f"{where}: its plan names no node of the study's model, but {next(iter(units))!r}",
            hint="a lock file or plan of the same model",
        )
    return part.placed(own, units)


def _key(study: StoredStudy, place: int) -> str:
    return digest(("enqueued", study.mark, study.name, study.created_s, place), 32)
