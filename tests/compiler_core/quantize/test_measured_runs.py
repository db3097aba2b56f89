"""How many samples the default is measured on: fewer where outputs are large."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compiler_core.graph.importer import import_model
from compiler_core.quantize import quality, unseen
from compiler_core.quantize.apply import apply_profile
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.quality import QualityMeter, measured_runs
from compiler_core.quantize.scheme import QuantizationScheme


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


def test_what_stays_in_float_as_a_whole_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = import_model(_model(100))
    samples = {"x": np.arange(400, dtype=np.float32).reshape(4, 100)}
    profile = profile_model(graph, samples)
    plan = dict.fromkeys((node.name for node in graph.nodes), "cpu")
    quantized = apply_profile(graph, plan, profile, QuantizationScheme()).quantized
    monkeypatch.setattr(quality, "ReferenceExecutor", None)
    (found,) = QualityMeter(graph, samples).measure(quantized)
    assert (found.output, found.sqnr_db) == ("y", 200.0)
    monkeypatch.setattr(unseen, "QualityMeter", None)
    assert unseen.reason_unseen(graph, plan, profile, QuantizationScheme()) == ""
