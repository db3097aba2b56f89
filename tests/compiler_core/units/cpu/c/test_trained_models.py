"""Trained models: the same bits on all compilers and cores, and as good as the float model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compiler_core.graph.importer import import_onnx
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.profile import profile_model
from compiler_core.units.cpu.c.bundles.bundle import expected, write_bundle
from compiler_core.units.cpu.c.bundles.cores import CORES, check, missing
from tests.compiler_core.units.cpu.c.made import make_bundle

INPUTS = {
    "dscnn_kws": 16,
    "kwt1_kws": 2,
    "mnist_cntk": 16,
    "mobilenet_v1_025_224": 2,
    "resnet8_cifar10": 4,
}
"""Samples on emulated cores; 16 on this machine."""


def prepared(folder: Path) -> tuple[Graph, dict[str, np.ndarray], np.ndarray]:
    """The graph, its calibration data, its evaluation inputs."""
    graph = simplify(import_onnx(folder / "model.onnx"))
    with np.load(folder / "calib.npz") as data:
        calibration = {graph.inputs[0]: data["x"][:50].astype(np.float32)}
    with np.load(folder / "eval.npz") as data:
        return graph, calibration, data["x"][:100].astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(INPUTS))
def test_same_bits_everywhere(
    name: str,
    prepared_model: Callable[[str], Path],
    tmp_path: Path,
    check_bundle: Callable[..., str],
) -> None:
    graph, calibration, inputs = prepared(prepared_model(name))
    ranges = profile_model(graph, calibration).ranges()
    data = [{graph.inputs[0]: inputs[i : i + 1]} for i in range(16)]
    bundle = make_bundle(graph, ranges, "trained")
    assert bundle.plan.packing.gap < 0.02
    write_bundle(bundle, tmp_path, data)
    for compiler in ("gcc", "clang"):
        for flags in (["-O0"], ["-O3"], ["-O1", "-fsanitize=address,undefined"]):
            assert "16 of 16 samples equal" in check_bundle(tmp_path, compiler, *flags)
    for core in CORES.values():
        if not missing(core):
            for_core = make_bundle(graph, ranges, "trained", core=core.name)
            write_bundle(for_core, tmp_path, data[: INPUTS[name]])
            check(core, tmp_path, tmp_path / "program")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(INPUTS) - {"mobilenet_v1_025_224"}))
def test_same_classes_as_in_float(name: str, prepared_model: Callable[[str], Path]) -> None:
    graph, calibration, inputs = prepared(prepared_model(name))
    network = make_bundle(graph, profile_model(graph, calibration).ranges(), "trained").network
    session = FloatSession(graph)
    same = 0
    for index in range(len(inputs)):
        sample = {graph.inputs[0]: inputs[index : index + 1]}
        wanted = session.run(sample)[graph.outputs[0]]
        _, found = expected(network, sample)
        same += int(found[0].argmax()) == int(wanted.argmax())
    assert same >= 0.93 * len(inputs)
