"""Networks of operators that are spelled out: every bit in C, here and on a core."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from compiler_core.graph.ir import Graph
from compiler_core.graph.session import FloatSession
from compiler_core.graph.spelled.spelled_out import spelled_out
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import Bundle, expected, write_bundle
from tests.compiler_core.units.cpu.c.cases import Model, options_of, ranges_of, samples
from tests.compiler_core.units.cpu.c.made import make_bundle


@cache
def embedding() -> Graph:
    """A small network for embeddings: padded by reflection, several branches, length one."""
    m = Model((1, 3, 8, 7))
    padded = m.node("Pad", "x0", m.array([0, 0, 1, 1, 0, 0, 1, 2], "int64"), mode="reflect")
    first = m.node("Conv", padded, m.weight(4, 3, 3, 3), m.weight(4))
    branches = [m.node("Celu", first, alpha=0.7), m.node("Atan", first), m.node("Shrink", first)]
    total = m.node("Mean", *branches)
    edge = m.node("Pad", total, m.array([0, 0, 0, 1, 0, 0, 2, 0], "int64"), mode="edge")
    pooled = m.node("Flatten", m.node("GlobalAveragePool", edge))
    found = m.node("Gemm", pooled, m.weight(4, 6), m.weight(6))
    length = m.node("ReduceL1", found, m.array([1], "int64"))
    return spelled_out(m.graph(m.node("LpNormalization", found, axis=1), length))


@cache
def bundle(precision: str, core: str = "c99") -> Bundle:
    graph = embedding()
    ranges = ranges_of(graph)
    return make_bundle(graph, ranges, "embedding", options_of(graph, precision), core)


@pytest.mark.parametrize("precision", ["int8", "int16"])
def test_near_to_the_float_model(precision: str) -> None:
    graph, network = embedding(), bundle(precision).network
    for sample in samples(graph, 3):
        wanted = FloatSession(graph).run(sample)
        _, found = expected(network, sample)
        for tensor, name, array in zip(graph.outputs, network.outputs, found, strict=True):
            apart = network.real(name, array).reshape(wanted[tensor].shape) - wanted[tensor]
            assert abs(apart).max() < 0.05 * max(1.0, abs(wanted[tensor]).max())


@pytest.mark.parametrize("precision", ["int8", "int16"])
@pytest.mark.parametrize(
    "command", [("gcc", "-O3"), ("gcc", "-O1", "-fsanitize=address,undefined")], ids=" ".join
)
def test_same_bits_here(
    command: tuple[str, ...], precision: str, tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    write_bundle(bundle(precision), tmp_path, samples(embedding(), 3))
    assert "3 of 3" in check_bundle(tmp_path, *command)


@pytest.mark.parametrize("name", ["cortex-m4", "rv32imc"])
def test_same_bits_there(name: str, tmp_path: Path) -> None:
    core = cores.core_of(name)
    if lacking := cores.missing(core):
        pytest.skip(f"{lacking[0]} is not installed")
    write_bundle(bundle("int8", name), tmp_path, samples(embedding(), 2))
    cores.check(core, tmp_path, tmp_path / "program")
