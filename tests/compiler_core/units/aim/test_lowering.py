"""Lowered products against the numbers of the specification, summed in the order that the schedule
says, and against mathematics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler_core.targets.load import load_target
from compiler_core.units.aim.lower.elements import element_launch
from compiler_core.units.aim.lower.layout import BankLayout
from compiler_core.units.aim.lower.matrix_vector import MatrixVectorLaunch, launches
from compiler_core.units.aim.lower.measure import measure
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.schedule.bound import bound_of, workload_bound
from compiler_core.units.aim.schedule.mapping import mapping_of
from compiler_core.units.aim.schedule.schedule import (
    ElementSchedule,
    Order,
    ProductSchedule,
    Side,
    Start,
)
from compiler_core.units.aim.schedule.workload import Activation, ElementProduct, MatrixVector
from compiler_core.units.aim.simulate.functional import Executor
from compiler_core.units.aim.simulate.memory import BankMemory
from compiler_core.units.aim.simulate.numbers import to_bits, to_float
from compiler_core.units.aim.verify.verify import verify
from search_spaces.task_space import task_space
from tests.compiler_core.units.aim import reference_functional as plain

MACHINE = AimMachine()
SMALL = AimMachine(channels=4, registers=160)


def run(
    w: MatrixVector, s: ProductSchedule, machine: AimMachine, matrix: Any, vectors: Any, bias: Any
) -> Any:
    """What the unit gives, ``float32[groups, vectors, heads, outputs]``."""
    layout = BankLayout(w, s)
    m = layout.mapping
    memory = BankMemory(machine)
    memory.load_banks(*layout.weights(to_bits(matrix)))
    blocks, begun = layout.inputs(vectors), layout.biases(bias)
    results = np.zeros((w.vectors, m.rounds, m.passes, m.used, 16), np.uint16)
    for launch in launches(layout, machine):
        assert verify(launch.program, machine) == ()
        _write(memory, launch, blocks, begun)
        Executor(memory).run(launch.program.records)
        for v in launch.extent.vectors:
            for r in launch.extent.rounds:
                for p in launch.extent.passes:
                    first = launch.result(v, r, p)
                    results[v, r, p] = memory.registers[first : first + m.used]
    return layout.results(results)


def _write(memory: BankMemory, launch: MatrixVectorLaunch, blocks: Any, begun: Any) -> None:
    memory.registers[:] = 0xFFFF  # what a program reads was written before
    extent, s = launch.extent, launch.layout.schedule
    for v in extent.vectors:
        for head in range(extent.rounds.start * s.heads, extent.rounds.stop * s.heads):
            if head < launch.layout.workload.heads:
                first = launch.input(v, head, 0)
                memory.registers[first : first + blocks.shape[2]] = blocks[v, head]
    if not launch.layout.workload.bias:
        memory.registers[launch.input_registers : launch.first_result] = 0
        return
    for v in extent.vectors:
        for r in extent.rounds:
            for p in extent.passes:
                first = launch.result(v, r, p)
                memory.registers[first : first + begun.shape[2]] = begun[r, p]


def expected(
    w: MatrixVector, s: ProductSchedule, weights: Any, inputs: Any, bias: float, o: int, width: int
) -> list[int]:
    """One output of every group, as bits, a number at a time."""
    columns = width * s.groups
    row = np.zeros(16 * columns, np.float32)
    x = row.copy()
    row[: w.inputs], x[: w.inputs] = weights, inputs
    one, other = to_bits(row).reshape(-1, 16).tolist(), to_bits(x).reshape(-1, 16).tolist()
    chunks = -(-width // 64)
    found = []
    for group in range(s.groups):
        acc = plain.value(int(to_bits(np.array([bias]))[0])) if group == 0 else np.float32(0)
        order = list(range(chunks))
        if s.order is Order.SERPENTINE and (o // 16 // s.channels) % 2:
            order.reverse()
        for number, chunk in enumerate(order):
            if number and s.order in (Order.INPUT, Order.ROW):
                acc = plain.value(plain.bits(acc))
            for c in range(64 * chunk, min(width, 64 * (chunk + 1))):
                place = group * width + c
                acc = np.float32(acc + plain.dot(one[place], other[place]))
        found.append(acc)
    if s.reduction is Side.UNIT and s.groups > 1:
        total = plain.value(plain.bits(found[0]))
        for acc in found[1:]:
            part = plain.value(plain.bits(acc))
            total = plain.value(plain.bits(np.float32(total + part)))
        found[0] = total
    if s.activation is Side.UNIT and w.activations:
        each = w.outputs // w.parts
        function = w.activations[o // each].function
        found[0] = plain.activation(found[0], int(function))
    return [plain.bits(acc) for acc in found]


CASES = [
    (MatrixVector(40, 70), ProductSchedule(1, 2)),
    (MatrixVector(40, 70, bias=True), ProductSchedule(3, 2, buffer_cut=1, start=Start.BUFFER)),
    (MatrixVector(70, 40, vectors=3, bias=True), ProductSchedule(1, 2, packed=4, order=Order.ROW)),
    (MatrixVector(70, 40, vectors=2), ProductSchedule(2, 1, packed=3, reduction=Side.CPU)),
    (MatrixVector(48, 1100, bias=True), ProductSchedule(1, 2, order=Order.INPUT, packed=2)),
    (MatrixVector(48, 1100, bias=True), ProductSchedule(1, 2, order=Order.OUTPUT)),
    (MatrixVector(72, 2100, bias=True), ProductSchedule(1, 2, order=Order.SERPENTINE)),
    (MatrixVector(80, 1100, vectors=2), ProductSchedule(1, 2, order=Order.ROW, packed=2)),
    (MatrixVector(20, 30, heads=5, bias=True), ProductSchedule(1, 1, heads=2, packed=2)),
    (MatrixVector(20, 50, heads=3, vectors=2), ProductSchedule(2, 1, heads=3)),
    (
        MatrixVector(64, 40, bias=True, activations=tuple(Activation)[:4]),
        ProductSchedule(1, 1, activation=Side.UNIT, packed=2),
    ),
    (
        MatrixVector(32, 1050, bias=True, activations=(Activation.TANH,)),
        ProductSchedule(1, 1, order=Order.INPUT, activation=Side.UNIT),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(CASES)))
def test_bits(case: int) -> None:
    w, s = CASES[case]
    rng = np.random.default_rng(case)
    matrix = rng.normal(size=(w.heads, w.outputs, w.inputs)).astype(np.float32)
    vectors = rng.normal(size=(w.vectors, w.heads, w.inputs)).astype(np.float32)
    bias = rng.normal(size=(w.heads, w.outputs)).astype(np.float32) * w.bias
    found = run(w, s, MACHINE, matrix, vectors, bias)
    width = BankLayout(w, s).mapping.width
    for v, h in np.ndindex(w.vectors, w.heads):
        for o in range(0, w.outputs, 7):
            want = expected(w, s, matrix[h, o], vectors[v, h], bias[h, o], o, width)
            got = to_bits(found[:, v, h, o]).tolist()
            kept = 1 if s.reduction is Side.UNIT else s.groups
            assert got[:kept] == want[:kept], (v, h, o)


def _near(found: Any, w: MatrixVector, s: ProductSchedule, matrix: Any, x: Any, bias: Any) -> None:
    sums = found.sum(axis=0) if s.reduction is Side.CPU else found[0]
    exact = np.einsum(
        "hoi,vhi->vho", to_float(to_bits(matrix)).astype(float), to_float(to_bits(x)).astype(float)
    )
    exact += to_float(to_bits(bias))
    if s.activation is Side.UNIT and w.activations:
        each = w.outputs // w.parts
        for number, activation in enumerate(w.activations):
            part = slice(number * each, (number + 1) * each)
            exact[..., part] = [
                [[plain.activation(np.float32(y), int(activation.function)) for y in head]
                 for head in vector] for vector in exact[..., part]
            ]  # fmt: skip
    size = np.sqrt(w.inputs) + 1
    assert np.abs(sums - exact).max() <= 0.03 * size


WORKLOADS = [
    MatrixVector(100, 1300, vectors=2, bias=True),
    MatrixVector(33, 17),
    MatrixVector(1, 1, bias=True),
    MatrixVector(250, 300, vectors=3),
    MatrixVector(60, 200, heads=7, vectors=2),
    MatrixVector(96, 130, bias=True, activations=(Activation.SIGMOID, Activation.TANH)),
    MatrixVector(24, 2100, activations=(Activation.GELU,), bias=True),
]


@pytest.mark.parametrize("machine", [MACHINE, SMALL], ids=["whole", "small"])
@pytest.mark.parametrize("number", range(len(WORKLOADS)))
def test_schedules_of_the_space(number: int, machine: AimMachine) -> None:
    w = WORKLOADS[number]
    rng = np.random.default_rng(number)
    matrix = rng.normal(size=(w.heads, w.outputs, w.inputs)).astype(np.float32)
    vectors = rng.normal(size=(w.vectors, w.heads, w.inputs)).astype(np.float32)
    bias = rng.normal(size=(w.heads, w.outputs)).astype(np.float32) * w.bias
    space = task_space(w, machine)
    for point in space.sample(rng, 6).tolist():
        s = space.decode(point)
        found = run(w, s, machine, matrix, vectors, bias)
        _near(found, w, s, matrix, vectors, bias)
        assert measure(w, s, machine).cycles >= bound_of_schedule(w, s, machine)


def bound_of_schedule(w: MatrixVector, s: ProductSchedule, machine: AimMachine) -> int:
    space = task_space(w, machine)
    row = np.array([space.row(s)])
    groups, channels, heads, order, packed, activation = row[:, :6].T
    mapping = mapping_of(w, groups, channels, heads, order, packed, activation)
    least = int(bound_of(mapping, machine)[0])
    assert workload_bound(w, machine).cycles <= least
    return least


def test_registers_are_enough_or_work_is_cut() -> None:
    w = MatrixVector(640, 64, vectors=2, bias=True)
    layout = BankLayout(w, ProductSchedule(1, 4))
    whole, cut = launches(layout, MACHINE), launches(layout, AimMachine(channels=4, registers=48))
    assert len(whole) == 1 < len(cut)
    extents = [
        (v, r, p) for x in cut for v in x.extent.vectors for r in x.extent.rounds
        for p in x.extent.passes
    ]  # fmt: skip
    assert sorted(extents) == [(v, 0, p) for v in range(2) for p in range(10)]
    assert all(x.first_result + x.result_registers <= 48 for x in cut)
    cost = measure(w, ProductSchedule(1, 4), AimMachine(channels=4, registers=48))
    assert cost.modules["channels"]["launches"] == len(cut)


def test_addresses_do_not_overlap() -> None:
    for w, s in CASES:
        layout = BankLayout(w, s, first_row=5)
        addresses, blocks = layout.weights(np.ones((w.heads, w.outputs, w.inputs), np.uint16))
        assert len(np.unique(addresses, axis=0)) == len(addresses) == len(blocks)
        assert addresses[:, 2].min() == 5
        assert addresses[:, 2].max() < 5 + layout.mapping.rows


@pytest.mark.parametrize("schedule", [ElementSchedule(3), ElementSchedule(2, 1, 16)])
def test_element_products(schedule: ElementSchedule) -> None:
    w = ElementProduct(5000)
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, w.elements)).astype(np.float32)
    launch = element_launch(w, schedule, MACHINE)
    memory = BankMemory(MACHINE)
    memory.load_banks(launch.places(0), launch.blocks(one))
    memory.load_banks(launch.places(1), launch.blocks(other))
    assert verify(launch.program, MACHINE) == ()
    Executor(memory).run(launch.program.records)
    found = [memory.row(c, r)[b, k] for c, b, r, k in launch.places(2).tolist()]
    exact = to_bits(to_float(to_bits(one)) * to_float(to_bits(other)))
    assert np.array_equal(np.concatenate(found)[: w.elements], exact)


@pytest.mark.parametrize(
    ("outputs", "inputs", "most"),
    [(4096, 4096, 9300), (1024, 4096, 2430), (11008, 4096, 24750)],
)
def test_known_products(outputs: int, inputs: int, most: int) -> None:
    machine = load_target("aim-gddr6").npu
    schedule = ProductSchedule(4, 8, buffer_cut=32)
    w = MatrixVector(outputs, inputs)
    cost = measure(w, schedule, machine)
    assert bound_of_schedule(w, schedule, machine) <= cost.cycles <= most
