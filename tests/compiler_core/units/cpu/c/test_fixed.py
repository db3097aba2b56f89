"""Functions that hold sizes: of an operator by itself those that it has in a network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import Bundle, scheduled_bundle, write_sources_of
from compiler_core.units.cpu.c.network import Network, Operator
from compiler_core.units.cpu.c.operators.moves import View
from compiler_core.units.cpu.c.operators.pointwise import Softmax
from compiler_core.units.cpu.c.operators.weighted import Convolution
from compiler_core.units.cpu.c.schedules.schedule import PORTABLE, KernelSchedule, choices
from compiler_core.units.cpu.c.schedules.workload import network_of, workload_of
from compiler_core.units.cpu.c.search.alone import alone
from compiler_core.units.cpu.c.tasks.facet import measured_alone
from tests.compiler_core.units.cpu.c.cases import all_in_one, prepared

ALL = "all"
SEVERAL = ("between_layers", "attention", "squeeze_and_excite")
_FUNCTION = re.compile(r"^NT_APART static void (nt_g\d+)(\(.*?^\})", re.MULTILINE | re.DOTALL)


def functions(bundle: Bundle) -> set[str]:
    return {text for _, text in _FUNCTION.findall(bundle.sources.files["model.c"])}


def single(network: Network, operator: Operator, schedule: KernelSchedule) -> Network:
    """As its task measures it, or as an operator without one is measured."""
    workload = workload_of(network, operator)
    if workload is None or schedule.unit == "portable":
        return alone(network, operator).network
    return network_of(workload)


@pytest.mark.parametrize(
    ("case", "precision", "core"),
    [
        *((case, "int8", "cortex-m4") for case in (*SEVERAL, "concat", "mean_pool_pad")),
        *((case, "int16", "cortex-m55") for case in SEVERAL),
        *(
            pytest.param(ALL, precision, core, marks=pytest.mark.slow)
            for precision, core in (
                ("int8", "cortex-m4"),
                ("int16", "cortex-m4"),
                ("int16", "cortex-m55"),
                ("float32", "c99"),
            )
        ),
    ],
)
def test_functions_alone_are_those_of_networks(case: str, precision: str, core: str) -> None:
    made = all_in_one(precision) if case == ALL else prepared(case, precision)
    network = made[1].network
    schedules = {item.output: choices(item, core)[0] for item in network.operators}
    together = functions(scheduled_bundle(network, "together", schedules))
    assert together
    for operator in network.operators:
        if isinstance(operator, View):
            continue
        schedule = schedules[operator.output]
        found = single(network, operator, schedule)
        by_itself = scheduled_bundle(found, "alone", {found.outputs[0]: schedule})
        assert functions(by_itself) <= together, operator


def test_layers_of_other_numbers_share_a_function() -> None:
    """Factors and zero points of two layers of one size differ."""
    bundle = prepared("residual", "int8")[1]
    found = _FUNCTION.findall(bundle.sources.files["model.c"])
    assert len(functions(bundle)) == len(found)
    layers = [item for item in bundle.network.operators if isinstance(item, Convolution)]
    assert len(layers) > sum("nt_conv_s8" in text for _, text in found) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("case", ["between_layers", "concat", "normalization", "attention"])
def test_counts_alone_are_those_of_networks(name: str, case: str, tmp_path: Path) -> None:
    core = cores.core_of(name)
    if cores.missing(core):
        pytest.skip(f"{core.package} is not installed")
    network = prepared(case, "int8")[1].network
    bundle = scheduled_bundle(network, "whole", {})
    write_sources_of(bundle, tmp_path)
    counts = cores.count(core, tmp_path, tmp_path / "program", len(bundle.sources.steps))
    running = [item for item in bundle.plan.order if not isinstance(item, View)]
    for operator, counted in zip(running, counts, strict=True):
        if isinstance(operator, Softmax):
            continue  # it depends on the numbers
        (found,) = measured_alone(alone(network, operator).network, [PORTABLE], core)
        assert counted == pytest.approx(found, rel=0.002, abs=2 * core.tick), operator
