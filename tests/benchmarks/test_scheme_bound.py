"""No scheme and no plan takes less than the bound of the least costs."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.scheme_bound import convolutions, least_costs, unusual, variants
from compiler_core.compile.compile import compile_model
from compiler_core.compile.sources import load_model, noise_samples, quantize_model
from compiler_core.compile.unit_layers import model_layers
from compiler_core.configuration.configuration import Configuration, Scheme
from compiler_core.configuration.launches import LaunchSettings
from compiler_core.errors import InputError
from compiler_core.partition.best import prepare
from compiler_core.partition.optimum import find_optimum
from compiler_core.partition.resolve import assignment_of
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.scheme import CalibrationSize, QuantizationScheme, RangeMethod
from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import ConvWorkload, Epilogue, MaxPoolWorkload, Window

APART = LaunchSettings(merge=False)
"""The bound has a launch for each operator."""


def drawn_scheme(draw: random.Random) -> Scheme:
    scheme = QuantizationScheme(
        granularity=draw.choice(list(Granularity)),
        activation_range=draw.choice(list(RangeMethod)),
        weight_range=draw.choice([RangeMethod.MAX, RangeMethod.MSE]),
        calibration=draw.choice(list(CalibrationSize)),
        bias_correction=draw.random() < 0.5,
        equalization=draw.random() < 0.5,
        rescaling=draw.random() < 0.5,
        split_inputs=draw.random() < 0.5,
    )
    return Scheme.of({}, scheme)


@pytest.mark.parametrize("target_name", ["vta", "vta-zcu102"])
@pytest.mark.parametrize(
    "name", ["residual", "concat", "mixed", "depthwise", "two_inputs", "batch_of_two"]
)
def test_schemes_and_plans_never_beat_it(
    synthetic: ModuleType, tmp_path: Path, name: str, target_name: str
) -> None:
    model = load_model(Path(synthetic.write(name, tmp_path)))
    target = load_target(target_name)
    least = least_costs(model.graph, target)
    bound = find_optimum(least).bound_ps / 1e9
    usual_bound = find_optimum(least_costs(model.graph, target, usual=True)).bound_ps / 1e9
    clamped = convolutions(least.groups)
    samples = noise_samples(model.graph)
    draw = random.Random(5)
    reached = []
    for _ in range(12):
        placement = tuple(draw.choice(units) for units in least.choices)
        plan = assignment_of(placement, least.groups, least.costs.places)
        source = quantize_model(
            model, Configuration(drawn_scheme(draw), plan, launches=APART), samples
        )
        reached.append(compile_model(source, target).metrics.latency_ms)
        parts = model_layers(source.quantized, target)
        layers = [layer for part in parts for layer in part.layers]
        assert reached[-1] >= usual_bound or unusual(layers, clamped)
    assert min(reached) >= bound > 0
    assert usual_bound >= bound
    # Least costs are least: those of the stand-in are among the variants.
    assert bound <= find_optimum(prepare(model.graph, target)).latency_ps / 1e9


def test_variants_cover_the_passes_of_every_requantization() -> None:
    epilogue = Epilogue(17, shift=True, clip_low=True, clip_high=True, residual_bits=6)
    conv = ConvWorkload(1, 3, 8, 8, 16, Window((3, 3)), 1, epilogue, entry=True)
    found = list(variants(conv))
    assert conv in found
    assert len(set(found)) == len(found)
    assert {one.in_channels for one in found if isinstance(one, ConvWorkload)} == {3, 6}
    passes = {
        (e.shift, e.clip_low, e.clip_high, e.channel_shift, e.residual_bits)
        for e in (one.epilogue for one in found if isinstance(one, ConvWorkload))
    }
    assert len(passes) == 2 * (8 + 4)
    inside = ConvWorkload(1, 3, 8, 8, 16, Window((3, 3)), 1, epilogue)
    assert {one.in_channels for one in variants(inside)} == {3}  # type: ignore[union-attr]
    pool = MaxPoolWorkload(1, 16, 8, 8, Window((2, 2), (2, 2)))
    assert len(list(variants(pool))) == 4


def test_usual_convolutions_are_reduced_and_meet_their_clamp(
    synthetic: ModuleType, tmp_path: Path
) -> None:
    model = load_model(Path(synthetic.write("residual", tmp_path)))
    source = quantize_model(model, Configuration(), noise_samples(model.graph))
    target = load_target("vta")
    parts = model_layers(source.quantized, target)
    layers = [layer for part in parts for layer in part.layers]
    clamped = convolutions(least_costs(model.graph, target).groups)
    assert clamped
    assert unusual(layers, clamped) == []
    conv = next(layer for layer in layers if layer.operator.name in clamped)
    assert isinstance(conv.workload, ConvWorkload)
    bare = replace(conv.workload.epilogue, shift=False, clip_high=False, channel_shift=False)
    odd = replace(conv, workload=replace(conv.workload, epilogue=bare))
    assert unusual([odd], clamped) == [conv.operator.name]
    found = list(variants(conv.workload, clamped=True))
    assert found
    assert all(
        e.clip_low and (e.shift or e.clip_high or e.channel_shift)
        for e in (one.epilogue for one in found if isinstance(one, ConvWorkload))
    )


def test_several_cores_are_refused(synthetic: ModuleType, tmp_path: Path) -> None:
    model = load_model(Path(synthetic.write("residual", tmp_path)))
    with pytest.raises(InputError, match="one NPU core"):
        least_costs(model.graph, load_target("vta-x2"))
