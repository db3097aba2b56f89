"""Plans of number formats that were run whole, and which of them is the fastest beyond noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from compiler_core.clock.statistics import Interval, ratio_interval
from compiler_core.clock.together import Together
from compiler_core.graph.ir import Graph
from compiler_core.precision.proposals import PrecisionPlan
from compiler_core.quantize.scheme import QuantizationScheme

_EQUAL = 1.005
"""Plans that are slower by more than this are not equal, however little the clock says."""


@dataclass(frozen=True)
class PlanTime:
    """What a whole model took among others.

    Attributes:
        latency_us: Median and interval.
        ratio: To the model that all were compared with.
        samples_us: One per round, in the order of rounds.
    """

    latency_us: Interval
    ratio: Interval
    samples_us: tuple[float, ...] = ()

    def to(self, other: PlanTime) -> Interval:
        """Ratio to another that was timed in the same rounds."""
        if len(self.samples_us) == len(other.samples_us) > 0:
            return ratio_interval(self.samples_us, other.samples_us)
        return quotient(self.ratio, other.ratio)


def quotient(one: Interval, other: Interval) -> Interval:
    """The ratio of two medians that were not found in the same rounds."""
    ends = one.low / other.high, one.high / other.low
    return Interval(one.value / other.value, *ends, one.samples, one.level)


def plan_times(together: Together, to: str) -> dict[str, PlanTime]:
    """Times of models that were timed together, by name, and their ratios to one of them."""
    return {
        name: PlanTime(together.latency_us(name), together.ratio(name, to), samples)
        for name, samples in together.samples_us.items()
    }


class PlanTimer(Protocol):
    """Times whole models together."""

    def ratios(
        self, graphs: Mapping[str, Graph], to: str, *, rounds: int = 0
    ) -> Mapping[str, PlanTime]:
        """Times of each, and how they compare with one of them.

        Args:
            graphs: By name.
            to: The one.
            rounds: That are made if time allows; as many as the timer likes if 0.
        """
        ...


@dataclass(frozen=True)
class VerifiedPlan:
    """A plan that was run whole.

    Attributes:
        plan: The plan.
        scheme: How its scales are found.
        noise: Of the outputs, as a share of their power.
        good: Whether it loses little enough.
        time: By the clock; ``None`` where it was not timed.
    """

    plan: PrecisionPlan
    scheme: QuantizationScheme
    noise: float
    good: bool
    time: PlanTime | None = None

    @property
    def timed(self) -> PlanTime:
        """By the clock, of a plan that was timed."""
        assert self.time is not None
        return self.time


def contenders(timed: Sequence[VerifiedPlan], most: float) -> list[VerifiedPlan]:
    """Good plans within a factor of the fastest, that one first."""
    good = [found for found in timed if found.good and found.time is not None]
    first = min(good, key=lambda found: found.timed.ratio.value)
    return [first, *(f for f in good if f != first and f.timed.to(first.timed).value <= most)]


def fastest(timed: Sequence[VerifiedPlan]) -> VerifiedPlan:
    """The good plan that takes least; of those that the clock does not tell from it, the one with
    least noise."""
    near = contenders(timed, _EQUAL)
    equal = [found for found in near if found.timed.to(near[0].timed).low <= 1.0]
    return min(equal, key=lambda found: found.noise)
