"""Every registered kind of unit passes the suite that plug-ins' authors run, too."""

from __future__ import annotations

import pytest

from compiler_core.targets.load import load_target
from compiler_core.units.aim.schedule.workload import Activation, ElementProduct, MatrixVector
from compiler_core.units.cpu.c.bundles.cores import CORES, missing
from compiler_core.units.cpu.c.schedules.workload import ConvolutionKernel, KernelFormats
from compiler_core.units.cpu.c.tasks.machine import KernelMachine
from compiler_core.units.facets.bundles import Bundles
from compiler_core.units.launches import Launches, cycles_ps
from compiler_core.units.registry import unit_kind, unit_kinds
from nest_tune.testing.bundle_kinds import check_bundles
from nest_tune.testing.host_kind import check_host
from nest_tune.testing.unit_kinds import UnitCase, check_unit_kind
from nest_tune.testing.unit_models import check_unit_models, small_model
from tests.tiling_workloads import WORKLOADS

VTA = [WORKLOADS[name] for name in ("residual", "depthwise", "uniform", "pool")]
AIM = [
    MatrixVector(512, 512),
    MatrixVector(100, 1300, vectors=3, bias=True),
    MatrixVector(256, 96, bias=True, activations=(Activation.SIGMOID, Activation.TANH)),
    MatrixVector(70, 64, heads=6),
    ElementProduct(5000),
]
CPU = [
    ConvolutionKernel(
        1, 4, 3, 3, 4, (3, 3), (1, 1), (1, 1), (1, 1), (4, 3), False, KernelFormats(offset=True)
    ),
    ConvolutionKernel(1, 5, 5, 8, 8, (3, 3), (2, 2), (1, 1), (1, 1), (3, 3), True, KernelFormats()),
]
CASES = {
    "cpu": UnitCase(KernelMachine("cortex-m4", 1e8, "those that are installed"), CPU),
    "vta": UnitCase(load_target("vta").npu, VTA),
    "aim": UnitCase(load_target("aim-gddr6").npu, AIM),
}
TARGETS = ("vta", "vta-x4", "vta-rtl2020")
"""Of every kind that runs parts of models."""


def test_every_kind_with_tasks_has_a_case() -> None:
    assert {name for name in unit_kinds() if unit_kind(name).has("tasks")} == set(CASES)


def test_every_kind_with_programs_has_a_target() -> None:
    found = {load_target(name).npu.kind for name in TARGETS}
    kinds = (unit_kind(name) for name in unit_kinds())
    # Those with numbers of their own have suites of their own.
    assert {k.name for k in kinds if k.has("programs") and not k.has("numbers")} == found


@pytest.mark.parametrize("name", [name for name in unit_kinds() if unit_kind(name).has("bundles")])
def test_sources(name: str) -> None:
    bundles = unit_kind(name).facet("bundles", Bundles)
    check_bundles(bundles, bundles.targets()[0], small_model())


def test_the_host() -> None:
    check_host(load_target("vta"), small_model())


@pytest.mark.parametrize("name", TARGETS)
def test_models(name: str) -> None:
    check_unit_models(load_target(name))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "cpu" else ()) for name in CASES]
)
def test_kind(name: str) -> None:
    if name == "cpu" and missing(CORES["cortex-m4"]):
        pytest.skip(f"needs {' and '.join(missing(CORES['cortex-m4']))}")
    check_unit_kind(name, CASES[name])


def test_launches_of_the_vta_take_the_cycles_of_their_task_and_nothing_else() -> None:
    case = CASES["vta"]
    launches = unit_kind("vta").facet("launches", Launches)
    for work in case.workloads:
        found = launches.alone(work, {}, case.machine, "name")
        assert found.run_ps == cycles_ps(found.cycles, case.machine.clock_hz)


def test_launches_of_the_aim_are_charged_what_their_cycles_leave_out() -> None:
    case = CASES["aim"]
    launches = unit_kind("aim").facet("launches", Launches)
    for work in case.workloads:
        if isinstance(work, ElementProduct):
            continue  # nothing enters or leaves the banks
        found = launches.alone(work, {}, case.machine, "name")
        assert found.run_ps > cycles_ps(found.cycles, case.machine.clock_hz)
