"""What plans of number formats lose: their noise, and whether that keeps the limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from compiler_core.graph.ir import Graph
from compiler_core.precision.damage import DamageMeter
from compiler_core.precision.proposals import PrecisionPlan
from compiler_core.precision.verified import VerifiedPlan
from compiler_core.quantize.precisions import Rounding, with_narrow_weights, with_rounding
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.quantize.statistics import TensorRange

Places = Mapping[str, str]

IsGood = Callable[[Places, QuantizationScheme], bool]
"""Whether a plan loses little enough."""


class PlanJudge:
    """Judges plans of one model.

    Args:
        graph: The float graph, simplified.
        ranges: Statistics of its activations.
        samples: That noise is measured on: array per input.
        is_good: The limit.
        threads: Of onnxruntime.
        saturates: Whether kernels of the machine saturate sums of products of 8 bits, so that
            weights of 7 bits may lose less.
    """

    def __init__(
        self,
        graph: Graph,
        ranges: Mapping[str, TensorRange],
        samples: Mapping[str, npt.NDArray[Any]],
        is_good: IsGood,
        *,
        threads: int = 1,
        saturates: bool = False,
    ) -> None:
        self._graph, self._ranges, self._samples = graph, ranges, samples
        self.is_good = is_good
        self._threads, self._saturates = threads, saturates
        self._meters: dict[QuantizationScheme, DamageMeter] = {}

    def meter(self, scheme: QuantizationScheme) -> DamageMeter:
        """What measures noise with scales found in a way."""
        if scheme not in self._meters:
            self._meters[scheme] = DamageMeter(
                self._graph, self._ranges, self._samples, scheme, threads=self._threads
            )
        return self._meters[scheme]

    def judged(self, plan: PrecisionPlan, schemes: Sequence[QuantizationScheme]) -> VerifiedPlan:
        """A plan with what it loses, its scales found in the first way by which it is good enough,
        else in the first of all; weights rounded so that it loses least."""
        found: list[VerifiedPlan] = []
        for scheme in schemes:
            noise, places = self.least_noise(plan.places, scheme)
            good = not places or self.is_good(places, scheme)
            found.append(VerifiedPlan(replace(plan, places=places), scheme, noise, good))
            if good or not places:
                return found[-1]
        return found[0]

    def quietest(
        self, plan: PrecisionPlan, schemes: Sequence[QuantizationScheme]
    ) -> list[VerifiedPlan]:
        """A plan with each way to find scales, the one that leaves the least noise first; it is
        not judged."""
        found = []
        for scheme in schemes:
            noise, places = self.least_noise(plan.places, scheme)
            found.append(VerifiedPlan(replace(plan, places=places), scheme, noise, True))
        return sorted(found, key=lambda way: way.noise)

    def least_noise(
        self, places: Places, scheme: QuantizationScheme
    ) -> tuple[float, dict[str, str]]:
        """Noise of a plan, with weights rounded in the way that leaves least of it."""
        meter = self.meter(scheme)
        narrow = [places]
        if self._saturates:
            narrow.append({name: with_narrow_weights(place) for name, place in places.items()})
        ways = dict.fromkeys(
            tuple((name, with_rounding(place, way)) for name, place in own.items())
            for own in narrow
            for way in Rounding
        )
        noise, found = min((meter.noise(dict(way)), way) for way in ways)
        return noise, dict(found)

    def graph_of(self, places: Places, scheme: QuantizationScheme) -> Graph:
        """The model as a plan runs it."""
        return self.meter(scheme).lowered(places) if places else self._graph

    def graphs(self, plans: Sequence[VerifiedPlan]) -> dict[str, Graph]:
        """Models by the name of their plan."""
        return {f.plan.name: self.graph_of(f.plan.places, f.scheme) for f in plans}
