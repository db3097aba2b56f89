"""Trees: the sums of the runtime, in float32 whatever is quantized, and the same bits in C."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession
from compiler_core.graph.spelled.spelled_out import spelled_out
from compiler_core.graph.spelled.trees import SUMS
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import expected, write_bundle
from compiler_core.units.cpu.c.convert.convert import require_kernels, to_network
from compiler_core.units.cpu.c.convert.options import Options
from tests.compiler_core.graph.spelled.test_trees import (
    COLUMNS,
    MODELS,
    classifier,
    graphs,
    rows_of,
)
from tests.compiler_core.units.cpu.c.cases import joined, ranges_of
from tests.compiler_core.units.cpu.c.made import make_bundle
from tests.compiler_core.units.cpu.c.test_random_networks import SANITIZERS


@pytest.mark.parametrize("name", MODELS)
def test_sums_and_labels_are_those_of_the_runtime(name: str) -> None:
    graph, spelled = graphs(name, 3)
    net = to_network(spelled, {}, Options(precision="float32"))
    for seed in range(5):
        wanted = FloatSession(graph).run({"x": rows_of(seed)})
        _, found = expected(net, {"x": rows_of(seed)})
        for tensor, value, array in zip(spelled.outputs, net.outputs, found, strict=True):
            real = net.real(value, array)
            np.testing.assert_allclose(real, wanted[tensor], rtol=1e-5, atol=1e-6, err_msg=tensor)


def scaled(seed: int) -> Graph:
    """Trees behind a scale of every column, as pipelines have it."""
    model = classifier(seed, 3, post_transform="SOFTMAX")
    model.graph.node[0].input[0] = "scaled"
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [COLUMNS], np.arange(1, COLUMNS + 1))
    model.graph.initializer.append(scale)
    model.graph.node.insert(0, helper.make_node("Div", ["x", "scale"], ["scaled"]))
    return spelled_out(simplify(import_model(model)))


def test_what_trees_read_and_give_is_not_quantized() -> None:
    graph = scaled(1)
    net = to_network(graph, ranges_of(graph), Options())
    assert {value.type.dtype for value in net.values.values()} == {"float32", "int32"}


def test_same_bits(tmp_path: Path, check_bundle: Callable[..., str]) -> None:
    parts = {name: graphs(name, 2)[1] for name in MODELS} | {"scaled": scaled(2)}
    fed = [{f"{name}/x": np.nan_to_num(rows_of(seed)) for name in parts} for seed in range(3)]
    for core in ("c99", "cortex-m4"):
        bundle = make_bundle(joined(parts), {}, "trees", Options(precision="float32"), core)
        write_bundle(bundle, tmp_path / core, fed)
    for command in (("gcc", "-O3"), ("clang", "-O0"), ("clang", *SANITIZERS)):
        assert "3 of 3" in check_bundle(tmp_path / "c99", *command)
    known = cores.core_of("cortex-m4")
    if not cores.missing(known):
        cores.check(known, tmp_path / "cortex-m4", tmp_path / "program")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("nodes_modes", "BRANCH_GT", "its nodes test by BRANCH_GT, BRANCH_LEQ"),
        ("nodes_featureids", 99, "tests column 99 of 5"),
        ("nodes_truenodeids", 0, "tree 3 has nodes that its root does not lead to"),
        ("target_ids", 99, "adds to target 99 of 3"),
    ],
)
def test_what_is_not_written_is_told(name: str, value: str | int, reason: str) -> None:
    graph = graphs("three", 1)[1]
    place, node = next((i, n) for i, n in enumerate(graph.nodes) if n.op == SUMS)
    modes = node.attributes["nodes_modes"]
    inner = [i for i, mode in enumerate(modes) if mode not in ("LEAF", b"LEAF")]
    values = list(node.attributes[name])
    values[inner[-1] if name.startswith("nodes") else 0] = value
    changed = replace(node, attributes={**node.attributes, name: tuple(values)})
    nodes = (*graph.nodes[:place], changed, *graph.nodes[place + 1 :])
    with pytest.raises(InputError, match=reason):
        require_kernels(replace(graph, nodes=nodes))


def test_other_functions_are_told() -> None:
    graph = spelled_out(simplify(import_model(classifier(1, 3, post_transform="PROBIT"))))
    with pytest.raises(InputError, match=r"'trees' .TreeEnsembleClassifier. cannot be written"):
        require_kernels(graph)
