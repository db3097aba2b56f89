"""Plans of least time within a room for noise, which shrinks until they are good enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from compiler_core.precision.judge import PlanJudge
from compiler_core.precision.proposals import FormatProposer, PrecisionPlan
from compiler_core.precision.verified import VerifiedPlan
from compiler_core.quantize.precisions import timed_as
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.sums import float_sum

_ROOMS = (0.6, 0.35, 0.2, 0.1, 0.05, 0.02, 0.005)
"""Noise that plans may have, as shares of what the optimum without a limit has."""
_DESTROYED = 0.05
"""Noise, as a share of the outputs' power, beyond which a plan is worth a try at last."""
_MOST_SCHEMES = 3
"""Ways to find scales by which a plan is judged: those that leave it the least noise. They are
others than with integers throughout where those destroy what they are judged by."""
_HALVINGS = 3
"""Of the gap between a share that is good enough and the next that is not."""


class NoiseRooms:
    """Looks for the most noise that an optimum may have.

    Args:
        judge: Of plans.
        proposer: Of optima.
        schemes: Ways to find scales.
        progress: Told what is being done.
    """

    def __init__(
        self,
        judge: PlanJudge,
        proposer: FormatProposer,
        schemes: Sequence[QuantizationScheme],
        progress: Callable[[str], None],
    ) -> None:
        self._judge, self._proposer = judge, proposer
        self._schemes, self._progress = schemes, progress

    def widest(
        self, schemes: Sequence[QuantizationScheme]
    ) -> tuple[float | None, VerifiedPlan | None]:
        """Noise by which the optimum is good enough, as sums of operators tell it, and that
        optimum; no noise to keep to where it is good enough with one of ``schemes``."""
        plan = self._proposer.best("optimum 1", None)
        if plan is None:
            return None, None
        found = self._judge.judged(plan, schemes)
        if found.good:
            return None, found
        whole = self._alone(plan)
        too_much = 1.0
        for share in _ROOMS:
            good = self._within(share, whole)
            if good is not None:
                return self._widened(good, share, too_much, whole)
            too_much = share
        return 0.0, None

    def offers(self) -> list[VerifiedPlan]:
        """Optima of the costs within ever less noise, each with the way to find scales that leaves
        it least; those that destroy the outputs come last, and nothing is judged."""
        plan = self._proposer.best("optimum 1", None)
        if plan is None:
            return []
        whole = self._alone(plan)
        found: list[VerifiedPlan] = []
        for share in (1.0, *_ROOMS):
            plan = self._proposer.best(f"at most {share:.3g} of the noise", share * whole)
            if plan is not None and formats(plan) not in (formats(f.plan) for f in found):
                found.append(self._judge.quietest(plan, self._schemes)[0])
        return sorted(found, key=lambda offer: offer.noise > _DESTROYED)

    def _alone(self, plan: PrecisionPlan) -> float:
        """Noise of a plan's operators, each alone."""
        known = self._proposer.damages
        return float_sum(known[name][timed_as(place)] for name, place in plan.places.items())

    def _within(self, share: float, whole: float) -> VerifiedPlan | None:
        """The optimum within a share of the noise; ``None`` where it loses too much."""
        self._progress(f"plans of at most {share:.3g} of the noise")
        plan = self._proposer.best("optimum 1", share * whole)
        if plan is None:
            return None
        best = self._judge.quietest(plan, self._schemes)[:_MOST_SCHEMES]
        is_good = self._judge.is_good
        return next(
            (f for f in best if not f.plan.places or is_good(f.plan.places, f.scheme)), None
        )

    def _widened(
        self, good: VerifiedPlan, share: float, too_much: float, whole: float
    ) -> tuple[float, VerifiedPlan]:
        """The most of the noise that is found between a share that is good enough and one that
        is not, and its optimum."""
        for _ in range(_HALVINGS):
            between = math.sqrt(share * too_much)
            wider = self._within(between, whole)
            if wider is None:
                too_much = between
            else:
                good, share = wider, between
        return share * whole, good


def formats(plan: PrecisionPlan) -> dict[str, str]:
    """Formats by operator: equal for plans that differ in how weights are rounded alone."""
    return {name: timed_as(place) for name, place in plan.places.items()}
