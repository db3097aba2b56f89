"""Staged+ search where units can share operators: the precision of whole layers first, then cuts.

- The first stage searches schemes and whole placements with half of the trials, and takes the
  fastest within the limit.
- The second keeps the scheme and where every layer runs, but cuts those on the unit of fewest
  levels over both units, in any way that joint search has.

It is given the same cost tables, guesses and sampler as joint search, and its first stage knows the
limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from compiler_core.quantize.unit_arithmetics import unit_arithmetics
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.units.names import shares_of
from nest_tune.study.proposals.narrowing import choices_of
from nest_tune.study.request.settings import StudySettings
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import OuterTrial, Point

Run = Callable[[StudySettings], StudyResult]
Best = Callable[[tuple[OuterTrial, ...]], OuterTrial | None]
_PLACED = "partition."


def staged_plus(
    base: StudySettings, ground: Ground, run: Run, best_of: Best
) -> tuple[tuple[OuterTrial, ...], OuterTrial | None]:
    """All trials of both stages, and the best of the second.

    Args:
        base: What joint search is run with.
        ground: What it stands on.
        run: Runs a study.
        best_of: The trial that a stage hands on.
    """
    half = base.trials // 2
    first = run(replace(base, name="first", values=whole_only(ground), trials=half))
    chosen = best_of(first.trials) or first.trials[0]
    rest = base.trials - half + 1  # its first trial repeats what the first stage has measured
    second = run(replace(base, name="second", values=cuts_of(ground, chosen.point), trials=rest))
    return (*first.trials, *second.trials), best_of(second.trials)


def whole_only(ground: Ground) -> dict[str, tuple[str, ...]]:
    """Every operator whole on one unit."""
    return {
        name: tuple(value for value in values if not is_way(value))
        for name, values in choices_of(ground.space).items()
        if any(is_way(value) for value in values)
    }


def cuts_of(ground: Ground, point: Point) -> dict[str, tuple[str, ...]]:
    """A point, but with layers of fewest levels cut in any way."""
    units = dict(unit_arithmetics(target_arithmetic(ground.target)).units)
    least = min(units, key=lambda name: units[name].traits.weight_levels)
    found = {}
    for (name, values), index in zip(choices_of(ground.space).items(), point, strict=True):
        here = values[index]
        ways = tuple(value for value in values if is_way(value)) if here == least else ()
        found[name] = (here, *ways)
    return found


def is_way(value: str) -> bool:
    """Whether a value of a decision says how units share an operator."""
    return bool(shares_of(value.partition(" ")[0]))
