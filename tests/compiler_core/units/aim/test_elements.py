"""Products of two tensors of a model, element by element, on the unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.compile.sources import FloatModel, load_model, noise_samples
from compiler_core.errors import InfeasibleError, InputError
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.executable.executable import units_of
from compiler_core.package.reader import read_package
from compiler_core.package.writer import write_package
from compiler_core.partition.best import find_best, on_first_units, prepare
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.targets.load import load_target
from compiler_core.units.aim.device.device import Device, ResidentElements
from compiler_core.units.aim.lower.elements import ElementLaunch, element_launch
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.parts import PARTS
from compiler_core.units.aim.schedule.bound import workload_bound
from compiler_core.units.aim.schedule.default import default_schedule
from compiler_core.units.aim.schedule.legality import violations
from compiler_core.units.aim.schedule.schedule import ElementSchedule
from compiler_core.units.aim.schedule.workload import ElementProduct
from compiler_core.units.aim.simulate.numbers import multiplied, to_bits, to_float
from compiler_core.units.aim.simulate.timing import time_program
from compiler_core.units.aim.verify.verify import verify
from compiler_core.units.facets.parts import SegmentEntry
from tests.compiler_core.partition.agreement import compiled, require_agreement

MACHINE = AimMachine()


@st.composite
def crossing(draw: st.DrawFn) -> tuple[ElementProduct, ElementSchedule]:
    """Vectors that cross, and a legal schedule."""
    work = ElementProduct(draw(st.integers(1, 3000)), crosses=True)
    channels, groups = draw(st.integers(1, 32)), draw(st.sampled_from([1, 4]))
    found = ElementSchedule(channels, groups, draw(st.sampled_from([8, 16, 64])))
    if violations(work, found, MACHINE):
        usual = default_schedule(work, MACHINE)
        assert isinstance(usual, ElementSchedule)
        return work, usual
    return work, found


@settings(max_examples=40, deadline=None)
@given(crossing(), st.integers(0, 2**32 - 1))
def test_programs_write_multiply_and_read(
    own: tuple[ElementProduct, ElementSchedule], seed: int
) -> None:
    work, schedule = own
    random, device = np.random.default_rng(seed), Device(MACHINE)
    launch = ElementLaunch(work, schedule, first_row=int(random.integers(0, 9)))
    assert verify(launch.program, MACHINE) == ()
    timing = time_program(launch.program.records, MACHINE)
    assert timing.commands["WR"] == 2 * work.blocks
    assert timing.commands["RD"] == work.blocks
    assert timing.cycles >= workload_bound(work, MACHINE).cycles
    resident = ResidentElements(device, launch)
    for _ in range(2):
        left, right = random.normal(size=(2, 1, 1, work.elements)).astype(np.float32)
        found = resident.run(left, to_bits(right))
        assert found.tobytes() == to_float(multiplied(to_bits(left), to_bits(right))).tobytes()


def test_more_than_the_registers_hold_is_refused() -> None:
    most = MACHINE.registers // 3 * 16
    schedule = ElementSchedule(32, 4)
    element_launch(ElementProduct(most, crosses=True), schedule, MACHINE)
    element_launch(ElementProduct(most + 1), schedule, MACHINE)
    with pytest.raises(InfeasibleError, match="registers"):
        element_launch(ElementProduct(most + 1, crosses=True), schedule, MACHINE)


def gated_model(inputs: int, size: int) -> Any:
    """Two dense layers whose results are multiplied, and one behind."""
    random = np.random.default_rng(0)
    weights = {"gate": (inputs, size), "up": (inputs, size), "down": (size, inputs)}
    constants = [
        onnx.numpy_helper.from_array(
            random.normal(size=shape, scale=shape[0] ** -0.5).astype(np.float32), name
        )
        for name, shape in weights.items()
    ]
    nodes = [
        oh.make_node("MatMul", ["x", "gate"], ["g"], "gating"),
        oh.make_node("MatMul", ["x", "up"], ["u"], "upwards"),
        oh.make_node("Mul", ["g", "u"], ["m"], "meeting"),
        oh.make_node("MatMul", ["m", "down"], ["d"], "downwards"),
        oh.make_node("Mul", ["d", "d"], ["y"], "squared"),
    ]
    graph = oh.make_graph(
        nodes,
        "gated",
        [oh.make_tensor_value_info("x", 1, [1, inputs])],
        [oh.make_tensor_value_info("y", 1, [1, inputs])],
        constants,
    )
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)


def _model(folder: Path, inputs: int, size: int) -> FloatModel:
    onnx.save(gated_model(inputs, size), folder / "m.onnx")
    return load_model(folder / "m.onnx")


def test_a_package_multiplies_tensors(tmp_path: Path) -> None:
    model, target = _model(tmp_path, 40, 70), load_target("aim-gddr6")
    evaluator = prepare(model.graph, target, packaged=True)
    at = evaluator.costs.places.numbers["aim"]
    assert all(at in choices for choices in evaluator.choices)
    placement = (at,) * len(evaluator.choices)
    built = compiled(model, evaluator, placement, target)
    require_agreement(built, evaluator, evaluator.evaluate(placement), "all on the unit")
    data = noise_samples(model.graph, 3)
    outputs, difference = run_checked(built.executable, Simulator(built.executable), data)
    assert difference is None
    untuned = ReferenceExecutor(built.source.quantized).run(data)
    assert untuned["y"].tobytes() == outputs["y"].tobytes()
    write_package(built, tmp_path / "package", {})
    again = read_package(tmp_path / "package").executable
    read, difference = run_checked(again, Simulator(again, threads=2), data)
    assert difference is None
    assert read["y"].tobytes() == outputs["y"].tobytes()
    (segment,) = again.unit_segments["aim"]
    units = units_of(again.target, again.unit_of(segment))
    entry = SegmentEntry(segment.name, segment.inputs, segment.outputs, (), {}, 0, units)
    files = PARTS.files(segment)
    assert PARTS.files(PARTS.read(entry, files, "here")) == files
    assert sum(line.startswith("elements") for line in PARTS.tensors(segment)) == 2
    for old, new, message in (
        (b'"elements": 70', b'"elements": 71', "program|elements for tensors"),
        (b'"crosses": true', b'"crosses": false', "program|elements for tensors"),
        (b'"right": "u"', b'"right": "v"', "which nobody computes"),
        (b'"kind": "elements"', b'"kind": "dense"', "work"),
    ):
        assert old in files["aim.json"], old
        damaged = files["aim.json"].replace(old, new, 1)
        with pytest.raises(InputError, match=message):
            PARTS.read(entry, {**files, "aim.json": damaged}, "here")


def test_plans_leave_them_to_the_cpu(tmp_path: Path) -> None:
    model, target = _model(tmp_path, 512, 1024), load_target("aim-gddr6")
    evaluator = prepare(model.graph, target, packaged=True)
    names = evaluator.costs.places.names
    for placement in (find_best(evaluator).optimum.placement, on_first_units(evaluator)):
        found = {g.name: names[p] for g, p in zip(evaluator.groups.groups, placement, strict=True)}
        assert found["meeting"] == found["squared"] == "cpu"
        assert found["gating"] == found["upwards"] == "aim"
