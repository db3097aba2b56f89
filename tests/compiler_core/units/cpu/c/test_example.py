"""The example beside generated sources starts from real zeros."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.cpu.c.bundles.bundle import expected, write_bundle, zeros
from compiler_core.units.cpu.c.convert.options import Options
from tests.compiler_core.units.cpu.c.cases import Model
from tests.compiler_core.units.cpu.c.conftest import WARNINGS, compiler
from tests.compiler_core.units.cpu.c.made import make_bundle


@pytest.mark.parametrize("ports", ["int8", "float32"])
def test_outputs_are_those_of_real_zeros(ports: str, tmp_path: Path) -> None:
    m = Model((1, 4), (1, 4))
    total = m.node("Add", "x0", "x1")
    graph = m.graph(m.node("Gemm", total, m.weight(3, 4), m.weight(3), transB=1), total)
    ranges = {name: TensorRange(-1.0, 5.0) for name in graph.types}
    ranges["x0"] = TensorRange(0.0, 1.0)  # an integer of 0 is a real one of 0.5
    bundle = make_bundle(graph, ranges, "sum", Options(float_ports=ports == "float32"))
    write_bundle(bundle, tmp_path, [zeros(graph)])
    program = tmp_path / "example"
    files = [str(tmp_path / name) for name in ("main.c", "model.c", "weights.c")]
    subprocess.run([compiler("gcc"), *WARNINGS, *files, "-o", str(program)], check=True)
    lines = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    _, found = expected(bundle.network, zeros(graph))
    real = [
        bundle.network.real(name, rows)
        for name, rows in zip(bundle.network.outputs, found, strict=True)
    ]
    shown = [float(line.split("=")[1]) for line in lines.splitlines()[1:]]
    assert lines.splitlines()[0] == "status 0"
    np.testing.assert_allclose(shown, np.concatenate([r.ravel() for r in real]), rtol=1e-5)
