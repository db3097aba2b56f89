"""Rows of layers add up to the programs that they share, on one core and on several, in report,
profile, roofline and trace."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import load_model, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.configuration.launches import LaunchSettings
from compiler_core.executable.profile import by_instruction, by_unit, roofline, trace_slices, tracks
from compiler_core.executable.report import LayerReport
from compiler_core.partition.best import prepare
from compiler_core.partition.legal import misfits
from compiler_core.partition.resolve import assignment_of
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.targets.places import ON_CPU
from compiler_core.units.facets.programs import UnitLaunch, continues
from compiler_core.units.names import CPU
from compiler_core.units.vta.link.launch import VtaLaunch
from compiler_core.units.vta.link.launch_timing import time_launch
from compiler_core.units.vta.merge.run import MEMORIES
from tests.compiler_core.compile.test_random_joined import JoinedNetwork

TARGETS = ["vta", "vta-x4", "vta-duo", "vta-x2"]


def drawn(synthetic: ModuleType, folder: Path, seed: int, target: str) -> CompiledModel:
    """A random network, most of it on units."""
    machine, network = load_target(target), JoinedNetwork(synthetic, seed)
    (folder / "model.onnx").write_bytes(network.grow(14, newest=0.8))
    model, draw = load_model(folder / "model.onnx"), random.Random(seed)
    batch = model.graph.types["x"].shape[0]
    count = batch if isinstance(batch, int) else 1
    samples = np.random.default_rng(seed).normal(size=(count, *network.shapes["x"])).astype("f4")
    evaluator = prepare(model.graph, machine, joins_layers=True, packaged=True)
    placement, last = [], ON_CPU
    for places in evaluator.choices:  # mostly where the one before is: programs of several layers
        own = [place for place in places if place != ON_CPU]
        if last not in own or draw.random() < 0.2:
            last = draw.choice(own) if own and draw.random() < 0.95 else ON_CPU
        placement.append(last)
    while moved := misfits(evaluator, tuple(placement)):
        placement = [ON_CPU if at in moved else place for at, place in enumerate(placement)]
    plan = assignment_of(tuple(placement), evaluator.groups, machine.places)
    asked = Configuration(plan=plan, launches=LaunchSettings(merge=True))
    source = quantize_model(model, asked, {"x": samples}, arithmetic=target_arithmetic(machine))
    return compile_model(source, machine)


def programs(made: CompiledModel) -> list[list[tuple[LayerReport, UnitLaunch]]]:
    """Rows with their launches, those of one program together."""
    launches = {s.name: iter(s.launches) for s in made.executable.npu_segments}
    found: dict[str, list[list[tuple[LayerReport, UnitLaunch]]]] = {}
    for layer in made.report.layers:
        if layer.unit == CPU:
            continue
        launch = next(launches[layer.segment])
        own = found.setdefault(layer.segment, [])
        if continues(launch):
            own[-1].append((layer, launch))
        else:
            own.append([(layer, launch)])
    assert all(next(rest, None) is None for rest in launches.values())
    return [program for own in found.values() for program in own]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", [2100, 2103, 2107])
def test_rows_of_layers_add_up_to_their_programs(
    synthetic: ModuleType, tmp_path: Path, seed: int, target: str
) -> None:
    made = drawn(synthetic, tmp_path, seed, target)
    chip = made.executable.target
    found = programs(made)
    assert len(found) == made.metrics.launches
    for program in found:
        rows, head = [layer for layer, _ in program], program[0][1]
        machine = chip.unit(made.executable.placed[rows[0].segment]).machine
        assert isinstance(head, VtaLaunch)
        whole = time_launch(head, machine)
        assert sum(row.cycles for row in rows) == whole.cycles
        assert sum(row.energy_mj for row in rows) == pytest.approx(whole.energy_pj * 1e-9)
        assert sum(row.instructions for row in rows) == sum(
            len(p.instructions) for p in head.programs
        )
        for memory in MEMORIES:
            moved = sum(getattr(core.traffic, memory).data_bytes for core in whole.cores)
            assert sum(row.bytes[memory] for row in rows) == moved
        for row, after in pairwise(rows):
            assert row.end_ms == pytest.approx(after.start_ms, abs=1e-9)
            assert row.unit == after.unit
        for row in rows:
            if len(row.cores) > 1:
                assert row.cycles == max(core.cycles for core in row.cores)
                assert sum(core.instructions for core in row.cores) == row.instructions
                assert sum(core.energy_mj for core in row.cores) == pytest.approx(row.energy_mj)

    npu = [layer for layer in made.report.layers if layer.unit != CPU]
    assert sum(layer.cycles for layer in npu) == made.metrics.npu_cycles
    assert sum(layer.instructions for layer in npu) == made.metrics.instructions
    assert sum(layer.energy_mj for layer in made.report.layers) == pytest.approx(
        made.metrics.energy_mj
    )
    units = by_unit(made.report)
    assert sum(u.energy_mj for u in units) == pytest.approx(made.metrics.energy_mj)
    assert sum(u.latency_share for u in units) == pytest.approx(1.0)
    whole_time = sum(layer.latency_ms for layer in made.report.layers if len(layer.cores) < 2)
    assert sum(u.latency_ms for u in units) >= whole_time * (1 - 1e-9)
    for layer in npu:
        place = roofline(layer, chip)
        if place is not None:
            assert place.achieved_macs_per_cycle * layer.cycles == pytest.approx(layer.macs)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", [2101, 2105])
def test_slices_of_layers_are_those_of_their_programs(
    synthetic: ModuleType, tmp_path: Path, seed: int, target: str
) -> None:
    made = drawn(synthetic, tmp_path, seed, target)
    launches = [launch for program in programs(made) for _, launch in program]
    counted = sum(p.count for p in by_instruction(made.executable) if p.category == "instruction")
    assert counted == made.metrics.instructions
    names = tracks(made.executable.target)
    slices = list(trace_slices(made.executable, made.report))
    assert {names[item.track] for item in slices} <= set(names)
    launched = [item for item in slices if item.track == 0 and item.category == "launch"]
    assert len(launched) == sum(not continues(launch) for launch in launches)
    rows = {layer.name: layer for layer in made.report.layers if layer.unit != CPU}
    last: dict[str, int] = {}
    for item in slices:
        if item.track:
            layer = str(item.arguments["layer"])
            last[layer] = max(last.get(layer, 0), item.end_ns)
    assert last.keys() == rows.keys()
    for name, end in last.items():
        # What a layer does ends with it, to the nanosecond; it may have begun in that before.
        assert end <= round(rows[name].end_ms * 1e6) + 2
    for track in {item.track for item in slices if item.track}:
        open_until: list[int] = []
        for start, end in sorted((i.start_ns, -i.end_ns) for i in slices if i.track == track):
            while open_until and open_until[-1] <= start + 2:
                open_until.pop()
            # One after another, or a wait within an instruction: viewers drop anything else.
            assert not open_until or -end <= open_until[-1] + 2, names[track]
            open_until.append(-end)
