"""Profiles: sums that add up, rooflines that hold, a timeline without gaps or overlaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import noise_samples, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.configuration.launches import LaunchSettings
from compiler_core.executable.profile import by_instruction, by_unit, roofline, trace_slices, tracks
from compiler_core.targets.load import load_target
from compiler_core.units.vta.machine.hardware import TimingProfile

Compile = Callable[[str], CompiledModel]


@pytest.mark.parametrize("name", ["residual", "mixed", "depthwise"])
def test_units_add_up_to_the_metrics(compiled_model: Compile, name: str) -> None:
    compiled = compiled_model(name)
    units = by_unit(compiled.report)
    assert sum(unit.latency_ms for unit in units) == pytest.approx(compiled.metrics.latency_ms)
    assert sum(unit.energy_mj for unit in units) == pytest.approx(compiled.metrics.energy_mj)
    assert sum(unit.latency_share for unit in units) == pytest.approx(1)
    assert sum(unit.cycles for unit in units) == compiled.metrics.npu_cycles


def test_no_layer_is_above_its_roof_or_below_its_bound(compiled_model: Compile) -> None:
    joined = compiled_model("depthwise")
    apart = replace(joined.configuration, launches=LaunchSettings(merge=False), measured={})
    compiled = compile_model(replace(joined.source, configuration=apart), load_target("vta"))
    for layer in compiled.report.layers:
        place = roofline(layer, compiled.executable.target)
        assert (place is None) == (layer.unit == "cpu")
        if place is not None:
            assert layer.bound_cycles <= layer.cycles
            assert place.achieved_macs_per_cycle <= place.attainable_macs_per_cycle * 1.0001
    # A layer of a program may load ahead while the one before computes: the sum holds the bounds.
    layers = [layer for layer in joined.report.layers if layer.cycles]
    assert sum(layer.bound_cycles for layer in layers) <= sum(layer.cycles for layer in layers)


def test_a_port_with_two_channels_is_bound_by_the_busier_one(compiled_model: Compile) -> None:
    compiled = compiled_model("depthwise")
    target = compiled.executable.target
    timing = replace(target.npu.timing, profile=TimingProfile.RTL2020)
    machine = replace(target.npu, timing=timing)
    one_channel = replace(target, units=(replace(target.units[0], machine=machine),))
    layer = next(layer for layer in compiled.report.layers if layer.cycles)
    for written, read in ((1000, 3000), (3000, 1000)):
        moved = replace(layer, macs=8000, bytes={"out": written, "inp": read})
        both, one = roofline(moved, target), roofline(moved, one_channel)
        assert both is not None
        assert one is not None
        assert (both.macs_per_byte, one.macs_per_byte) == (pytest.approx(8 / 3), 2)


def test_instruction_counts_are_those_of_the_programs(compiled_model: Compile) -> None:
    compiled = compiled_model("residual")
    profiles = by_instruction(compiled.executable)
    counted = sum(item.count for item in profiles if item.category == "instruction")
    assert counted == compiled.metrics.instructions
    (finish,) = [item for item in profiles if item.name == "FINISH"]
    assert finish.count == compiled.metrics.launches
    assert [item.cycles for item in profiles] == sorted(
        (item.cycles for item in profiles), reverse=True
    )


def test_the_timeline_is_sequential_and_ends_with_the_latency(compiled_model: Compile) -> None:
    compiled = compiled_model("mixed")
    slices = list(trace_slices(compiled.executable, compiled.report))
    cpu = sorted((s.start_ns, s.end_ns) for s in slices if s.track == 0)
    for (_, end), (start, _) in pairwise(cpu):
        assert end <= start
    last = max(s.end_ns for s in slices)
    assert last == pytest.approx(compiled.metrics.latency_ms * 1e6, abs=len(slices) + 10)
    assert {s.track for s in slices} == set(range(len(tracks(compiled.executable.target))))


@pytest.mark.parametrize("target", ["vta-rtl2020", "vta-pynq", "vta-ultra96"])
def test_other_targets_compile_the_same_model(compiled_model: Compile, target: str) -> None:
    model = compiled_model("depthwise").source.model
    source = quantize_model(model, Configuration(), noise_samples(model.graph))
    compiled = compile_model(source, load_target(target))
    assert compiled.metrics.launches == compiled_model("depthwise").metrics.launches
    for layer in compiled.report.layers:
        assert layer.cycles >= layer.bound_cycles
