"""A good scheme for a model whose plan is given: a grid in stages, then layers back to float.

1. Every scheme of the grid is ranked by its SQNR on few samples; the best are evaluated in full.
   Where less than nine tenths of the predictions survive, or on demand, the first that lead to
   different integers are tried once more with weights that GPTQ rounds.
2. The layers of the winner are ranked by the damage they do alone. Those that free most noise per
   multiplication go to the CPU in float, as far as the share of the NPU allows.

Of the candidates whose agreement with the float model is within one standard error of the best,
the one with the highest accuracy is taken, and of equal ones that with the highest SQNR. Agreement
needs no labels, so samples without any, like those of calibration, make it more certain, but not
for weights that were fitted to them; which labels a candidate gains or loses beside the float model
is mostly chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import sqrt

from compiler_core.accuracy.metric import Metric
from compiler_core.quantize.accuracy import Accuracy
from compiler_core.quantize.assemble import CPU
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.scheme import QuantizationScheme, RangeMethod, WeightRounding
from compiler_core.quantize.sensitivity import LayerSensitivity, layer_macs, sensitivities
from compiler_core.quantize.text import quantized_digest
from compiler_core.sums import float_sum
from nest_tune.scheme_search.evaluation import SchemeEvaluator, Stage

Progress = Callable[[str], None]

_ROUNDED_AGAIN = 3
"""Schemes that are tried with GPTQ, too."""
_ENOUGH_AGREEMENT = 0.9
"""With more of it the seconds that GPTQ takes are spent only where it is asked for."""


@dataclass(frozen=True, eq=False)
class ScoredScheme:
    """An evaluated scheme.

    Attributes:
        scheme: The decisions.
        accuracy: On the evaluator's samples.
        agreement: With the float model, on those and the samples without labels; on those alone
            where calibration samples decided how weights are rounded; 1 where outputs of real
            values do not agree or disagree.
        samples: That agreement was measured on.
        npu_share: Part of the multiplications of weighted layers that the NPU does in int8.
    """

    scheme: QuantizationScheme
    accuracy: Accuracy
    agreement: float
    samples: int
    npu_share: float


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search found.

    Attributes:
        uniform: The best scheme with every supported layer on the NPU.
        mixed: The best one with some layers in float; ``None`` where none was asked for.
        ranking: Layers by the damage they do alone; empty likewise.
        evaluated: Everything that was evaluated in full, in order.
    """

    uniform: ScoredScheme
    mixed: ScoredScheme | None
    ranking: tuple[LayerSensitivity, ...]
    evaluated: tuple[ScoredScheme, ...]


def npu_grid() -> tuple[QuantizationScheme, ...]:
    """Schemes that an NPU with power-of-two scales can run.

    Biases are always corrected and inputs always split: neither costs the NPU anything.
    """
    return tuple(
        QuantizationScheme(
            granularity=granularity,
            activation_range=activations,
            weight_range=weights,
            bias_correction=True,
            equalization=equalized,
            rescaling=rescaled,
            split_inputs=True,
        )
        for granularity, activations, weights, equalized, rescaled in product(
            Granularity,
            (RangeMethod.MAX, RangeMethod.KL, RangeMethod.MSE),
            (RangeMethod.MAX, RangeMethod.MSE),
            (False, True),
            (False, True),
        )
    )


def search_schemes(
    evaluator: SchemeEvaluator,
    grid: Sequence[QuantizationScheme] = (),
    *,
    unlabelled: SchemeEvaluator | None = None,
    npu_share: float = 0.9,
    finalists: int = 8,
    gptq: bool | None = None,
    mixed: bool = True,
    progress: Progress = lambda _: None,
) -> SearchResult:
    """Search as the module says.

    Args:
        evaluator: On the samples that may be used to choose.
        grid: Schemes to start from; :func:`npu_grid` by default.
        unlabelled: On further samples of the same model, plan and profile, for agreement.
        npu_share: Least part of the multiplications that stays in int8 on the NPU.
        finalists: Schemes of the grid that are evaluated in full.
        gptq: Whether the best are tried with GPTQ, too, which takes the samples of the profile;
            by default where the best agrees with the float model on less than nine tenths.
        mixed: Whether to look at layers in float, too.
        progress: Told what is being done.

    Raises:
        InputError: As :class:`~nest_tune.scheme_search.evaluation.SchemeEvaluator`.
    """
    schemes = list(grid) or list(npu_grid())
    proxies = []
    for number, scheme in enumerate(schemes):
        proxies.append((sqnr_db(evaluator.evaluate(scheme, Stage.PROXY)), number))
        progress(f"proxy {number + 1} of {len(schemes)}")
    best = [schemes[number] for _, number in sorted(proxies, key=lambda p: (-p[0], p[1]))]
    evaluated: list[ScoredScheme] = []

    def evaluate_all(chosen: Iterable[QuantizationScheme]) -> None:
        for scheme in chosen:
            evaluated.append(candidate(evaluator, unlabelled, scheme))
            kind = f"{scheme.granularity.value}, {scheme.weight_rounding.value}"
            progress(f"{_shown(evaluated[-1])}: {kind}")

    evaluate_all(best[:finalists])
    if gptq is None:
        gptq = choose(evaluated).agreement < _ENOUGH_AGREEMENT
    if gptq:
        nearest = (scheme for scheme in best if not scheme.needs_samples)
        evaluate_all(
            replace(scheme, weight_rounding=WeightRounding.GPTQ)
            for scheme in _distinct(evaluator, nearest, _ROUNDED_AGAIN)
        )
    uniform = choose(evaluated)
    if not mixed:
        return SearchResult(uniform, None, (), tuple(evaluated))
    ranking = _ranking(evaluator, uniform.scheme, progress)
    options = [uniform]
    for layers in float_sets(evaluator, ranking, uniform.scheme, npu_share):
        if not layers:
            continue
        scheme = replace(uniform.scheme, float_layers=layers)
        options.append(candidate(evaluator, unlabelled, scheme))
        progress(f"{_shown(options[-1])}: {len(layers)} layers in float")
    return SearchResult(uniform, choose(options), ranking, (*evaluated, *options[1:]))


def _distinct(
    evaluator: SchemeEvaluator, schemes: Iterable[QuantizationScheme], most: int
) -> list[QuantizationScheme]:
    """The first ``most`` schemes that lead to different integers."""
    found: dict[str, QuantizationScheme] = {}
    for scheme in schemes:
        if len(found) == most:
            break
        found.setdefault(quantized_digest(evaluator.apply(scheme).quantized), scheme)
    return list(found.values())


def choose(candidates: Sequence[ScoredScheme]) -> ScoredScheme:
    """The most accurate of those within a standard error of the best agreement."""
    most = max(item.agreement for item in candidates)
    error = sqrt(max(most * (1 - most), 0.0) / min(item.samples for item in candidates))
    close = [item for item in candidates if item.agreement >= most - error]
    return max(close, key=_quality)


def float_sets(
    evaluator: SchemeEvaluator,
    ranking: Iterable[LayerSensitivity],
    scheme: QuantizationScheme,
    npu_share: float,
) -> list[tuple[str, ...]]:
    """Growing sets of layers for the CPU, most noise freed per multiplication first."""
    total = sum(layer_macs(evaluator.graph).values())
    budget = (share_on_npu(evaluator, scheme) - npu_share) * total
    # Small layers would come first at any noise; a floor on their size keeps the order sensible.
    floor = max(1.0, total / 1000)
    waiting = sorted(
        ranking,
        key=lambda item: -_noise(item.accuracy) / max(item.macs, floor),
    )
    chosen: list[str] = []
    sets = []
    for item in waiting:
        if item.macs > budget:
            continue
        budget -= item.macs
        chosen.append(item.name)
        if len(chosen) in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32):
            sets.append(tuple(chosen))
    return list(dict.fromkeys([*sets, tuple(chosen), *_ends(evaluator, scheme, npu_share)]))


def _ends(
    evaluator: SchemeEvaluator, scheme: QuantizationScheme, npu_share: float
) -> list[tuple[str, ...]]:
    """The first layers, the last one, or both: they cost no further change of unit."""
    macs = layer_macs(evaluator.graph)
    layers = list(macs)
    budget = (share_on_npu(evaluator, scheme) - npu_share) * sum(macs.values())
    sets = [
        tuple(dict.fromkeys((*layers[:first], *layers[len(layers) - last :])))
        for first in range(4)
        for last in range(2)
        if first + last
    ]
    return [names for names in sets if sum(macs[name] for name in names) <= budget]


def share_on_npu(evaluator: SchemeEvaluator, scheme: QuantizationScheme) -> float:
    """Part of the multiplications of weighted layers that the NPU does under ``scheme``."""
    macs = layer_macs(evaluator.graph)
    # Where layers run does not depend on how weights are rounded, which takes seconds.
    applied = evaluator.apply(replace(scheme, weight_rounding=WeightRounding.NEAREST))
    off = {name for name in applied.reasons if name in macs}
    on = sum(
        count
        for name, count in macs.items()
        if applied.assignment.get(name, CPU) != CPU and name not in off
    )
    return on / max(1, sum(macs.values()))


def sqnr_db(accuracy: Accuracy) -> float:
    """SQNR of the scores."""
    return accuracy.metrics[Metric.SQNR].value


def _quality(found: ScoredScheme) -> tuple[float, float]:
    return float(found.accuracy.correct.mean()), sqnr_db(found.accuracy)


def _noise(accuracy: Accuracy) -> float:
    return float(10.0 ** (-sqnr_db(accuracy) / 10))


def candidate(
    evaluator: SchemeEvaluator, unlabelled: SchemeEvaluator | None, scheme: QuantizationScheme
) -> ScoredScheme:
    """``scheme``, evaluated in full on the samples of both evaluators.

    Raises:
        InputError: The scheme does not fit the model.
    """
    accuracy = evaluator.evaluate(scheme)
    measured = [accuracy]
    if unlabelled is not None and not scheme.needs_samples:
        measured.append(unlabelled.evaluate(scheme))
    samples = sum(item.samples for item in measured)
    agreeing = float_sum(_agreement(item) * item.samples for item in measured)
    share = share_on_npu(evaluator, scheme)
    return ScoredScheme(scheme, accuracy, agreeing / samples, samples, share)


def _agreement(found: Accuracy) -> float:
    """1 for all where outputs are of real values: then the noise decides alone."""
    known = found.metrics.get(Metric.AGREEMENT)
    return 1.0 if known is None else known.value


def _shown(found: ScoredScheme) -> str:
    noise = f"{sqnr_db(found.accuracy):.1f} dB"
    if Metric.AGREEMENT not in found.accuracy.metrics:
        return noise
    labelled = found.accuracy.metrics.get(Metric.TOP1)
    top1 = "" if labelled is None else f"top1 {labelled.value:.4f}, "
    return f"agreement {found.agreement:.4f}, {top1}{noise}"


def _ranking(
    evaluator: SchemeEvaluator, scheme: QuantizationScheme, progress: Progress
) -> tuple[LayerSensitivity, ...]:
    chosen = evaluator.chosen(Stage.PROXY)
    return sensitivities(
        evaluator.graph,
        evaluator.assignment,
        evaluator.profile.ranges(scheme.calibration),
        scheme,
        {name: array[chosen] for name, array in evaluator.samples.items()},
        None,
        judged=evaluator.judges,
        arithmetic=evaluator.arithmetic,
        progress=lambda done, total: progress(f"layer {done} of {total} alone"),
    )
