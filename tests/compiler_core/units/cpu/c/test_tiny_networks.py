"""Networks as exporters write them: near to the float model, the same bits wherever they run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.passes.unrolled_recurrence import unrolled
from compiler_core.graph.session import FloatSession
from compiler_core.graph.spelled.spelled_out import spelled_out
from compiler_core.quantize.profile import profile_model
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import Bundle, expected, write_bundle
from compiler_core.units.cpu.c.convert.convert import require_kernels, to_network
from compiler_core.units.cpu.c.convert.options import Options
from tests.compiler_core.units.cpu.c.cases import joined
from tests.compiler_core.units.cpu.c.made import make_bundle
from tests.compiler_core.units.cpu.c.test_random_networks import SANITIZERS
from tests.compiler_core.units.cpu.c.tiny_networks import NETWORKS, data_of

Sample = dict[str, Any]
GROUPS = [sorted(NETWORKS)[first::5] for first in range(5)]


@cache
def prepared(name: str) -> tuple[Graph, list[Sample]]:
    model = NETWORKS[name]()
    graph = spelled_out(unrolled(simplify(import_model(model))))
    require_kernels(graph)
    return graph, data_of(model, 6)


def ranges(graph: Graph, data: list[Sample]) -> Any:
    arrays = {key: np.concatenate([item[key] for item in data]) for key in graph.inputs}
    return profile_model(graph, arrays).ranges()


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_near_to_the_float_model(name: str) -> None:
    graph, data = prepared(name)
    session = FloatSession(graph)
    whole = to_network(graph, {}, Options(precision="float32"))
    integer = to_network(graph, ranges(graph, data), Options())
    for net, most, changed in ((whole, 2e-5, 0.0), (integer, 0.12, 0.2)):
        wanted = [session.run(sample) for sample in data]
        found = [expected(net, sample)[1] for sample in data]
        for position, (tensor, value) in enumerate(zip(graph.outputs, net.outputs, strict=True)):
            real = np.stack([net.real(value, outputs[position]) for outputs in found])
            true = np.stack([one[tensor] for one in wanted]).reshape(real.shape)
            if true.dtype.kind == "i":  # 8 bits change places where values are close
                assert (real != true).mean() <= changed, tensor
            else:
                assert np.linalg.norm(real - true) <= most * np.linalg.norm(true), tensor


def group_of(group: int, core: str, precision: str) -> tuple[Bundle, list[Sample]]:
    found = {name: prepared(name) for name in GROUPS[group]}
    whole = joined({name: graph for name, (graph, _) in found.items()})
    known = {
        f"{name}/{tensor}": one
        for name, (graph, data) in found.items()
        for tensor, one in ranges(graph, data).items()
    }
    fed = [
        {f"{n}/{key}": array for n, (_, data) in found.items() for key, array in data[i].items()}
        for i in range(2)
    ]
    return make_bundle(whole, known, "tiny", Options(precision=precision), core), fed


@pytest.mark.parametrize("precision", ["int8", "float32"])
@pytest.mark.parametrize(
    "group", [0, *(pytest.param(g, marks=pytest.mark.slow) for g in (1, 2, 3, 4))]
)
def test_same_bits_here(
    group: int, precision: str, tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    bundle, fed = group_of(group, "c99", precision)
    write_bundle(bundle, tmp_path, fed)
    for command in (("gcc", "-O3"), ("clang", "-O1"), ("gcc", *SANITIZERS)):
        assert "2 of 2" in check_bundle(tmp_path, *command)


@pytest.mark.slow
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55", "rv32imc"])
@pytest.mark.parametrize("group", range(5))
def test_same_bits_there(group: int, core: str, tmp_path: Path) -> None:
    known = cores.core_of(core)
    if lacking := cores.missing(known):
        pytest.skip(f"{lacking[0]} is not installed")
    bundle, fed = group_of(group, core, "int8")
    write_bundle(bundle, tmp_path, fed)
    cores.check(known, tmp_path, tmp_path / "program")
