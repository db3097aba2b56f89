"""The numbers of a model that is planned: which passes its programs have follows from them."""

from __future__ import annotations

from dataclasses import replace

from compiler_core.compile.sources import FloatModel, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.partition.groups import build_groups
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.targets.integer_units import integer_units, target_arithmetic
from compiler_core.targets.target import Target
from nest_tune.api.values import Arrays, Progress
from nest_tune.stores.default_scheme import with_default_scheme
from nest_tune.stores.profile_store import stored_profile


def planned_numbers(
    source: FloatModel,
    given: Configuration,
    target: Target,
    samples: Arrays,
    progress: Progress,
) -> QuantizedGraph | None:
    """A model quantized as ``compile`` does it, with everything on the NPU that can run there.

    Args:
        source: The model.
        given: Its scheme, where it has one; the plan is none of it.
        target: The machine.
        samples: Calibration data.
        progress: Told what is being done.

    Returns:
        ``None`` where several units hold integers: each has numbers of its own.

    Raises:
        InputError: The samples do not fit the model.
    """
    if len(integer_units(target)) > 1:
        return None
    arithmetic = target_arithmetic(target)
    places = build_groups(source.graph, arithmetic).untuned
    open_ = replace(given, plan=dict(places), schedules={})
    size = open_.scheme.quantization().calibration
    profile = stored_profile(
        source.graph,
        samples,
        [size] if isinstance(size, int) else [],
        progress=lambda done, total: progress(f"calibrating: {done} of {total} samples"),
    )
    decided = with_default_scheme(open_, source, profile, arithmetic=arithmetic, progress=progress)
    return quantize_model(source, decided, profile, arithmetic=arithmetic).quantized
