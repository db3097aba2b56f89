"""The point of a study's space that files and single decisions name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler_core.compile.sources import read_samples
from compiler_core.configuration.configuration import Configuration, read_configuration
from compiler_core.configuration.launches import MERGED
from compiler_core.errors import InputError
from compiler_core.partition.best import planned_assignment
from compiler_core.partition.plan import read_plan
from compiler_core.targets.source_kinds import candidates_for
from compiler_core.units.facets.candidates import DecidedCandidate
from nest_tune.bundling import configures_bundle
from nest_tune.stores.profile_store import stored_profile
from nest_tune.study.proposals.formats_part import FormatsPart
from nest_tune.study.proposals.narrowing import point_with
from nest_tune.study.proposals.outer_space import PlacementPart
from nest_tune.study.proposals.runtime_part import RuntimePart
from nest_tune.study.proposals.source_parts import FormPart, MemoryPart, PrecisionPart, RangingPart
from nest_tune.study.store.ground import Ground
from nest_tune.study.trial import Point
from search_spaces.joint import SpacePart
from search_spaces.quantization import QuantizationSpace


@dataclass(frozen=True)
class _Wish:
    """What files say.

    Attributes:
        lock: Of programs.
        plans: Places by node and the file that says so, each before the one it follows.
        sources: Of a configuration of generated sources.
    """

    lock: Configuration | None = None
    plans: tuple[tuple[str, Mapping[str, str]], ...] = ()
    sources: DecidedCandidate | None = None


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
        config: Lock file: its scheme, its plan and its options of the runtime; of generated
            sources the way of its ranges and its precisions.
        plan: File of a plan.
        decisions: Values by name, as they are shown.

    Raises:
        InputError: A file is wrong or for something else, or the study's space does not hold it.
    """
    space = ground.space
    wish = _wish(ground, config, plan)
    point: Point = ()
    for part, block in zip(space.parts, space.blocks, strict=True):
        point += _own(part, space.start[block], wish)
    return point_with(space, point, decisions or {})


def _wish(ground: Ground, config: Path | None, plan: Path | None) -> _Wish:
    if plan is not None and ground.are_sources:
        raise InputError(f"{plan}: the study's target takes generated sources, which have no plan")
    if config is not None and ground.are_sources:
        return _wish_of_sources(ground, config)
    lock, plans = None, []
    if config is not None:
        if configures_bundle(config) is not None:
            raise InputError(
                f"{config}: it is a configuration of generated sources; the study's target "
                f"{ground.target.name!r} takes programs",
                hint="the lock file of a target that takes programs",
            )
        lock = read_configuration(config)
        plans.append((str(config), lock.plan))
    if plan is not None:
        joins = ground.settings.launches == MERGED
        planned = planned_assignment(
            read_plan(plan), ground.model.graph, ground.target, joins_layers=joins
        )
        plans.append((str(plan), planned.units))
    return _Wish(lock, tuple(plans))


def _wish_of_sources(ground: Ground, config: Path) -> _Wish:
    if configures_bundle(config) is None:
        raise InputError(
            f"{config}: it is no configuration of generated sources, which the study's target "
            f"{ground.on.name!r} takes",
            hint="nest-tune study export writes one of a study of such a target",
        )
    assert ground.settings.calibration is not None  # sources need them
    graph = ground.model.graph
    profile = stored_profile(graph, read_samples(Path(ground.settings.calibration), graph))
    search = candidates_for(ground.settings.target)
    found = search.decided(config, graph, ground.model.digest, profile.ranges())
    if found.form and not any(isinstance(part, FormPart) for part in ground.space.parts):
        raise InputError(
            f"{config}: its form is {found.form!r}; this study, for which integers are good enough "
            "on the calibration data, decides none"
        )
    if found.memory and not any(isinstance(part, MemoryPart) for part in ground.space.parts):
        raise InputError(
            f"{config}: its operators run in stripes ({found.memory}); this study, whose RAM "
            "need not be small, decides none"
        )
    return _Wish(sources=found)


def _own(part: SpacePart, start: Point, wish: _Wish) -> Point:
    """The point of one part."""
    if isinstance(part, QuantizationSpace) and wish.lock is not None:
        return part.point(wish.lock.scheme.quantization())
    if isinstance(part, RuntimePart) and wish.lock is not None:
        return part.point(wish.lock.runtime)
    if isinstance(part, PlacementPart | FormatsPart):
        for where, units in wish.plans:
            start = _placed(part, start, units, where)
    if wish.sources is not None:
        match part:
            case RangingPart():
                return part.point(wish.sources.ranging)
            case FormPart():
                return part.point(wish.sources.form)
            case PrecisionPart():
                return part.point(wish.sources.precisions)
            case MemoryPart():
                return part.point(wish.sources.memory)
    return start


def _placed(
    part: PlacementPart | FormatsPart, own: Point, units: Mapping[str, str], where: str
) -> Point:
    """A placement with what ``units`` says of its nodes."""
    known = [parameter.name in units for parameter in part.parameters]
    if units and known and not any(known):
        raise InputError(
            f"{where}: its plan names no node of the study's model, but {next(iter(units))!r}",
            hint="a lock file or plan of the same model",
        )
    return part.placed(own, units)
