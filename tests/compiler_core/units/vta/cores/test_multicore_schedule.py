"""Untuned slicings: what they reach on ResNet-18, and their bound."""

from __future__ import annotations

import random

import pytest

from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.cores.multicore_layer import measure_sliced
from compiler_core.units.vta.cores.multicore_schedule import (
    Slicing,
    default_slice_schedules,
    default_slicings,
    sliced_bound,
)
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.lower.layer import measure_layer
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.structure.slicing import SliceAxis, slice_violations, slice_workload
from tests.compiler_core.units.vta.reference_operators import random_conv


@pytest.fixture(scope="module")
def core() -> VtaCore:
    return load_target("vta-x4").npu


def fastest(workload: ConvWorkload, core: VtaCore) -> Slicing:
    return min(default_slicings(workload, core, 4).values(), key=lambda found: found.result.cycles)


def layer(channels: int, size: int, out: int, kernel: int, stride: int) -> ConvWorkload:
    window = Window((kernel, kernel), (stride, stride), (kernel // 2,) * 4)
    return ConvWorkload(1, channels, size, size, out, window, 1, Epilogue(17, True, True, True))


RESNET18 = [
    (layer(64, 56, 64, 3, 1), 4),
    (layer(64, 56, 128, 3, 2), 1),
    (layer(64, 56, 128, 1, 2), 1),
    (layer(128, 28, 128, 3, 1), 3),
    (layer(128, 28, 256, 3, 2), 1),
    (layer(128, 28, 256, 1, 2), 1),
    (layer(256, 14, 256, 3, 1), 3),
    (layer(256, 14, 512, 3, 2), 1),
    (layer(256, 14, 512, 1, 2), 1),
    (layer(512, 7, 512, 3, 1), 3),
]


def test_four_cores_are_three_times_one_where_the_port_can_feed_them(core: VtaCore) -> None:
    """Over ResNet-18's convolutions whose port time is at most a quarter of their compute time."""
    alone = together = fed = 0
    for workload, count in RESNET18:
        bound = lower_bound(workload, core)
        if 4 * max(bound.reads, bound.writes) <= bound.compute:
            fed += count
            alone += count * measure_layer(workload, default_schedule(workload, core), core).cycles
            together += count * fastest(workload, core).result.cycles
    assert fed == 12
    assert alone >= 3.0 * together


@pytest.mark.parametrize("seed", range(25))
def test_no_slicing_beats_its_bound(seed: int, core: VtaCore) -> None:
    r = random.Random(seed)
    workload = random_conv(r).terms.workload
    for axis in SliceAxis:
        cores = r.randint(2, 4)
        if slice_violations(workload, cores, axis):
            continue
        slices = slice_workload(workload, cores, axis)
        schedules = default_slice_schedules(slices, core, cores)
        bound = sliced_bound(slices, core)
        measured = measure_sliced(workload, schedules, core, cores, axis).cycles
        assert measured >= bound.cycles
        # A slice reads no more than the whole, and together they write the same.
        assert bound.writes == lower_bound(workload, core).writes
        assert bound.reads <= len(slices) * lower_bound(workload, core).reads


def test_best_slicing_is_no_worse_than_either_axis(core: VtaCore) -> None:
    workload = layer(64, 14, 64, 3, 1)
    best = fastest(workload, core)
    again = measure_sliced(workload, best.schedules, core, 4, best.axis)
    assert again.cycles == best.result.cycles
    for axis in SliceAxis:
        schedules = default_slice_schedules(slice_workload(workload, 4, axis), core)
        assert best.result.cycles <= measure_sliced(workload, schedules, core, 4, axis).cycles


def test_what_has_one_piece_on_both_axes_is_not_sliced(core: VtaCore) -> None:
    assert default_slicings(layer(64, 1, 16, 1, 1), core, 4) == {}
