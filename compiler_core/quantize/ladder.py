"""The untuned default of quantization: the first of a few schemes that is good enough.

Weights per tensor cost an NPU least, and do for many networks. Where they do not, the next rungs of
a ladder are measured, each on the calibration data beside the float network: weights per output
channel, then what takes back shifted means, uneven channels, unlucky scales and the rounding of the
input, GPTQ, and at last float on the CPU for those operators that do the most damage. Where no rung
is good enough, the best is taken, and the compile says so.

:mod:`compiler_core.quantize.good_enough` says what that means. Nothing here looks at a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import check_samples, choose, model_batch
from compiler_core.quantize.apply import AppliedScheme, apply_profile
from compiler_core.quantize.behind_selections import measure_plan
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.good_enough import excess, is_ruin, reason_against, shortfall, worst
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.quantize.ladder_record import TAKEN, Ladder, Quality, Rung
from compiler_core.quantize.left_in_float import float_sets, quantizing_work
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.quality import OutputQuality, QualityMeter
from compiler_core.quantize.reconstruction import (
    Reconstruction,
    Samples,
    reconstruct,
    reconstruction_work,
)
from compiler_core.quantize.scheme import QuantizationScheme, RangeMethod, WeightRounding
from compiler_core.quantize.sensitivity import layer_macs
from compiler_core.quantize.skeleton import Skeleton
from compiler_core.quantize.text import quantized_digest
from compiler_core.quantize.unit_arithmetics import Computing

_GAIN = 0.5
"""A rung that is not good enough replaces an earlier one if it falls short by that much less."""
_MOST_WORK = 1 << 38
"""Multiplications that GPTQ may take, about."""
_MOST_MEASURED = 1 << 37
"""Work of all rungs before GPTQ: those that would be beyond it are left out, but for the first
two."""
_ALWAYS = 2
_RUNS_WORK = 4
"""Multiplications of a run that take as long as one of what quantizing counts."""

FIRST = "weights per tensor"
_CHANNEL = QuantizationScheme(granularity=Granularity.CHANNEL)
_CORRECTED = replace(_CHANNEL, bias_correction=True)
_EVEN = replace(_CORRECTED, equalization=True, rescaling=True)
_SPLIT = replace(_EVEN, split_inputs=True)

RUNGS: Mapping[str, QuantizationScheme] = {
    FIRST: QuantizationScheme(),
    "weights per channel": _CHANNEL,
    "bias correction": _CORRECTED,
    "equalization": replace(_CORRECTED, equalization=True),
    "rescaling": replace(_CORRECTED, rescaling=True),
    "equalization and rescaling": _EVEN,
    "split inputs": _SPLIT,
    "largest values kept": replace(_SPLIT, activation_range=RangeMethod.MAX),
}
"""Schemes by name, in the order in which they are tried. What costs the NPU nothing comes before
what costs the CPU time: split inputs."""
GPTQ = "GPTQ"
GPTQ_SPLIT = "GPTQ and split inputs"
"""Rungs after those: the best of the others without split inputs, and the best of all where that
has them, with weights rounded by GPTQ."""
ROOM = "room for unseen values"
"""No rung of its own: what is good enough on few samples gets it where that leaves it so."""
_FEW = 16
"""Below so many, samples are few: one of nine others exceeds what eight have shown."""
_MOST_EXCESS = 0.5
"""Noise with room over what is allowed: 3 dB are left."""
FLOAT = "most damaging operators in float"
"""The last rung, of the best of the others without GPTQ and of weights per channel alone."""
_SHARE = 0.1
"""Of the multiplications that the CPU may take for it, unless the network is a ruin without: that
is of no use at any speed, all of it may be in float, and whatever halves what it lacks is taken."""
_WORTH = 0.5
_FITTED = 64
"""Runs from which on weights that were fitted to them are as good on others."""
_FITTED_DB = 1.0
"""What those fitted to half of them may fall short on the other half: all are more than a half."""

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Choice:
    """A scheme of the ladder.

    Attributes:
        scheme: The decisions.
        quality: Of the worst output; ``None`` where there is nothing to measure with.
        ladder: How it was found; ``None`` likewise.
    """

    scheme: QuantizationScheme
    quality: Quality | None
    ladder: Ladder | None


@dataclass(frozen=True, eq=False)
class _Measured:
    name: str
    scheme: QuantizationScheme
    outputs: tuple[OutputQuality, ...]
    work: int
    """Of fitting its weights to samples."""

    @property
    def shortfall(self) -> float:
        return max((shortfall(item) for item in self.outputs), default=0.0)


def climb(
    graph: Graph,
    assignment: Mapping[str, str],
    profile: Profile,
    *,
    arithmetic: Computing | None = None,
    reconstruction: Callable[[QuantizationScheme], Reconstruction] = lambda _: reconstruct,
    threads: int = 1,
    progress: Progress = lambda _: None,
    pinned: bool = False,
) -> Choice:
    """The untuned default of a model under a plan.

    Args:
        graph: The float graph, simplified.
        assignment: Unit per node.
        profile: Statistics of that graph, with its samples; without them the first rung is all that
            can be had.
        arithmetic: Of the NPUs; by default one of the usual kind.
        reconstruction: How GPTQ finds weights, by scheme.
        threads: Threads of onnxruntime.
        progress: Told of each rung.
        pinned: Whether somebody decided the plan: then nothing leaves its unit.

    Raises:
        InputError: The profile does not fit the graph, or no rung can be applied.
    """
    samples = profile.first()
    if samples is None:
        return Choice(RUNGS[FIRST], None, None)
    meter = QualityMeter(graph, samples, threads=threads)
    climbing = _Climb(
        graph, assignment, profile, meter, reconstruction, progress, arithmetic, threads
    )
    found = climbing.choice()
    if found.ladder is None or found.ladder.good_enough or found.quality is None or pinned:
        return found
    return climbing.with_floats()


class _Climb:
    def __init__(
        self,
        graph: Graph,
        assignment: Mapping[str, str],
        profile: Profile,
        meter: QualityMeter,
        reconstruction: Callable[[QuantizationScheme], Reconstruction],
        progress: Progress,
        arithmetic: Computing | None,
        threads: int,
    ) -> None:
        self._threads = threads
        self._arithmetic = arithmetic
        self._graph, self._assignment, self._profile = graph, assignment, profile
        self._meter, self._reconstruction, self._progress = meter, reconstruction, progress
        self._seen: dict[str, str] = {}
        self._rungs: dict[str, Rung] = {}
        self._measured: list[_Measured] = []
        self._unmeasured: list[tuple[str, QuantizationScheme]] = []
        self._failed: InputError | None = None

    def choice(self) -> Choice:
        """The first rung that is good enough, or the best of all."""
        work = self._measuring_work()
        for number, (name, scheme) in enumerate(RUNGS.items()):
            if number >= _ALWAYS and (number + 1) * work > _MOST_MEASURED:
                self._rungs[name] = Rung("left out: measuring it takes too long for a default")
            elif self._is_enough(name, scheme):
                return self._with_room(self._measured[-1])
        if not self._measured:
            return self._blind()
        best = _best(self._measured)
        plain = _best([item for item in self._measured if not item.scheme.split_inputs] or [best])
        for name, found in ((GPTQ, plain), (GPTQ_SPLIT, best)):
            if name == GPTQ_SPLIT and found is plain:
                continue
            rounded = replace(found.scheme, weight_rounding=WeightRounding.GPTQ)
            if not self._is_affordable(name, found) or not self._is_enough(name, rounded):
                continue
            if self._holds_for_others(name, rounded):
                return self._taken(self._measured[-1], good_enough=True)
        return self._taken(_best(self._measured), good_enough=False)

    def _measuring_work(self) -> int:
        """What applying a scheme and measuring it take, about."""
        macs = sum(layer_macs(self._graph).values()) * self._meter.samples
        return macs // _RUNS_WORK + quantizing_work(self._graph)

    def _holds_for_others(self, name: str, scheme: QuantizationScheme) -> bool:
        """Whether weights fitted to every other run do for those between, too; where they do not,
        what was measured there replaces what was measured last."""
        samples = self._profile.first(scheme.calibration)
        assert samples is not None  # it was measured
        count = check_samples(self._graph, samples) // model_batch(self._graph)
        if not 2 <= count < _FITTED:
            return True

        def half(skeleton: Skeleton, quantized: QuantizedGraph, given: Samples) -> QuantizedGraph:
            return reconstruct(skeleton, quantized, choose(self._graph, given, range(0, count, 2)))

        def halved(places: Mapping[str, str]) -> QuantizedGraph:
            return apply_profile(
                self._graph, places, self._profile, scheme, half, self._arithmetic
            ).quantized

        between = choose(self._graph, samples, range(1, count, 2))
        meter = QualityMeter(self._graph, between, threads=self._threads)
        outputs = measure_plan(meter, self._graph, self._assignment, halved)
        if max(map(shortfall, outputs), default=0.0) <= _FITTED_DB:
            return True
        self._measured[-1] = replace(self._measured[-1], outputs=outputs)
        reason = f"on samples that it was not fitted to {reason_against(outputs)}"
        self._rungs[name] = Rung(reason, worst(outputs))
        self._progress(f"default quantization, {name}: {reason}")
        return False

    def with_floats(self) -> Choice:
        """The last rung: the smallest set of operators in float that is good enough; else, for what
        would be a ruin, the one that falls short least; else the best without."""
        plain = _best(self._measured)
        ruined = is_ruin(plain.outputs)
        scheme = replace(plain.scheme, weight_rounding=WeightRounding.NEAREST)
        self._progress(f"default quantization, {FLOAT}: measuring which they are")
        try:
            sets = float_sets(
                self._graph,
                self._assignment,
                self._profile,
                _CHANNEL,
                share=1.0 if ruined else _SHARE,
                arithmetic=self._arithmetic,
                threads=self._threads,
            )
        except InputError as error:
            sets = ()
            self._rungs[FLOAT] = Rung(f"not measured: {error.message}")
        others, best = len(self._measured), None
        for names in sets:
            for base in dict.fromkeys((_CHANNEL, scheme)):
                if self._is_enough(FLOAT, replace(base, float_layers=tuple(names))):
                    return self._with_room(self._measured[-1])
        fresh = self._measured[others:]
        if fresh:
            best = min(fresh, key=lambda item: item.shortfall)
            self._rungs[FLOAT] = Rung(reason_against(best.outputs), worst(best.outputs))
        elif FLOAT not in self._rungs:
            self._rungs[FLOAT] = Rung("left out: too much would leave the NPU")
        if best is None or not ruined or best.shortfall > _WORTH * plain.shortfall:
            best = plain
        return self._taken(best, good_enough=False)

    def _blind(self) -> Choice:
        """The first rung that can be applied, where none can be measured.

        Raises:
            InputError: None can be applied.
        """
        if not self._unmeasured:
            assert self._failed is not None  # there is no third way to fail
            raise self._failed
        name, scheme = self._unmeasured[0]
        return Choice(scheme, None, Ladder(name, good_enough=False, rungs=dict(self._rungs)))

    def _is_enough(self, name: str, scheme: QuantizationScheme) -> bool:
        """Looks at a rung."""
        try:
            applied = self._apply(scheme)
        except InputError as error:
            self._failed = self._failed or error
            self._rungs[name] = Rung(error.message)
            return False
        same = self._seen.setdefault(quantized_digest(applied.quantized), name)
        if same != name:
            self._rungs[name] = Rung(f"the same integers as {same}")
            return False
        try:
            outputs = measure_plan(
                self._meter,
                self._graph,
                self._assignment,
                lambda places: self._apply(scheme, places).quantized,
                applied.quantized,
            )
        except InputError as error:
            self._unmeasured.append((name, scheme))
            self._rungs[name] = Rung(f"not measured: {error.message}")
            return False
        work = reconstruction_work(applied.quantized)
        self._measured.append(_Measured(name, scheme, outputs, work))
        reason = reason_against(outputs)
        self._rungs[name] = Rung(reason or "good enough", worst(outputs))
        if reason:
            self._progress(f"default quantization, {name}: {reason}")
        return not reason

    def _apply(
        self, scheme: QuantizationScheme, assignment: Mapping[str, str] | None = None
    ) -> AppliedScheme:
        return apply_profile(
            self._graph,
            self._assignment if assignment is None else assignment,
            self._profile,
            scheme,
            self._reconstruction(scheme),
            self._arithmetic,
        )

    def _is_affordable(self, name: str, found: _Measured) -> bool:
        """Whether GPTQ has anything to do, and not too much."""
        if found.work > _MOST_WORK:
            self._rungs[name] = Rung("left out: it takes too long for a default")
        return 0 < found.work <= _MOST_WORK

    def _with_room(self, found: _Measured) -> Choice:
        """A rung that is good enough, with room for what few samples have not shown where it stays
        so by far."""
        scheme = replace(found.scheme, activation_range=RangeMethod.ROOMY)
        few = self._profile.samples < _FEW
        is_open = few and found.scheme.activation_range is RangeMethod.MSE
        if is_open and self._is_enough(ROOM, scheme):
            roomy = self._measured[-1]
            if max(map(excess, roomy.outputs), default=0.0) <= _MOST_EXCESS:
                self._rungs[ROOM] = replace(self._rungs[ROOM], outcome=TAKEN)
                return self._taken(replace(roomy, name=found.name), good_enough=True)
            self._rungs[ROOM] = replace(self._rungs[ROOM], outcome="less than 3 dB are left")
        return self._taken(found, good_enough=True)

    def _taken(self, found: _Measured, *, good_enough: bool) -> Choice:
        ladder = Ladder(found.name, good_enough, dict(self._rungs))
        return Choice(found.scheme, worst(found.outputs), ladder)


def _best(measured: Sequence[_Measured]) -> _Measured:
    """The one that falls short least; a later one only where it gains something."""
    best = measured[0]
    for found in measured[1:]:
        if found.shortfall <= best.shortfall - _GAIN:
            best = found
    return best
