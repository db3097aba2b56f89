"""Points that somebody asks a study to try: they come before all others.

They are kept one by one beside the results of workers, so that a running study finds them and a
resume finds them again; nothing that is there is ever changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compiler_core.configuration.configuration import read_configuration
from compiler_core.errors import InputError
from compiler_core.partition.best import planned_assignment
from compiler_core.partition.plan import read_plan
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.tensor.digest import digest
from nest_tune.study.proposals.narrowing import point_with
from nest_tune.study.proposals.outer_space import PlacementPart
from nest_tune.study.store.dependencies import Ground
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
    for part, block in zip(space.parts, space.blocks, strict=True):
        own = point[block]
        if isinstance(part, QuantizationSpace) and config is not None:
            scheme = read_configuration(config).scheme
            if not isinstance(scheme, QuantizationScheme):
                raise InputError(f"{config}: it holds no scheme that a study can try")
            own = part.point(scheme)
        if isinstance(part, PlacementPart):
            units: Mapping[str, str] = {}
            if config is not None:
                units = read_configuration(config).plan
            if plan is not None:
                units = planned_assignment(read_plan(plan), ground.model.graph, ground.target)
            own = tuple(
                parameter.index(units[parameter.name]) if parameter.name in units else index
                for parameter, index in zip(part.parameters, own, strict=True)
            )
        point = (*point[: block.start], *own, *point[block.stop :])
    return point_with(space, point, decisions or {})


def _key(study: StoredStudy, place: int) -> str:
    return digest(("enqueued", study.mark, study.name, study.created_s, place), 32)
