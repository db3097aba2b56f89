"""Spaces of an AiM unit: what search finds in them, and that it is the best there is."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.targets.load import load_target
from compiler_core.tensor.task import Task
from compiler_core.units.aim.lower.layout import BankLayout
from compiler_core.units.aim.lower.matrix_vector import launches
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.schedule.mapping import mapping_of
from compiler_core.units.aim.schedule.workload import Activation, MatrixVector
from compiler_core.units.aim.simulate.requests import requests_of
from compiler_core.units.aim.simulate.timing import time_program
from nest_tune.tuning.tune import MeasurementBudget, tune_task
from search_spaces.task_space import task_space

MACHINE: AimMachine = load_target("aim-gddr6").npu
GATES = (Activation.SIGMOID, Activation.SIGMOID, Activation.SIGMOID, Activation.TANH)
SHAPES = [
    (MatrixVector(4096, 4096), 9300),
    (MatrixVector(1024, 4096), 2430),
    (MatrixVector(11008, 4096), 24750),
    (MatrixVector(1000, 2048), None),
    (MatrixVector(1000, 1280, bias=True), None),
    (MatrixVector(777, 3333, bias=True), None),
    (MatrixVector(1024, 512, bias=True, activations=GATES), None),
    (MatrixVector(512, 512, vectors=4), None),
    (MatrixVector(2048, 128, heads=8), None),
    (MatrixVector(100, 1100, vectors=3), None),
]


@pytest.mark.parametrize(("workload", "most"), SHAPES)
def test_search_finds_the_optimum(workload: MatrixVector, most: int | None) -> None:
    task = Task("aim", workload)
    searched = tune_task(task, MACHINE, budget=MeasurementBudget(trials=32))
    assert searched.measurements <= 32
    optimum = tune_task(task, MACHINE, exhaustive=True)
    assert optimum.proven
    assert searched.best_cycles <= 1.01 * optimum.best_cycles
    assert searched.bound_cycles <= optimum.best_cycles <= searched.default_cycles
    assert most is None or searched.best_cycles <= most


@pytest.mark.parametrize("seed", range(6))
def test_the_mapping_counts_what_programs_do(seed: int) -> None:
    rng = np.random.default_rng(seed)
    outputs, inputs, vectors, heads = (int(rng.integers(1, k)) for k in (300, 1500, 4, 4))
    w = MatrixVector(outputs, inputs, vectors, heads, bias=bool(seed % 2))
    space = task_space(w, MACHINE)
    for point in space.sample(rng, 8).tolist():
        s = space.decode(point)
        if heads % s.heads:
            continue  # channels of missing heads do less
        row = np.array([space.row(s)])
        groups, channels, together, order, packed, activation = row[:, :6].T
        mapping = mapping_of(w, groups, channels, together, order, packed, activation)
        (launch,) = launches(BankLayout(w, s), MACHINE)
        requests = requests_of(launch.program.records, MACHINE.channels)
        issued = time_program(launch.program.records, MACHINE).class_commands
        most = issued.max(axis=0)
        assert len(requests.sizes) >= 1
        assert most[7] == mapping.products[0], "columns that are multiplied"
        assert most[1] == mapping.opened[0], "rows that are opened"
        assert most[13] == mapping.sums[0], "times that accumulators are taken"
        assert most[12] == mapping.buffered[0], "columns of the buffer"
