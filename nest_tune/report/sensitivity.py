"""How much damage each layer of a chosen compile does when it alone computes with integers."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from pathlib import Path

from compiler_core.accuracy.metric import Metric
from compiler_core.compile.compile import CompiledModel
from compiler_core.compile.sources import read_samples
from compiler_core.errors import InputError
from compiler_core.graph.sampling import take
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.sensitivity import layer_macs, sensitivities
from compiler_core.targets.integer_units import target_arithmetic
from nest_tune.study.store.ground import Ground

SAMPLES = 16
_FEWEST_SAMPLES = 4
_MOST_WORK = 5e11
"""Multiplications of all runs together: a minute or two."""


def layers_alone(
    ground: Ground, compiled: CompiledModel, progress: Callable[[str], None]
) -> dict[str, float]:
    """SQNR of the model's scores, in dB, with one weighted layer alone in integers, by its name.

    Args:
        ground: The study's files; without calibration data nothing is measured.
        compiled: Its scheme and plan say how each layer computes.
        progress: Told what is being done.

    Raises:
        InputError: The model is too large to run it once for every layer, or a file is wrong.
    """
    settings, graph = ground.settings, ground.model.graph
    source = settings.evaluation or settings.calibration
    macs = layer_macs(graph)
    if settings.calibration is None or source is None or not macs:
        return {}
    count = int(min(SAMPLES, _MOST_WORK / max(sum(macs.values()) * len(macs), 1)))
    if count < _FEWEST_SAMPLES:
        raise InputError(
            f"{len(macs)} layers of {sum(macs.values()):,} multiplications take long; "
            "`nest-tune quantize sensitivity` measures it"
        )
    progress(f"quantizing each of {len(macs)} layers alone")
    scheme = compiled.configuration.scheme.quantization()
    calibration = read_samples(Path(settings.calibration), graph)
    sizes = [scheme.calibration] if isinstance(scheme.calibration, int) else []
    ranges = profile_model(graph, calibration, sizes).ranges(scheme.calibration)
    samples = take(graph, read_samples(Path(source), graph), 0, count)
    plan, known = compiled.configuration.plan, target_arithmetic(ground.target)
    found = sensitivities(graph, plan, ranges, scheme, samples, None, arithmetic=known)
    values = {item.name: item.accuracy.metrics[Metric.SQNR].value for item in found}
    return {name: value for name, value in values.items() if isfinite(value)}
