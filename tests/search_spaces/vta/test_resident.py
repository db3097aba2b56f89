"""Programs of layers that stay on chip: where the search starts, and what it may reach."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.legality.legality import violations
from compiler_core.units.vta.lower.layer import lower_layer
from compiler_core.units.vta.schedule.resident_schedule import ResidentSchedule, parse_steps
from search_spaces.vta.resident import first_programs, neighbour

GEOMETRY = load_target("vta").npu.geometry
LAYER = ConvWorkload(
    1, 48, 6, 6, 48, Window((3, 3), (1, 1), (1, 1, 1, 1)), 48, Epilogue(17, True, True, True)
)
LAYERS = [
    LAYER,
    replace(LAYER, in_channels=16, out_channels=16, groups=16),
    replace(LAYER, in_height=1, in_width=1, window=Window((1, 1))),
    replace(LAYER, window=Window((3, 3), (2, 2), (0, 0, 1, 1))),
    replace(LAYER, in_channels=20, out_channels=20, groups=20, in_height=9),
    replace(LAYER, in_channels=112, out_channels=112),
    replace(LAYER, in_channels=144, out_channels=144, window=Window((2, 3), (2, 2), (0, 0, 0, 1))),
]
LAYERS = [replace(layer, groups=layer.in_channels) for layer in LAYERS]


@pytest.mark.parametrize("workload", LAYERS)
def test_first_programs_are_legal(workload: ConvWorkload) -> None:
    programs = first_programs(workload)
    assert len(set(programs)) == len(programs) > 1
    for program in programs:
        assert violations(workload, program, GEOMETRY) == ()


@settings(max_examples=40)
@given(st.sampled_from(LAYERS), st.integers(0, 10_000))
def test_neighbours_that_are_legal_can_be_lowered(workload: ConvWorkload, seed: int) -> None:
    r = random.Random(seed)
    program, legal = r.choice(first_programs(workload)), 0
    for _ in range(60):
        near = neighbour(program, workload, r)
        parse_steps(near.loads)
        if not violations(workload, near, GEOMETRY):
            legal += near != program
            program = near
    assert legal
    lower_layer(workload, program, GEOMETRY)


def test_every_kind_of_move_is_made() -> None:
    workload, r = LAYERS[0], random.Random(3)
    start = ResidentSchedule("W0-2 I0-1 I2[0:2] I2[2:6]", "B0-1 B2 T0-1 M2 Q0-2")
    assert violations(workload, start, GEOMETRY) == ()
    seen = {neighbour(start, workload, r) for _ in range(4000)}
    legal = {near for near in seen if not violations(workload, near, GEOMETRY)}
    loads, steps = {near.loads for near in legal}, {near.steps for near in legal}
    assert "I0-1 W0-2 I2[0:2] I2[2:6]" in loads
    assert "W0 W1-2 I0-1 I2[0:2] I2[2:6]" in loads
    assert "W0-2 I0-1 I2" in loads
    assert "B0-2 T0-1 M2 Q0-2" in steps
    assert "B0-1 B2 M0-1 M2 Q0-2" in steps
    assert "B0-1 B2 T0-2 Q0-2" in steps
    assert "B0-1 B2 T0-1 M2 Q0 Q1-2" in steps
    assert "B0-1 T0-1 B2 M2 Q0-2" in steps
    assert "B0-1 B2 U T0-1 M2 Q0-2" in steps
    assert "B0-1 B2 T0-1 M2[0:3] M2[3:6] Q0-2" in steps
