"""Products of two activations: every schedule gives the bits of plain loops, on every core."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from compiler_core.files.plain import to_plain
from compiler_core.units.cpu.c.arithmetic.weighted import WeightedRequantization
from compiler_core.units.cpu.c.bundles.bundle import (
    scheduled_bundle,
    write_bundle,
    write_sources_of,
)
from compiler_core.units.cpu.c.bundles.cores import CORES, check, count, missing
from compiler_core.units.cpu.c.network import Network, Operator, Type, Value
from compiler_core.units.cpu.c.operators.weighted import MatrixProduct
from compiler_core.units.cpu.c.schedules.legality import illegal
from compiler_core.units.cpu.c.schedules.schedule import PORTABLE, choices, refusal
from compiler_core.units.cpu.c.schedules.workload import ProductKernel, network_of, workload_of
from compiler_core.units.cpu.c.search.alone import alone
from compiler_core.units.cpu.documents import DOCUMENTS
from tests.compiler_core.units.cpu.c.test_schedules import SANITIZERS
from tests.compiler_core.units.cpu.c.test_tasks import MACHINES, schedules_of

SIZES = [(1, 4, 16, 8), (2, 5, 19, 7), (3, 9, 33, 5), (1, 1, 3, 1), (2, 8, 64, 12), (1, 3, 2, 9)]
"""Batch, rows, depth, columns."""
OFFSETS = [(0, 0), (128, 0), (0, -9), (17, -30)]
ENDS = [(3, -128, 127), (4, 0, 127), (-5, -100, 90)]


def products() -> tuple[Network, list[dict[str, np.ndarray]]]:
    """Products of all sizes, zero points and clamps side by side, and samples of theirs."""
    values: dict[str, Value] = {}
    operators: list[Operator] = []
    cases = [*product(SIZES, OFFSETS[3:], ENDS[:1]), *product(SIZES[1:2], OFFSETS, ENDS)]
    for number, ((batch, rows, depth, columns), offsets, ends) in enumerate(cases):
        names = (f"a{number}", f"b{number}", f"y{number}")
        shapes = (batch, rows, depth), (batch, depth, columns), (batch, rows, columns)
        for name, shape in zip(names, shapes, strict=True):
            values[name] = Value(name, name, shape, Type("int8", 1.0))
        scaling = WeightedRequantization(np.array(1_300_000_000), np.array(-6 - number % 5), *ends)
        operators.append(MatrixProduct(names[2], names[:2], names[2], offsets, scaling))
    inputs = tuple(name for item in operators for name in item.inputs)
    outputs = tuple(item.output for item in operators)
    axes = dict.fromkeys(values, (0, 1, 2))
    network = Network("products", values, inputs, outputs, inputs + outputs, axes, tuple(operators))
    random = np.random.default_rng(1)
    fed = [
        {name: random.integers(-128, 128, values[name].shape).astype(np.int8) for name in inputs}
        for _ in range(2)
    ]
    return network, fed


@pytest.mark.parametrize("core", MACHINES)
@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 2, 3))])
def test_all_schedules_give_the_same_bits(
    seed: int, core: str, tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    network, fed = products()
    random = np.random.default_rng(seed)
    chosen = {}
    for operator in network.operators:
        known = schedules_of(network, operator, core)
        chosen[operator.output] = known[random.integers(len(known))]
    write_bundle(scheduled_bundle(network, "products", chosen), tmp_path, fed)
    assert "2 of 2" in check_bundle(tmp_path, "gcc", *SANITIZERS)
    assert "2 of 2" in check_bundle(tmp_path, "clang", "-O2")
    if not missing(CORES[core]):
        check(CORES[core], tmp_path, tmp_path / "program")


@pytest.mark.parametrize("core", MACHINES)
def test_tasks_cost_what_their_operators_do(core: str) -> None:
    network, _ = products()
    for operator in network.operators:
        workload = workload_of(network, operator)
        assert isinstance(workload, ProductKernel)
        again = network_of(workload)
        assert alone(again, again.operators[0]).digest == alone(network, operator).digest
        assert workload_of(again, again.operators[0]) == workload
        assert DOCUMENTS.workload(to_plain(workload), "here", bounded=True) == workload
        known, usual = schedules_of(network, operator, core), choices(operator, core)
        assert all(illegal(network, operator, kernel, core) is None for kernel in usual)
        assert usual[0] in known


def test_sixteen_bits_have_plain_loops() -> None:
    scaling = WeightedRequantization(np.array(1 << 30), np.array(-8), 0, -9, 9, wide=True)
    operator = MatrixProduct("y", ("a", "b"), "y", (0, 0), scaling)
    assert refusal(operator) == "its operands have 16 bits"
    assert choices(operator, "cortex-m4") == (PORTABLE,)


@pytest.mark.parametrize(("core", "share"), [("cortex-m4", 0.25), ("cortex-m55", 0.08)])
def test_fewer_instructions(core: str, share: float, tmp_path: Path) -> None:
    if missing(CORES[core]):
        pytest.skip("not installed")
    workload = ProductKernel(1, 30, 64, 30, workload_numbers())
    network = network_of(workload)
    operator = network.operators[0]
    counts = []
    for schedule in (PORTABLE, choices(operator, core)[0]):
        bundle = scheduled_bundle(network, "alone", {operator.output: schedule})
        write_sources_of(bundle, tmp_path)
        counts.append(sum(count(CORES[core], tmp_path, tmp_path / "program", 1)))
    assert counts[1] < share * counts[0]


def workload_numbers() -> object:
    network, _ = products()
    workload = workload_of(network, network.operators[0])
    assert workload is not None
    return workload.numbers
