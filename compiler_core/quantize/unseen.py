"""How good a scheme is on samples that its ranges were not found on.

What calibration samples lose says nothing of others where there are too few of them: ranges grow
with every sample, and what lies outside of them is clipped. So every part of the samples is tried
with the ranges of all others (:mod:`compiler_core.quantize.folds`). They are those of fewer samples
than the model gets; what is lost by them is a little more than what will be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import choose
from compiler_core.quantize.apply import apply_profile, apply_scheme
from compiler_core.quantize.assemble import CPU
from compiler_core.quantize.behind_selections import measure_plan
from compiler_core.quantize.folds import Fold, folds
from compiler_core.quantize.good_enough import reason_against, shortfall
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.quality import OutputQuality, QualityMeter
from compiler_core.quantize.scheme import CalibrationSize, QuantizationScheme, WeightRounding
from compiler_core.quantize.unit_arithmetics import Computing

_MARGIN, _HALF_MARGIN = 3.0, 6.0
"""What may be lacking by ranges of three quarters of the samples, in dB and percent of agreement:
twice the noise that is allowed; and by ranges of half of them."""


def reason_unseen(
    graph: Graph,
    assignment: Mapping[str, str],
    profile: Profile,
    scheme: QuantizationScheme,
    arithmetic: Computing | None = None,
    *,
    threads: int = 1,
) -> str:
    """Why a scheme is not good enough on samples that its ranges were not found on.

    Args:
        graph: The float graph, simplified.
        assignment: Unit per node.
        profile: Statistics of that graph, with its samples.
        scheme: Where it is not good enough on these samples, nothing is said of others. Weights are
            rounded to the nearest: those that are fitted to samples are tried on others where they
            are chosen.
        arithmetic: Of the NPUs; by default one of the usual kind.
        threads: Threads of onnxruntime.

    Returns:
        Nothing where it is good enough, or nearly so; or where that cannot be told.
    """
    samples = profile.first()
    if samples is None or all(place == CPU for place in assignment.values()):
        return ""
    if scheme.calibration is not CalibrationSize.ALL:
        return ""
    scheme = replace(scheme, weight_rounding=WeightRounding.NEAREST)

    def with_all(places: Mapping[str, str]) -> QuantizedGraph:
        return apply_profile(graph, places, profile, scheme, arithmetic=arithmetic).quantized

    try:
        parts = folds(graph, profile, threads=threads)
        if not parts:
            return ""

        def by_parts(places: Mapping[str, str]) -> list[QuantizedGraph]:
            return [
                apply_scheme(
                    graph, places, part.ranges, scheme, part.samples, arithmetic=arithmetic
                ).quantized
                for part in parts
            ]

        unseen = [run for part in parts for run in part.runs]
        meter = QualityMeter(graph, choose(graph, samples, unseen), threads=threads)
        margin = margin_of(parts)
        found = measure_plan(_Parts(meter, parts), graph, assignment, by_parts)
        reason = reason_by(found, margin)
        if reason and reason_by(measure_plan(meter, graph, assignment, with_all), margin):
            return ""  # more samples do not help
        return reason
    except InputError:
        return ""


class _Parts:
    """Measures a quantized graph per part of the samples, each on its part."""

    def __init__(self, meter: QualityMeter, parts: Sequence[Fold]) -> None:
        self._meter = meter
        ends = [0, *accumulate(len(part.runs) for part in parts)]
        self._positions = [
            [at for at, run in enumerate(meter.runs) if first <= run < last]
            for first, last in pairwise(ends)
        ]

    def measure(self, quantized: Sequence[QuantizedGraph], /) -> tuple[OutputQuality, ...]:
        """See :meth:`QualityMeter.measure_parts`."""
        parts = zip(quantized, self._positions, strict=True)
        return self._meter.measure_parts([part for part in parts if part[1]])


def margin_of(parts: Sequence[Fold]) -> float:
    """What may be lacking on parts of the samples."""
    return _MARGIN if len(parts) > 1 else _HALF_MARGIN


def reason_by(outputs: Sequence[OutputQuality], margin: float) -> str:
    """Why ranges of some samples are not good enough for others; nothing where they are, or nearly
    so."""
    lacking = max(map(shortfall, outputs), default=0.0)
    return reason_against(outputs) if lacking > margin else ""


def warning_of(reason: str, samples: int) -> str:
    """What is said where there are too few samples."""
    return (
        f"{samples} calibration samples may be too few: on parts of them with ranges of the others "
        f"{reason}; more of them, as different as what the model will see, find the ranges"
    )
