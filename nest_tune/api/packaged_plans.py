"""Plans as a compile takes them: where it places what they leave open, and what its package takes
with the model's numbers under the plan, where there are samples to find these by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from compiler_core.compile.sources import FloatModel, assignment_of
from compiler_core.configuration.configuration import Configuration
from compiler_core.graph.ir import Graph
from compiler_core.partition.best import BestPlan, complete, untuned
from compiler_core.partition.configured import with_plan
from compiler_core.partition.evaluate import Evaluation, Evaluator
from compiler_core.partition.legal import misfits
from compiler_core.partition.plan import Plan
from compiler_core.partition.resolve import resolve_plan
from compiler_core.partition.shared_operators import SharedPlan, without_shares
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.places import ON_CPU, Placement
from compiler_core.targets.target import Target
from nest_tune.api.plan_numbers import PlanNumbers
from nest_tune.api.values import Progress


@dataclass(frozen=True, eq=False)
class PackagedPlan:
    """A plan as a compile takes it.

    Attributes:
        planned: What the compile goes by.
        is_pinned: Whether somebody decided the plan: then no layer leaves its unit for accuracy.
        shared: The plan without operators that several units share.
        evaluator: Costs of its graph.
        placement: Of the groups.
        order: Groups of highest priority first, where the plan says that.
        left_on_cpu: Why groups are on the CPU that the plan wants elsewhere.
    """

    planned: Configuration
    is_pinned: bool
    shared: SharedPlan
    evaluator: Evaluator
    placement: Placement
    order: tuple[int, ...] | None
    left_on_cpu: Mapping[int, str]

    def evaluation(self, numbers: PlanNumbers | None) -> Evaluation:
        """What its package takes.

        Args:
            numbers: Of the model; ``None`` for a stand-in's.

        Raises:
            InputError: The plan or the samples do not fit the model.
        """
        if numbers is None:
            return self.evaluator.evaluate(self.placement, self.order)
        quantized = numbers.of_plan(self.planned, is_pinned=self.is_pinned)
        whole, groups = self.shared.parts, self.evaluator.groups
        placement = tuple(
            ON_CPU
            if all(
                whole.get(node.name, node.name) in quantized.cpu_reasons
                for node in groups.computing(group)
            )
            else place
            for group, place in enumerate(self.placement)
        )
        linked = numbers.linked(quantized)
        found = self.evaluator.evaluate(placement, self.order, linked.shares)
        more_ps = linked.latency_ps - found.latency_ps
        return replace(
            found,
            latency_ps=linked.latency_ps,
            sequential_ps=found.sequential_ps + max(0, more_ps),
            energy_pj=linked.energy_pj,
        )


def packaged_plan(
    plan: Plan | None,
    given: Configuration,
    model: FloatModel,
    target: Target,
    evaluator_of: Callable[[Graph], Evaluator],
    progress: Progress,
) -> PackagedPlan:
    """A plan as a compile takes it.

    Args:
        plan: In the place of the configuration's own.
        given: Schedules, slices, launches, and a plan where it has one.
        model: What is planned.
        target: The machine.
        evaluator_of: Costs of the model, or of the same with operators that are cut.
        progress: Told what is being done.

    Raises:
        InputError: The plan does not fit the model or the target.
    """
    known = target_arithmetic(target)
    planned = with_plan(given, model, target, plan, progress)
    is_pinned = plan is not None or bool(given.plan)
    if planned.plan:
        units = assignment_of(model, planned, known)
        shared = without_shares(Plan(units, order=planned.order), model.graph, known)
        evaluator = evaluator_of(shared.graph)
        resolved = resolve_plan(shared.plan, evaluator.groups, target.places)
        placement, order = complete(evaluator, resolved), resolved.order
    else:
        shared, evaluator = SharedPlan(Plan(), model.graph, {}, {}), evaluator_of(model.graph)
        placement, order = untuned(evaluator), None
    left: dict[int, str] = {}
    while fresh := {g: why for g, why in misfits(evaluator, placement).items() if g not in left}:
        left |= fresh
        placement = tuple(ON_CPU if g in left else at for g, at in enumerate(placement))
    return PackagedPlan(planned, is_pinned, shared, evaluator, placement, order, left)


def packaged_best(found: BestPlan, packaged: Callable[[Placement], Evaluation]) -> BestPlan:
    """The best plan by what packages take: the optimum, or a baseline that seems faster than what
    the optimum's package takes and is.

    Args:
        found: By numbers that all plans share.
        packaged: What the package of a placement takes.
    """
    best, others = packaged(found.optimum.placement), dict(found.baselines)
    for name, item in sorted(others.items(), key=lambda other: other[1].latency_ps):
        if item.latency_ps < best.latency_ps:
            others[name] = packaged(item.placement)
            best = min(best, others[name], key=lambda made: made.latency_ps)
    time = best.latency_ps
    bound = min(found.optimum.bound_ps, time)
    optimum = replace(found.optimum, placement=best.placement, latency_ps=time, bound_ps=bound)
    return replace(
        found,
        optimum=optimum,
        evaluation=best,
        baselines=others,
        bound_ps=min(found.bound_ps, time),
    )
