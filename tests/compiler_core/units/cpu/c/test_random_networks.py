"""Random networks: near to the float model, and the same bits in C wherever it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compiler_core.graph.ir import Graph
from compiler_core.graph.session import FloatSession
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import Bundle, expected, write_bundle
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.convert.options import Options
from tests.compiler_core.units.cpu.c.cases import joined, ranges_of, samples, weighted_nodes
from tests.compiler_core.units.cpu.c.made import make_bundle
from tests.compiler_core.units.cpu.c.random_networks import network

EACH = 6
"""Networks in one program."""

SANITIZERS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_SLOW = [pytest.param(group, marks=pytest.mark.slow) for group in range(2, 24)]
GROUPS = [0, 1, *_SLOW]


def graph_of(seed: int) -> Graph:
    """A random network of one of the operator sets that exporters write."""
    opset = 20 if seed % 2 else int(np.random.default_rng(seed).integers(13, 20))
    return network(seed, 4 + seed % 10, opset)


def is_finite(graph: Graph) -> bool:
    """Whether a network computes numbers."""
    found = [FloatSession(graph).run(sample) for sample in samples(graph, 2)]
    return all(np.isfinite(array).all() for one in found for array in one.values())


def group_of(group: int) -> dict[str, Graph]:
    graphs = {f"n{seed}": graph_of(seed) for seed in range(group * EACH, (group + 1) * EACH)}
    return {name: graph for name, graph in graphs.items() if graph.nodes and is_finite(graph)}


def mixed(graph: Graph, seed: int) -> Options:
    """Layers of int8, with weights of 4 bits, and with activations of 16."""
    random = np.random.default_rng(seed)
    kinds = {name: int(random.integers(3)) for name in weighted_nodes(graph)}
    return Options(
        weight_bits={name: 4 for name, kind in kinds.items() if kind == 1},
        int16_layers=frozenset(name for name, kind in kinds.items() if kind == 2),
    )


def bundle_of(group: int, core: str, *, precision: str) -> tuple[Graph, Bundle]:
    graphs = group_of(group)
    whole = joined(graphs)
    ranges = {
        f"{name}/{tensor}": known
        for name, graph in graphs.items()
        for tensor, known in ranges_of(graph).items()
    }
    options = mixed(whole, group) if precision == "int8" else Options(precision=precision)
    return whole, make_bundle(whole, ranges, "random", options, core)


@pytest.mark.parametrize("group", GROUPS)
def test_in_float_it_is_the_model(group: int) -> None:
    for name, graph in group_of(group).items():
        net, session = to_network(graph, {}, Options(precision="float32")), FloatSession(graph)
        for sample in samples(graph, 2):
            wanted = session.run(sample)
            _, found = expected(net, sample)
            for tensor, value, array in zip(graph.outputs, net.outputs, found, strict=True):
                real = net.real(value, array).reshape(wanted[tensor].shape)
                most = max(1e-3, float(np.abs(wanted[tensor]).max()))
                assert np.abs(real - wanted[tensor]).max() < 2e-4 * most, (name, tensor)


@pytest.mark.parametrize("precision", ["int8", "float32"])
@pytest.mark.parametrize("group", GROUPS)
def test_same_bits_here(
    group: int, precision: str, tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    graph, bundle = bundle_of(group, "c99", precision=precision)
    write_bundle(bundle, tmp_path, samples(graph, 2))
    kinds = [("gcc", "-O3"), ("clang", "-O3"), ("gcc", "-O0"), ("clang", "-O0")]
    compilers = ["gcc", "clang"]
    for command in (kinds[group % 4], (compilers[group // 2 % 2], *SANITIZERS)):
        assert "2 of 2" in check_bundle(tmp_path, *command)


@pytest.mark.parametrize("group", GROUPS)
def test_same_bits_there(group: int, tmp_path: Path) -> None:
    name = ("cortex-m4", "cortex-m55", "rv32imc", "aarch64")[group % 4]
    core = cores.core_of(name)
    if lacking := cores.missing(core):
        pytest.skip(f"{lacking[0]} is not installed")
    graph, bundle = bundle_of(group, name, precision="int8")
    write_bundle(bundle, tmp_path, samples(graph, 2))
    cores.check(core, tmp_path, tmp_path / "program")
