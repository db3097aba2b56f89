"""Moves of single operators of a plan to other number formats, confirmed by the clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler_core.precision.judge import PlanJudge
from compiler_core.precision.proposals import FormatProposer, PrecisionPlan
from compiler_core.precision.table import PrecisionTable
from compiler_core.precision.verified import PlanTimer, VerifiedPlan, fastest
from compiler_core.quantize.precisions import timed_as
from compiler_core.units.names import CPU

_MOVED = 16
"""Moves of single operators that are timed together."""
_ROUNDS = 3
_HOPE = 0.03
"""A move that should cost more than this share is not timed."""

Timed = Callable[[Sequence[VerifiedPlan]], list[VerifiedPlan]]
"""Plans with their times, by the clock."""


class OperatorMoves:
    """Improves the fastest of some plans.

    Args:
        judge: Of plans.
        table: What operators and pairs take.
        proposer: Names plans.
        plans: Times whole models.
        timed: Times plans together with float.
        progress: Told what is being done.
    """

    def __init__(
        self,
        judge: PlanJudge,
        table: PrecisionTable,
        proposer: FormatProposer,
        plans: PlanTimer,
        timed: Timed,
        progress: Callable[[str], None],
    ) -> None:
        self._judge, self._table, self._proposer = judge, table, proposer
        self._plans, self._timed, self._progress = plans, timed, progress

    def improved(self, timed: list[VerifiedPlan], usual: int) -> list[VerifiedPlan]:
        """Plans, among them the fastest improved by moves of single operators that the clock
        confirms; the first ``usual`` are timed with it."""
        best = fastest(timed)
        tried: set[tuple[tuple[str, str], ...]] = set()
        for number in range(_ROUNDS):
            moves = self._moves(best.plan, number, tried)
            own = (best.scheme,)
            good = [found for move in moves if (found := self._judge.judged(move, own)).good]
            if not good:
                break
            self._progress(f"single operators by the clock: {len(good)}")
            times = self._plans.ratios(self._judge.graphs([*good, best]), best.plan.name)
            better = [f for f in good if times[f.plan.name].ratio.high < 1.0]
            if not better:
                break
            better.sort(key=lambda f: times[f.plan.name].ratio.value)
            quickest = better[0]
            known = timed[:usual] if best in timed[:usual] else [*timed[:usual], best]
            together = self._together(best, better, number)
            again = self._timed([*known, quickest, *together])
            timed = [*again, *(f for f in timed[usual:] if f.plan.name != best.plan.name)]
            best = fastest(again)
        return timed

    def _together(
        self, base: VerifiedPlan, better: Sequence[VerifiedPlan], number: int
    ) -> list[VerifiedPlan]:
        """Moves that help alone, made together as long as that is good enough; nothing where it is
        one move alone."""
        joined, moves = better[0], 1
        for move in better[1:]:
            places = {**joined.plan.places, **_changed(move.plan, base.plan)}
            plan = self._proposer.given(f"moves together, {number + 1}", places)
            if (found := self._judge.judged(plan, (base.scheme,))).good:
                joined, moves = found, moves + 1
        return [joined] if moves > 1 else []

    def _moves(
        self, base: PrecisionPlan, number: int, tried: set[tuple[tuple[str, str], ...]]
    ) -> list[PrecisionPlan]:
        """Plans one operator away that should take about as long at most, the best first."""
        before = self._table.total_us(base.places)
        if before is None:
            return []
        found = []
        for name, options in self._table.kept.items():
            for place in options:
                if place == timed_as(base.places.get(name, CPU)):
                    continue
                places = {n: p for n, p in {**base.places, name: place}.items() if p != CPU}
                after = self._table.total_us(places)
                key = tuple(sorted(places.items()))
                if after is not None and after < before * (1 + _HOPE) and key not in tried:
                    found.append((after, key, f"{name} at {place}, {number + 1}"))
        found.sort()
        tried |= {key for _, key, _ in found[:_MOVED]}
        return [PrecisionPlan(name, dict(key), after) for after, key, name in found[:_MOVED]]


def _changed(plan: PrecisionPlan, base: PrecisionPlan) -> dict[str, str]:
    """Places of operators whose formats are others than in ``base``."""
    one, other = plan.places, base.places
    return {
        name: one.get(name, CPU)
        for name in dict.fromkeys([*one, *other])
        if timed_as(one.get(name, CPU)) != timed_as(other.get(name, CPU))
    }
