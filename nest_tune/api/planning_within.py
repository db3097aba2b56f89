"""Plans on units that hold weights with different precision, within a limit on damage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Unpack

from compiler_core.errors import InputError
from compiler_core.partition.plan import Plan
from compiler_core.partition.shared_operators import without_shares
from compiler_core.quantize.unit_arithmetics import unit_arithmetics
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.target import Target
from nest_tune.api.asked import PlanSettings
from nest_tune.api.plan_problem import PlanProblem
from nest_tune.api.planned_models import PlannedModel
from nest_tune.api.settings import takes_settings
from nest_tune.api.values import Model, Progress
from search_spaces.partition import PartitionSpace
from search_spaces.shared import shared_ways
from search_spaces.shared_placements import SharedPlacements

_TIMED = 4
"""Plans that are timed whole, the fastest by the cost tables."""


@dataclass(frozen=True, eq=False)
class LimitedPlanned(PlannedModel):
    """The fastest plan that was found within a limit on what it does to weights.

    Attributes:
        damage: Squared error of weights, as a share of what is done where every layer has its
            weights on a unit of fewest bits.
        most_damage: The limit.
        offers: Plans within the limit; the fastest of them by the cost tables were timed.
    """

    damage: float
    most_damage: float
    offers: int


def plan_within(problem: PlanProblem, most_damage: float) -> LimitedPlanned:
    """The fastest plan that was found within a limit; see :func:`best_plan_within`."""
    if not 0 <= most_damage <= 1:
        raise InputError(f"a limit on damage of {most_damage:g}; it is a share, 0 to 1", hint="0.1")
    graph, chip, joins = problem.graph, problem.chip, problem.joins_layers
    problem.require_npu()
    known = unit_arithmetics(target_arithmetic(chip)).units
    if len({own.traits.weight_levels for _, own in known}) < 2:
        raise InputError(
            f"a limit on damage: all units of target {chip.name!r} hold weights with as many bits, "
            "so that plans do not differ in it",
            hint="plan best without a limit finds the optimum",
        )
    evaluator = problem.evaluator_of(graph)
    ways = shared_ways(graph, chip, evaluator, joins_layers=joins)
    space = SharedPlacements(PartitionSpace(evaluator), ways, joins_layers=joins)
    offers, timed = space.within_damage(most_damage), []
    for point, damage in offers[:_TIMED]:
        plan = Plan(space.assignment(point), model=problem.model, target=problem.target)
        given = without_shares(plan, graph, target_arithmetic(chip))
        own = problem.evaluator_of(given.graph)
        packaged = problem.packaged(plan, own)
        timed.append(
            LimitedPlanned(
                problem.model,
                problem.target,
                own,
                problem.evaluated(packaged),
                problem.is_exact,
                given,
                damage,
                most_damage,
                len(offers),
            )
        )
    return min(timed, key=lambda item: (item.latency_ms, item.damage))


@takes_settings(PlanSettings)
def best_plan_within(
    model: Model,
    target: str | Target,
    most_damage: float,
    *,
    progress: Progress = lambda _: None,
    **asked: Unpack[PlanSettings],
) -> LimitedPlanned:
    """Finds a fast plan on units that hold weights with different precision, layers cut by output
    channels over them among its ways, within a limit on what fewer bits do to weights.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        target: Name, path of a ``.toml`` file, or a loaded target.
        most_damage: Squared error of weights, as a share of what is done where every layer has its
            weights on a unit of fewest bits: 0 to 1.
        progress: Told what is being done.
        asked: As for :func:`~nest_tune.api.planning.show_plan`:

    Raises:
        InputError: As :func:`~nest_tune.api.planning.show_plan`, or the limit is no share, or the
            target's units do not differ in precision.
    """
    return plan_within(PlanProblem(model, target, progress=progress, **asked), most_damage)
