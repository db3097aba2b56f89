"""What GPTQ will take is told before anything is quantized."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import onnx

from compiler_core.compile.sources import load_model
from compiler_core.graph.importer import import_model
from compiler_core.quantize.apply import apply_profile
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.reconstruction import reconstruction_work
from compiler_core.quantize.rounding_work import expected_work
from compiler_core.quantize.scheme import QuantizationScheme


def test_the_float_graph_tells_about_what_the_integers_do(repository: Path) -> None:
    digits = repository / "examples" / "digits"
    graph = load_model(digits / "model.onnx", {}).graph
    profile = profile_model(graph, {graph.inputs[0]: np.load(digits / "calib.npz")["x"]})
    applied = apply_profile(graph, default_assignment(graph), profile, QuantizationScheme())
    known = reconstruction_work(applied.quantized)
    assert known / 2 <= expected_work(graph) <= 4 * known


def test_layers_without_outputs_cost_no_more_than_others(synthetic: ModuleType) -> None:
    builder = synthetic.Builder()
    builder.add("Conv", ["x", builder.constant("w", np.zeros((0, 3, 3, 3), np.float32))], "y")
    model = onnx.load_from_string(builder.model({"x": [1, 3, 8, 8]}, {"y": [1, 0, 6, 6]}))
    assert expected_work(import_model(model)) >= 0
