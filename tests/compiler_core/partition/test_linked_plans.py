"""Plans that are linked take what their packages take, to the picosecond: at any borders, in any
order, sliced over cores, with any schedules, launched apart or together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from compiler_core.compile.compile import compile_model
from compiler_core.compile.sources import load_model, noise_samples, quantize_model
from compiler_core.compile.unit_layers import cut_tasks, model_layers, model_tasks, tuned_slicings
from compiler_core.configuration.configuration import Configuration
from compiler_core.configuration.launches import LaunchSettings
from compiler_core.errors import InfeasibleError
from compiler_core.partition.baselines import all_npu
from compiler_core.partition.best import prepare, untuned
from compiler_core.partition.legal import misfits
from compiler_core.partition.overlaps import compiled_plan, overlaps_of
from compiler_core.partition.resolve import assignment_of
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import UnitTask
from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.legality.legality import violations
from compiler_core.units.vta.legality.legality_resident import residency_violations
from compiler_core.units.vta.machine.hardware import VtaCore
from search_spaces.task_space import task_space
from search_spaces.vta.resident import first_programs
from tests import synthetic_models
from tests.compiler_core.partition.border_networks import BorderNetwork

TARGETS = ("vta-x4", "vta-duo", "vta", "vta-x2", "vta-aim", "vta-pynq", "vta-int4", "aim-gddr6")
FAST = ((105, "vta-x4"), (107, "vta-x4"), (109, "vta-duo"))
"""Draws whose programs slow one another down on the memory's port."""


class DepthwiseNetwork(BorderNetwork):
    """The same with depthwise layers, some of which can stay on chip."""

    def __init__(self, seed: int) -> None:
        super().__init__(synthetic_models, seed)
        self._kinds = (*self._kinds, self._depthwise, self._depthwise)

    def _depthwise(self, source: str, name: str) -> None:
        channels = self.shapes[source][0]
        self._builder.conv(source, name, (channels, 1, 3, 3), group=channels)
        self.shapes[name] = self.shapes[source]


def drawn(tasks: Mapping[str, UnitTask], draw: Random) -> dict[str, Any]:
    """A random schedule of some tasks; where a layer can stay on chip, often one that does so."""
    found = {}
    for name, own in tasks.items():
        work, machine = own.task.workload, own.unit.machine
        if draw.random() < 0.3:
            continue
        if isinstance(work, ConvWorkload) and isinstance(machine, VtaCore) and draw.random() < 0.7:
            geometry = machine.geometry
            programs = () if residency_violations(work, geometry) else first_programs(work)
            legal = [item for item in programs if not violations(work, item, geometry)]
            if legal:
                found[name] = draw.choice(legal)
                continue
        space = task_space(work, machine)
        points = space.sample(np.random.default_rng(draw.randrange(1 << 30)), 1)
        found[name] = space.decode(points[0].tolist())
    return found


def decided(
    quantized: QuantizedGraph, given: Configuration, target: Target, draw: Random
) -> Configuration:
    """The same with random schedules and ways of cutting."""
    layers = model_layers(quantized, target)
    own, cuts = model_tasks(layers, target), cut_tasks(layers, given.plan, target)
    known = drawn({**own, **{task.name: task for ways in cuts.values() for task in ways}}, draw)
    schedules = {name: schedule for name, schedule in known.items() if name in own}
    return replace(given, schedules=schedules, slicing=tuned_slicings(cuts, known, target))


@pytest.mark.parametrize(
    ("seed", "name"),
    [
        *FAST,
        *(
            pytest.param(seed, name, marks=pytest.mark.slow)
            for name in TARGETS
            for seed in range(100, 112)
            if (seed, name) not in FAST
        ),
    ],
)
def test_a_linked_plan_takes_what_its_package_takes(seed: int, name: str, tmp_path: Path) -> None:
    draw = Random(seed)
    path = tmp_path / "m.onnx"
    path.write_bytes(DepthwiseNetwork(seed).grow(10, newest=0.6))
    model, target = load_model(path), load_target(name)
    known, samples = target_arithmetic(target), noise_samples(model.graph)
    rough = prepare(model.graph, target, packaged=True)
    placements = [untuned(rough), all_npu(rough), tuple(map(draw.choice, rough.choices))]
    compared = 0
    for placement in placements:
        if misfits(rough, placement):
            continue
        order = draw.sample(range(len(placement)), draw.randint(0, len(placement)))
        merge = draw.random() < 0.7
        given = Configuration(
            plan=assignment_of(placement, rough.groups, target.places),
            launches=LaunchSettings(merge=merge),
            order=tuple(node for group in order for node in rough.groups.groups[group].nodes),
        )
        source = quantize_model(model, given, samples, arithmetic=known)
        given = decided(source.quantized, given, target, draw)
        evaluator = prepare(
            model.graph,
            target,
            schedules=given.schedules,
            joins_layers=merge,
            packaged=True,
            overlaps=lambda groups, given=given: overlaps_of(groups, target, given),  # type: ignore[misc]
        )
        try:
            built = compile_model(replace(source, configuration=given), target)
        except InfeasibleError:  # slices that do not fit side by side
            continue
        linked = compiled_plan(placement, evaluator.groups, target, given, None, order)
        tasks = [{x.name: x.task for x in made.report.layers} for made in (built, linked)]
        if tasks[0] != tasks[1]:  # a stand-in's numbers need other passes
            continue
        compared += 1
        found = evaluator.evaluate(placement, order or None)
        assert found.latency_ps == round(built.metrics.latency_ms * 1e9)
        assert found.npu_cycles == built.metrics.npu_cycles
        assert found.launches == built.metrics.launches
        assert found.energy_mj == pytest.approx(built.metrics.energy_mj, rel=1e-9)
    assert compared or (seed, name) not in FAST
