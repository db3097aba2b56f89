"""How many samples the default is measured on: fewer where outputs are large."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compiler_core.graph.importer import import_model
from compiler_core.quantize import quality
from compiler_core.quantize.quality import QualityMeter, measured_runs


def _model(width: int) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width]) for name in "xy"]
    node = helper.make_node("Neg", ["x"], ["y"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(("limit", "used"), [(4000, 10), (1200, 3), (399, 1)])
def test_outputs_of_all_samples_are_bounded(
    limit: int, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "_OUTPUT_BYTES", limit)
    graph = import_model(_model(100))
    chosen = measured_runs(graph, 10)
    assert len(chosen) == used
    assert chosen == sorted(set(chosen))
    meter = QualityMeter(graph, {"x": np.ones((10, 100), np.float32)})
    assert meter.samples == used
