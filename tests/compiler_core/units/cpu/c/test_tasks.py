"""Layers as tasks: what a workload keeps, its schedules, and that all give the same bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler_core.errors import InputError
from compiler_core.files.plain import to_plain
from compiler_core.units.cpu.c.bundles.bundle import scheduled_bundle, write_bundle
from compiler_core.units.cpu.c.bundles.cores import CORES, check, missing
from compiler_core.units.cpu.c.network import Network, Operator
from compiler_core.units.cpu.c.schedules.legality import illegal
from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule, KernelUnit, choices
from compiler_core.units.cpu.c.schedules.workload import DenseKernel, network_of, workload_of
from compiler_core.units.cpu.c.search.alone import alone
from compiler_core.units.cpu.c.tasks.machine import KernelMachine
from compiler_core.units.cpu.documents import DOCUMENTS
from search_spaces.task_space import task_space
from tests.compiler_core.units.cpu.c.cases import samples
from tests.compiler_core.units.cpu.c.test_schedules import SANITIZERS, kernels

ROUNDS = 2
MACHINES = {name: KernelMachine(name, 1e8, "none") for name in ("cortex-m4", "cortex-m55")}


def schedules_of(network: Network, operator: Operator, core: str) -> list[KernelSchedule]:
    """All of an operator that is a task."""
    workload = workload_of(network, operator)
    if workload is None:
        return []
    space = task_space(workload, MACHINES[core])
    return [space.decode(point) for part in space.enumerate() for point in part.tolist()]


def drawn(network: Network, core: str, seed: int) -> dict[str, KernelSchedule]:
    """A schedule of every task, by the value that it writes."""
    random = np.random.default_rng(seed)
    found = {}
    for operator in network.operators:
        if known := schedules_of(network, operator, core):
            found[operator.output] = known[random.integers(len(known))]
    return found


@pytest.mark.parametrize(("bits", "wide"), [(8, False), (4, False), (8, True)])
@pytest.mark.parametrize("core", MACHINES)
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_all_schedules_give_the_same_bits(
    seed: int, core: str, bits: int, wide: bool, tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    graph, network = kernels(bits, wide=wide)
    chosen = drawn(network, core, 100 * seed + bits + wide)
    assert len(chosen) >= 10
    write_bundle(scheduled_bundle(network, "kernels", chosen), tmp_path, samples(graph, 2))
    assert "2 of 2" in check_bundle(tmp_path, "gcc", *SANITIZERS)
    if seed == 0 and not missing(CORES[core]):
        check(CORES[core], tmp_path, tmp_path / "program")


@pytest.mark.parametrize(("bits", "wide"), [(8, False), (4, False), (8, True)])
def test_a_workload_costs_what_its_operator_does(bits: int, wide: bool) -> None:
    _, network = kernels(bits, wide=wide)
    found = 0
    for operator in network.operators:
        workload = workload_of(network, operator)
        if workload is None or len(network.values[operator.inputs[0]].shape) == 3:
            continue  # images of one axis have another of size 1 in their workloads
        again = network_of(workload)
        own, other = alone(network, operator), alone(again, again.operators[0])
        assert own.digest == other.digest, workload.shape
        assert workload_of(again, again.operators[0]) == workload
        assert DOCUMENTS.workload(to_plain(workload), "here", bounded=True) == workload
        found += 1
    assert found >= 10


@pytest.mark.parametrize("core", MACHINES)
def test_usual_choices_are_schedules_of_the_space(core: str) -> None:
    for bits in (8, 4):
        _, network = kernels(bits)
        for operator in network.operators:
            if known := schedules_of(network, operator, core):
                usual = choices(operator, core)
                assert usual[0] in known
                assert all(illegal(network, operator, kernel, core) is None for kernel in usual)
                assert len(known) == len(set(known)) <= 120


def test_kernels_of_configurations_are_held_to_the_rules() -> None:
    _, network = kernels()
    operator = next(item for item in network.operators if workload_of(network, item))
    known = schedules_of(network, operator, "cortex-m4")
    wrong = replace(known[-1], outputs=64, pixels=64)
    assert illegal(network, operator, wrong, "cortex-m4") is not None
    many = replace(known[-1], outputs=1, pixels=9)
    assert "sums demanded" in str(illegal(network, operator, many, "cortex-m4"))
    assert "unit" in str(illegal(network, operator, KernelSchedule(KernelUnit.MVE), "cortex-m4"))
    assert illegal(network, operator, KernelSchedule(KernelUnit.DSP, 0), "cortex-m4") is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": 0}, "extents"),
        ({"inputs": 1 << 19, "outputs": 1 << 19}, "elements"),
        ({"numbers": {"weight_bits": 3}}, "weights have 4 or 8 bits"),
        ({"rows": "x"}, "rows"),
        ({"more": 1}, "more"),
    ],
)
def test_workloads_of_others_are_read_with_care(change: dict[str, object], said: str) -> None:
    plain = to_plain(DenseKernel(1, 8, 8, numbers=_numbers()))
    assert DOCUMENTS.workload(plain, "here", bounded=True) == DenseKernel(1, 8, 8, _numbers())
    with pytest.raises(InputError, match=said):
        DOCUMENTS.workload({**plain, **change}, "here", bounded=True)


def _numbers() -> object:
    _, network = kernels()
    workloads = (workload_of(network, item) for item in network.operators)
    return next(work.numbers for work in workloads if isinstance(work, DenseKernel))


@pytest.mark.parametrize(
    "plain",
    [
        {"core": "cortex-m3", "clock_hz": 1.0, "tools": "", "kind": "cpu"},
        {"core": "c99", "clock_hz": 1.0, "tools": "", "kind": "cpu"},
        {"core": "cortex-m4", "clock_hz": 0.0, "tools": "", "kind": "cpu"},
    ],
)
def test_machines_are_counted_cores(plain: dict[str, object]) -> None:
    with pytest.raises(InputError, match="here"):
        DOCUMENTS.machine(plain, "here")
