"""The first operators in stripes: the bits of the whole, in less memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.units.cpu.c.bundles.bundle import expected, scheduled_bundle, write_bundle
from compiler_core.units.cpu.c.bundles.cores import CORES, check, missing
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.network import Network, Operator
from compiler_core.units.cpu.c.operators.weighted import Convolution
from compiler_core.units.cpu.c.plan.memory import plan_memory
from compiler_core.units.cpu.c.plan.patch_choices import patch_choices
from compiler_core.units.cpu.c.plan.patches import (
    Patches,
    cuts,
    kept_elements,
    patched,
    read_patches,
)
from compiler_core.units.cpu.c.schedules.schedule import choices
from tests.compiler_core.units.cpu.c.cases import Model, options_of, ranges_of, samples


def stages(precision: str) -> tuple[Graph, Network]:
    """Strided and depthwise convolutions with a skip between, then a dense layer."""
    m = Model((1, 3, 21, 17))
    x = m.node("Conv", "x0", m.weight(8, 3, 3, 3), m.weight(8), pads=[1, 1, 1, 1], strides=[2, 2])
    x = m.node("Relu", x)
    y = m.node("Conv", x, m.weight(8, 1, 3, 3), m.weight(8), group=8, pads=[1, 1, 1, 1])
    y = m.node("Conv", m.node("HardSwish", y), m.weight(8, 8, 1, 1), m.weight(8))
    x = m.node("Add", x, y)
    x = m.node("MaxPool", x, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
    x = m.node("Conv", x, m.weight(8, 8, 5, 3), m.weight(8), pads=[4, 1, 4, 1], dilations=[2, 1])
    flat = m.node("Flatten", m.node("GlobalAveragePool", x))
    graph = m.graph(m.node("Gemm", flat, m.weight(5, 8), m.weight(5), transB=1))
    ranges = {} if precision == "float32" else ranges_of(graph)
    return graph, to_network(graph, ranges, options_of(graph, precision))


def same_bits(graph: Graph, whole: Network, cut: Network, count: int = 2) -> None:
    for sample in samples(graph, count):
        for ours, theirs in zip(expected(cut, sample)[1], expected(whole, sample)[1], strict=True):
            assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("precision", ["int8", "int16", "float32"])
def test_every_cut_gives_the_same_bits(
    precision: str, tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    graph, whole = stages(precision)
    found = cuts(whole)
    assert len(found) >= 3
    for end in found:
        for count in (2, 3, 5):
            same_bits(graph, whole, patched(whole, Patches(end, count)))
    cut = patched(whole, Patches(found[-1], 3))
    write_bundle(scheduled_bundle(cut, "stripes", {}), tmp_path, samples(graph, 3))
    flags = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert "3 of 3" in check_bundle(tmp_path, "gcc", *flags)


@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
def test_kernels_of_a_core_give_the_same_bits(core: str, tmp_path: Path) -> None:
    if missing(CORES[core]):
        pytest.skip(f"{CORES[core].compiler} is not installed")
    graph, whole = stages("int8")
    cut = patched(whole, Patches(cuts(whole)[-1], 4))
    schedules = {item.output: choices(item, core)[0] for item in cut.operators}
    write_bundle(scheduled_bundle(cut, "stripes", schedules), tmp_path, samples(graph, 2))
    check(CORES[core], tmp_path, tmp_path / "program")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_chains_of_windows(data: st.DataObject) -> None:
    pick = data.draw
    m = Model((1, 2, pick(st.integers(9, 24)), 5))
    x, height = "x0", m.shapes[0][2]
    for _ in range(pick(st.integers(1, 4))):
        kernel, stride = pick(st.integers(1, 4)), pick(st.integers(1, 3))
        dilation = pick(st.integers(1, 2))
        reach = (kernel - 1) * dilation + 1
        before, behind = (pick(st.integers(0, min(reach - 1, 2))) for _ in range(2))
        if height + before + behind < reach + stride:
            break
        height = (height + before + behind - reach) // stride + 1
        x = m.node(
            "Conv",
            x,
            m.weight(2, 2, kernel, 3),
            strides=[stride, 1],
            dilations=[dilation, 1],
            pads=[before, 1, behind, 1],
        )
    graph = m.graph(m.node("Conv", x, m.weight(3, 2, 1, 1)))
    whole = to_network(graph, ranges_of(graph))
    end = pick(st.sampled_from(sorted({item.name for item in whole.operators})))
    if height < 2 and end not in cuts(whole):
        return
    lines = max(whole.values[i.output].shape[1] for i in whole.operators if i.name == end)
    if lines < 2:
        return
    same_bits(graph, whole, patched(whole, Patches(end, pick(st.integers(2, lines)))), 1)


def test_sequences_are_cut_along_time() -> None:
    m = Model((1, 4, 40))
    x = m.node("Conv", "x0", m.weight(8, 4, 5), m.weight(8), pads=[2, 2])
    x = m.node("Conv", m.node("Relu", x), m.weight(8, 8, 3), pads=[2, 2], dilations=[2])
    graph = m.graph(m.node("MaxPool", x, kernel_shape=[4], strides=[4]))
    whole = to_network(graph, ranges_of(graph))
    cut = patched(whole, Patches(cuts(whole)[-1], 5))
    same_bits(graph, whole, cut)
    assert plan_memory(cut).arena_bytes < 0.6 * plan_memory(whole).arena_bytes


def test_less_memory_and_nothing_computed_twice() -> None:
    m = Model((1, 3, 48, 16))
    x = m.node("Conv", "x0", m.weight(8, 3, 3, 3), pads=[1, 1, 1, 1], strides=[2, 1])
    x = m.node("Conv", x, m.weight(8, 1, 3, 3), group=8, pads=[1, 1, 1, 1])
    x = m.node("Conv", x, m.weight(16, 8, 1, 1))
    x = m.node("Conv", x, m.weight(16, 1, 3, 3), group=16, pads=[1, 1, 1, 1], strides=[2, 2])
    graph = m.graph(m.node("GlobalAveragePool", x))
    whole = to_network(graph, ranges_of(graph))
    cut = patched(whole, Patches(cuts(whole)[-1], 6))
    same_bits(graph, whole, cut)
    assert plan_memory(cut).arena_bytes < 0.5 * plan_memory(whole).arena_bytes
    lines: dict[str, int] = {}
    for operator in cut.operators:
        if isinstance(operator, Convolution):
            value = cut.values[operator.output]
            lines[value.source] = lines.get(value.source, 0) + value.shape[1]
    for operator in whole.operators:
        if isinstance(operator, Convolution):
            value = whole.values[operator.output]
            assert lines[value.source] == value.shape[1]
    assert kept_elements(cut) == 5 * (2 * 16 * 8 + 1 * 16 * 16)


def test_what_cannot_be_cut_says_why() -> None:
    _, whole = stages("int8")
    names = {type(item).__name__: item.name for item in whole.operators}
    for end, said in (
        ("nothing", "no node 'nothing'"),
        (names["Dense"], "is a View|is not of one image"),
    ):
        with pytest.raises(InputError, match=said):
            patched(whole, Patches(end, 2))
    with pytest.raises(InputError, match="99 stripes; from 2 to"):
        patched(whole, Patches(cuts(whole)[0], 99))
    branch = names["Table"]
    with pytest.raises(InputError, match="reads what lies within"):
        patched(whole, Patches(branch, 2))


def test_choices_get_dearer_and_need_less() -> None:
    _, whole = stages("int8")

    def scratch(_network: Network, _operator: Operator) -> int:
        return 0

    found = patch_choices(whole, scratch, 3)
    assert 1 <= len(found) <= 3
    bounds = [item.arena_bound_bytes for item in found]
    assert bounds == sorted(bounds)
    kept = [item.kept_elements for item in found]
    assert kept == sorted(kept, reverse=True)
    for item in found:
        cut = plan_memory(patched(whole, item.patches))
        assert cut.packing.bound >= item.arena_bound_bytes
        assert read_patches(str(item.patches)) == item.patches
    assert patch_choices(whole, scratch, 1) == found[:1]
