"""Scheduled kernels: every legal choice gives the bits of the portable one, on every core."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from compiler_core.graph.ir import Graph
from compiler_core.units.cpu.c.bundles.bundle import (
    scheduled_bundle,
    write_bundle,
    write_sources_of,
)
from compiler_core.units.cpu.c.bundles.cores import CORES, check, count, missing
from compiler_core.units.cpu.c.bundles.tuning import tuned
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.convert.options import Options
from compiler_core.units.cpu.c.network import Network
from compiler_core.units.cpu.c.operators.weighted import Convolution, Dense
from compiler_core.units.cpu.c.schedules.schedule import (
    PORTABLE,
    KernelSchedule,
    choices,
    refusal,
)
from tests.compiler_core.units.cpu.c.cases import Model, joined, ranges_of, samples

SANITIZERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def conv(shape: tuple[int, ...], weight: tuple[int, ...], **attributes: Any) -> Graph:
    m = Model(shape)
    return m.graph(m.node("Conv", "x0", m.weight(*weight), m.weight(weight[0]), **attributes))


@cache
def kernels(bits: int = 8, *, wide: bool = False) -> tuple[Graph, Network]:
    graphs = {
        "odd": conv((1, 3, 9, 7), (8, 3, 3, 3), pads=[1, 1, 1, 1]),
        "one": conv((1, 1, 11, 6), (4, 1, 5, 4), pads=[2, 1, 2, 1], strides=[2, 2]),
        "wide": conv((1, 8, 7, 6), (8, 8, 3, 3), pads=[1, 1, 1, 1]),
        "stride": conv((1, 16, 7, 9), (6, 16, 3, 3), strides=[2, 2]),
        "dilated": conv((1, 4, 9, 9), (4, 4, 3, 3), dilations=[2, 3], pads=[2, 3, 2, 3]),
        "point": conv((1, 16, 5, 5), (8, 16, 1, 1)),
        "point_odd": conv((1, 5, 5, 5), (3, 5, 1, 1)),
        "point_stride": conv((1, 8, 5, 7), (8, 8, 1, 1), strides=[2, 2]),
        "depthwise": conv((1, 8, 7, 6), (8, 1, 3, 3), group=8, pads=[1, 1, 1, 1]),
        "depthwise_inside": conv((1, 4, 7, 6), (4, 1, 3, 2), group=4, strides=[2, 1]),
        "depthwise_wide": conv(
            (1, 12, 9, 9), (12, 1, 5, 5), group=12, pads=[2, 2, 2, 2], strides=[2, 2]
        ),
        "depthwise_deep": conv((1, 32, 6, 5), (32, 1, 3, 3), group=32, pads=[1, 1, 1, 1]),
        "depthwise_even": conv((1, 16, 6, 5), (16, 1, 2, 2), group=16, strides=[2, 1]),
        "row": conv((1, 8, 17), (4, 8, 5), pads=[2, 1], strides=[2]),
    }
    m = Model((3, 37))
    graphs["dense"] = m.graph(m.node("Gemm", "x0", m.weight(8, 37), m.weight(8), transB=1))
    graph = joined(graphs)
    m = Model((1, 3, 5, 5), (1, 3, 5, 5), (1, 3, 1, 1))
    same = m.node("Sub", m.node("Relu", m.node("Add", "x0", "x1")), "x1")
    graphs["sum"] = m.graph(m.node("Add", same, "x2"))
    ranges = {
        f"{name}/{tensor}": known
        for name, own in graphs.items()
        for tensor, known in ranges_of(own).items()
    }
    weighted = [node.name for node in graph.nodes if node.op in ("Conv", "Dense", "Gemm")]
    if wide:
        return graph, to_network(graph, ranges, Options(int16_layers=frozenset(weighted)))
    return graph, to_network(graph, ranges, Options(weight_bits=dict.fromkeys(weighted, bits)))


def bundle_of(core: str, choice: int, folder: Path, bits: int = 8, *, wide: bool = False) -> int:
    """Writes the bundle in which every operator has its choice of that number."""
    graph, network = kernels(bits, wide=wide)
    schedules = {}
    for operator in network.operators:
        legal = choices(operator, core)
        schedules[operator.output] = legal[max(min(choice, len(legal) - 1), -len(legal))]
    bundle = scheduled_bundle(network, "kernels", schedules)
    write_bundle(bundle, folder, samples(graph, 3))
    return len(bundle.sources.steps)


@pytest.mark.parametrize("choice", [0, 1, 2, 3, 5, 6])
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
def test_same_bits_here(
    core: str, choice: int, tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    bundle_of(core, choice, tmp_path)
    flags = SANITIZERS if choice == 0 else ("-O0",)
    assert "3 of 3" in check_bundle(tmp_path, "gcc", *flags)
    if choice == 1:
        assert "3 of 3" in check_bundle(tmp_path, "clang", *SANITIZERS)


@pytest.mark.parametrize(
    ("core", "choice"),
    [("c99", 0), ("c99", 1), ("cortex-m4", 0), ("cortex-m4", -2), ("cortex-m55", 0)],
)
def test_same_bits_of_weights_of_four_bits(
    core: str, choice: int, tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    bundle_of(core, choice, tmp_path, bits=4)
    assert "3 of 3" in check_bundle(tmp_path, "gcc", *SANITIZERS)
    unpacks = "nt_unpack_s4(" in (tmp_path / "model.c").read_text()
    assert unpacks == ((core, choice) != ("c99", 1))
    if core == "cortex-m55" and not missing(CORES[core]):
        check(CORES[core], tmp_path, tmp_path / "program")


@pytest.mark.parametrize("choice", [0, 1, 2, 3, 5, 6])
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
def test_same_bits_of_activations_of_16_bits(
    core: str, choice: int, tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    bundle_of(core, choice, tmp_path, wide=True)
    text = " ".join((tmp_path / "model.c").read_text().split())
    assert "int16_t *x, int16_t *y" in text
    assert "conv_s8" not in text
    flags = SANITIZERS if choice in (0, 3) else ("-O0",)
    assert "3 of 3" in check_bundle(tmp_path, "gcc" if choice else "clang", *flags)
    if choice in (0, 2) and not missing(CORES[core]):
        check(CORES[core], tmp_path, tmp_path / "program")


@pytest.mark.parametrize("choice", [0, 3])
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m7", "cortex-m55"])
def test_same_bits_there(core: str, choice: int, tmp_path: Path) -> None:
    lacking = missing(CORES[core])
    if lacking:
        pytest.skip(f"{lacking[0]} is not installed")
    bundle_of(core, choice, tmp_path)
    check(CORES[core], tmp_path, tmp_path / "program")


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
def test_the_default_needs_fewer_instructions(core: str, tmp_path: Path) -> None:
    lacking = missing(CORES[core])
    if lacking:
        pytest.skip(f"{lacking[0]} is not installed")
    totals = []
    for choice in (0, 99):
        steps = bundle_of(core, choice, tmp_path)
        totals.append(sum(count(CORES[core], tmp_path, tmp_path / "program", steps)))
    assert totals[0] < 0.6 * totals[1]


def test_tuning_takes_what_needs_the_fewest_instructions(tmp_path: Path) -> None:
    core = CORES["cortex-m4"]
    lacking = missing(core)
    if lacking:
        pytest.skip(f"{lacking[0]} is not installed")
    m = Model((1, 8, 5, 5))
    wide = m.node("Conv", "x0", m.weight(8, 8, 3, 3), pads=[1, 1, 1, 1])
    graph = m.graph(m.node("Conv", wide, m.weight(4, 8, 1, 1)))
    network = to_network(graph, ranges_of(graph))
    found = tuned(network, "small", core)
    totals = {}
    for position in range(max(len(choices(item, core.name)) for item in network.operators)):
        legal = {item.output: choices(item, core.name) for item in network.operators}
        chosen = {key: own[min(position, len(own) - 1)] for key, own in legal.items()}
        totals[position] = counted(network, chosen, tmp_path)
    assert counted(network, found, tmp_path) <= min(totals.values())
    assert min(totals.values()) < max(totals.values())


def counted(network: Network, schedules: dict[str, KernelSchedule], folder: Path) -> float:
    bundle = scheduled_bundle(network, "small", schedules)
    write_sources_of(bundle, folder)
    steps = len(bundle.sources.steps)
    return sum(count(CORES["cortex-m4"], folder, folder / "program", steps))


def test_the_space_is_what_can_be_lowered() -> None:
    _, network = kernels()
    for operator in network.operators:
        assert choices(operator, "c99") == (PORTABLE,)
        if not isinstance(operator, Convolution | Dense):
            continue
        for core, unit in (("cortex-m4", "dsp"), ("cortex-m55", "mve")):
            legal = choices(operator, core)
            assert legal[0].unit == unit
            assert legal[-1] == PORTABLE
            assert len(set(legal)) == len(legal)
            outputs = len(operator.weights)
            assert all(outputs % item.outputs == 0 for item in legal)


def test_what_has_only_portable_loops_says_why() -> None:
    m = Model((1, 6, 5, 5))
    graph = m.graph(m.node("Conv", "x0", m.weight(6, 3, 3, 3), m.weight(6), group=2))
    (operator,) = to_network(graph, ranges_of(graph)).operators
    assert refusal(operator) == "its channels are in groups"
    node = graph.nodes[0].name
    (small,) = to_network(graph, ranges_of(graph), Options(weight_bits={node: 4})).operators
    assert refusal(small) == "its weights are not of 8 bits"
    assert choices(small, "cortex-m4") == (KernelSchedule(unpacked=True), KernelSchedule())
