"""Key-value caches that stay in the banks: rows that runs write, against sums without programs; and
models that keep such caches, in packages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.compile.sources import FloatModel, load_model
from compiler_core.errors import InputError
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.package.reader import read_package
from compiler_core.package.writer import write_package
from compiler_core.partition.best import find_best, prepare
from compiler_core.partition.evaluate import Evaluator
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.targets.load import load_target
from compiler_core.units.aim.device.device import Device, ResidentProduct
from compiler_core.units.aim.documents import DOCUMENTS
from compiler_core.units.aim.lower.layout import BankLayout
from compiler_core.units.aim.lower.matrix_vector import launches
from compiler_core.units.aim.lower.measure import measure
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.model.reference import reference_product
from compiler_core.units.aim.schedule.default import default_schedule
from compiler_core.units.aim.schedule.legality import violations
from compiler_core.units.aim.schedule.schedule import Order, ProductSchedule, Side
from compiler_core.units.aim.schedule.workload import MatrixVector
from compiler_core.units.aim.simulate.memory import BankMemory
from compiler_core.units.aim.simulate.numbers import to_bits
from compiler_core.units.aim.simulate.timing import time_program
from compiler_core.units.aim.verify.verify import verify
from tests.compiler_core.partition.agreement import compiled, require_agreement
from tests.compiler_core.units.aim.attention_models import STATES, Attention
from tests.compiler_core.units.aim.damaged_parts import require_refused, written_again

MACHINE = AimMachine()


@st.composite
def written(draw: st.DrawFn) -> tuple[MatrixVector, ProductSchedule]:
    """Matrices of which runs write rows, and a legal schedule."""
    outputs, inputs = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    keys = draw(st.booleans())
    rows = draw(st.sampled_from([1, 2, 10**6]))
    work = MatrixVector(
        outputs,
        inputs,
        draw(st.integers(1, 3)),
        draw(st.integers(1, 5)),
        written_outputs=min(rows, outputs) if keys else 0,
        written_inputs=0 if keys else min(rows, inputs),
    )
    schedule = ProductSchedule(
        draw(st.integers(1, 3)),
        draw(st.integers(1, 4)),
        draw(st.integers(1, 5)),
        draw(st.sampled_from(list(Order))),
        draw(st.integers(1, 4)),
        reduction=draw(st.sampled_from(list(Side))),
    )
    if violations(work, schedule, MACHINE):
        found = default_schedule(work, MACHINE)
        assert isinstance(found, ProductSchedule)
        return work, found
    return work, schedule


@settings(max_examples=40, deadline=None)
@given(written(), st.integers(0, 2**32 - 1), st.sampled_from(["put", "slide", "new"]))
def test_what_is_written_is_multiplied(
    own: tuple[MatrixVector, ProductSchedule], seed: int, way: str
) -> None:
    work, schedule = own
    random, device = np.random.default_rng(seed), Device(MACHINE)
    product = ResidentProduct(device, work, schedule, None)
    axis, count = (1, work.written_outputs) if work.written_outputs else (2, work.written_inputs)
    matrix = np.zeros((work.heads, work.outputs, work.inputs), np.float32)
    cycles = measure(work, schedule, MACHINE).cycles
    for _ in range(4):
        fresh = random.normal(size=matrix.shape).astype(np.float32)
        if way == "put":
            at = random.choice(matrix.shape[axis], count, replace=False)
            np.moveaxis(matrix, axis, 0)[at] = np.moveaxis(fresh, axis, 0)[at]
        elif way == "slide":
            matrix = np.roll(matrix, -count, axis)
            np.moveaxis(matrix, axis, 0)[-count:] = np.moveaxis(fresh, axis, 0)[-count:]
        else:
            matrix = fresh
        vectors = random.normal(size=(work.vectors, work.heads, work.inputs)).astype(np.float32)
        before = device.cycles
        found = product.run(vectors, to_bits(matrix))
        bias = np.zeros((work.heads, work.outputs), np.uint16)
        known = reference_product(product.layout, MACHINE, to_bits(matrix), bias, vectors)
        assert found.tobytes() == known.tobytes()
        if count in (1, matrix.shape[axis]):
            assert device.cycles - before == cycles  # wherever a row is


@settings(max_examples=40, deadline=None)
@given(written())
def test_programs_that_write_keep_the_rules_and_issue_every_write(
    own: tuple[MatrixVector, ProductSchedule],
) -> None:
    for launch in launches(BankLayout(*own), MACHINE):
        assert verify(launch.program, MACHINE) == ()
        issued = time_program(launch.program.records, MACHINE).commands
        assert issued.get("WR", 0) + issued.get("WRA16", 0) == len(launch.written)


def test_more_rows_than_there_are_registers_take_launches_of_their_own() -> None:
    work = MatrixVector(64, 640, heads=8, written_inputs=640)
    schedule = default_schedule(work, MACHINE)
    found = launches(BankLayout(work, schedule), MACHINE)  # type: ignore[arg-type]
    assert [len(launch.written) for launch in found] == [4096] * 5 + [0]
    assert all(launch.registers <= MACHINE.registers for launch in found)


@pytest.mark.parametrize(
    "rows", [{"written_outputs": 9}, {"written_outputs": 1, "written_inputs": 1}, {"bias": True}]
)
def test_rows_that_no_matrix_has_are_refused(rows: dict[str, Any]) -> None:
    value = {"outputs": 8, "inputs": 8, "written_outputs": 1, **rows}
    with pytest.raises(InputError, match="written"):
        DOCUMENTS.workload(value, "here")


def _model(shape: Attention, folder: Path) -> FloatModel:
    onnx.save(shape.model(), folder / "m.onnx")
    return load_model(folder / "m.onnx")


def _steps(shape: Attention, count: int, *, seed: int = 0) -> dict[str, Any]:
    """Samples of a text, with the states that the float model has."""
    random = np.random.default_rng(seed)
    session = onnxruntime.InferenceSession(
        shape.model().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [item.name for item in session.get_outputs()]
    state = {name: np.zeros(shape.cache, np.float32) for name in STATES.values()}
    every: list[dict[str, Any]] = []
    for step in range(count):
        feeds = {**shape.feeds(random, step * shape.rows), **state}
        results = dict(zip(names, session.run(None, feeds), strict=True))
        every.append(feeds)
        state = {name: results[given] for given, name in STATES.items()}
    return {name: np.concatenate([feeds[name] for feeds in every]) for name in every[0]}


SHAPES = [
    Attention(),
    Attention("nd", heads=2, tokens=33, size=16),
    Attention("window"),
    Attention("window", heads=5, tokens=9, size=20, rows=3, tokens_first=True),
    Attention("elements", tokens=40, rows=2, tokens_first=True),
    Attention("elements", heads=2, tokens=19, shared=3),
    Attention("window", heads=1, tokens=7, rows=2, shared=4),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.form}-{shape.tokens}")
@pytest.mark.parametrize("target_name", ["vta-aim", "aim-gddr6"])
def test_a_package_keeps_its_caches(
    shape: Attention, target_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, target = _model(shape, tmp_path), load_target(target_name)
    evaluator = prepare(model.graph, target, packaged=True)
    at = evaluator.costs.places.numbers["aim"]
    found = {group.name: group for group in evaluator.groups.groups}
    assert all(at in evaluator.choices[found[name].index] for name in ("ask", "mix"))
    placement = tuple(at if at in choices else 0 for choices in evaluator.choices)
    built = compiled(model, evaluator, placement, target)
    promised = evaluator.evaluate(placement)
    require_agreement(built, evaluator, promised, target_name)
    names = {layer.name for layer in built.report.layers}
    assert not {*STATES, *STATES.values()} & names  # no cache crosses
    data = _steps(shape, 6)
    outputs, difference = run_checked(built.executable, Simulator(built.executable), data)
    assert difference is None
    untuned = ReferenceExecutor(built.source.quantized).run(data)
    write_package(built, tmp_path / "package", {})
    again = read_package(tmp_path / "package").executable
    loads = []
    load = BankMemory.load_banks
    monkeypatch.setattr(
        BankMemory, "load_banks", lambda *own, **named: loads.append(1) or load(*own, **named)
    )
    read, difference = run_checked(again, Simulator(again), data)
    assert difference is None
    assert not loads  # every run wrote no more than its program does
    # Runs that do not follow one another, on several devices, have the same bits.
    scattered, _ = run_checked(again, Simulator(again, threads=2), data)
    for name, values in outputs.items():
        assert read[name].tobytes() == values.tobytes() == scattered[name].tobytes(), name
        assert untuned[name].tobytes() == values.tobytes(), name


@pytest.mark.parametrize("seed", range(3))
def test_any_placement_of_a_cache_takes_what_its_plan_promised(seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    shape = replace(SHAPES[seed], heads=4)
    model, target = _model(shape, tmp_path), load_target("vta-aim")
    evaluator = prepare(model.graph, target, packaged=True)
    placement = tuple(int(random.choice(own)) for own in evaluator.choices)
    built = compiled(model, evaluator, placement, target)
    require_agreement(built, evaluator, evaluator.evaluate(placement), str(placement))
    assert run_checked(built.executable, Simulator(built.executable), _steps(shape, 3))[1] is None


def test_a_cache_that_something_else_reads_stays_with_the_cpu(tmp_path: Path) -> None:
    model, target = _model(Attention(peeked=True), tmp_path), load_target("aim-gddr6")
    evaluator = prepare(model.graph, target, packaged=True)
    at = evaluator.costs.places.numbers["aim"]
    found = {group.name: group for group in evaluator.groups.groups}
    assert at not in evaluator.choices[found["ask"].index]
    assert at in evaluator.choices[found["mix"].index]


def test_long_texts_go_to_the_memory_by_themselves(tmp_path: Path) -> None:
    model = _model(Attention(heads=8, tokens=1024, size=64), tmp_path)
    evaluator = prepare(model.graph, load_target("aim-gddr6"), packaged=True)
    names = evaluator.costs.places.names
    best = find_best(evaluator).optimum.placement
    found = {g.name: names[p] for g, p in zip(evaluator.groups.groups, best, strict=True)}
    assert found["ask"] == found["mix"] == "aim"
    alone = Evaluator(
        evaluator.groups,
        replace(
            evaluator.costs, groups=tuple(replace(own, at={}) for own in evaluator.costs.groups)
        ),
    )
    assert evaluator.latency_ps(best) < 0.5 * alone.latency_ps((0,) * len(best))


def test_damaged_caches_are_refused(tmp_path: Path) -> None:
    model, target = _model(Attention(), tmp_path), load_target("aim-gddr6")
    evaluator = prepare(model.graph, target, packaged=True)
    at = evaluator.costs.places.numbers["aim"]
    placement = tuple(at if at in choices else 0 for choices in evaluator.choices)
    executable = compiled(model, evaluator, placement, target).executable
    entry, files = written_again(executable)
    changes = (
        (b'"axis": 2', b'"axis": 1', "rows of shape"),
        (b'"update": "elements"', b'"update": "window"', "places of shape"),
        (b'"update": "elements"', b'"update": "sideways"', "update"),
        (b'"places": "place"', b'"places": ""', "not told whole"),
        (b'"past": "keys"', b'"past": "locks"', "which nobody computes"),
        (b'"written_outputs": 1', b'"written_outputs": 2', "program|takes"),
    )
    require_refused(entry, files, changes)
