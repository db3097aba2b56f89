"""Channels of very different size between dense layers: a residual stream with an outlier."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import nest_tune
from compiler_core.compile.sources import load_model
from compiler_core.quantize.apply import apply_profile
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.input_equalization import equalize_inputs
from compiler_core.quantize.ladder import RUNGS
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.quality import QualityMeter
from compiler_core.quantize.uneven_borders import UNEVEN, equalize_outputs, leave_uneven
from compiler_core.units.names import CPU

_FLOAT = onnx.TensorProto.FLOAT
_WIDTH, _TOKENS = 32, 8


def _encoder(path, outlier: float, layers: int = 2, seed: int = 0):
    """Blocks of ``x = norm(x + dense(relu(dense(x))))``; each block writes one channel of its sum
    ``outlier`` times larger than the others, as trained encoders do."""
    draw = np.random.default_rng(seed)
    nodes, constants = [], []

    def constant(name: str, values) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def dense(name: str, source: str, inputs: int, outputs: int, loud: int | None) -> str:
        weights = draw.standard_normal((inputs, outputs)) / np.sqrt(inputs)
        if loud is not None:
            weights[:, loud] *= outlier
        product = helper.make_node(
            "MatMul", [source, constant(f"{name}.w", weights)], [f"{name}.p"]
        )
        bias = constant(f"{name}.b", draw.standard_normal(outputs) * 0.1)
        nodes.extend([product, helper.make_node("Add", [f"{name}.p", bias], [name])])
        return name

    source = "x"
    for layer in range(layers):
        up = dense(f"up{layer}", source, _WIDTH, 2 * _WIDTH, None)
        nodes.append(helper.make_node("Relu", [up], [f"act{layer}"]))
        down = dense(f"down{layer}", f"act{layer}", 2 * _WIDTH, _WIDTH, 5)
        nodes.append(helper.make_node("Add", [down, source], [f"sum{layer}"], name=f"sum{layer}"))
        gains = np.ones(_WIDTH)
        gains[5] = 1 / outlier
        names = [f"sum{layer}", constant(f"gain{layer}", gains)]
        nodes.append(
            helper.make_node("LayerNormalization", names, [f"norm{layer}"], name=f"norm{layer}")
        )
        source = f"norm{layer}"
    shape = [1, _TOKENS, _WIDTH]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("x", _FLOAT, shape)],
        [helper.make_tensor_value_info(source, _FLOAT, shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path, draw.standard_normal((8, _TOKENS, _WIDTH)).astype(np.float32)


def _loaded(tmp_path, outlier: float):
    path, samples = _encoder(tmp_path / "model.onnx", outlier)
    graph = load_model(path).graph
    return graph, profile_model(graph, {"x": samples}), samples


def test_sums_and_norms_of_uneven_channels_stay_real_and_dense_layers_on_the_npu(tmp_path) -> None:
    graph, profile, _ = _loaded(tmp_path, 100.0)
    before = default_assignment(graph)
    after = leave_uneven(graph, before, profile.ranges(), before)
    changed = {name for name in before if before[name] != after[name]}
    assert changed
    assert changed <= {"sum0", "norm0", "sum1", "norm1"}
    assert all(after[name] == CPU for name in ("sum0", "norm0", "sum1", "norm1"))


def test_even_channels_change_nothing(tmp_path) -> None:
    graph, profile, _ = _loaded(tmp_path, 1.0)
    assignment = default_assignment(graph)
    assert leave_uneven(graph, assignment, profile.ranges(), assignment) == assignment
    assert equalize_outputs(graph, assignment, profile.ranges()).graph is graph


def test_factors_at_the_borders_change_no_real_number(tmp_path) -> None:
    graph, profile, samples = _loaded(tmp_path, 100.0)
    units = default_assignment(graph)
    units = leave_uneven(graph, units, profile.ranges(), units)
    outputs = equalize_outputs(graph, units, profile.ranges())
    both = equalize_inputs(outputs.graph, outputs.assignment, outputs.ranges)
    assert len(outputs.graph.nodes) == len(graph.nodes) + 2
    names = [node.name for node in both.graph.nodes]
    assert len(names) == len({*names})
    meter = QualityMeter(graph, {"x": samples})
    everything = dict.fromkeys(names, CPU)
    applied = apply_profile(
        both.graph, everything, profile_model(both.graph, {"x": samples}), RUNGS["equalization"]
    )
    (found,) = meter.measure(applied.quantized)
    assert found.sqnr_db > 100


@pytest.mark.parametrize("seed", range(2))
def test_an_outlier_in_the_residual_costs_little_noise(tmp_path, seed: int) -> None:
    path, samples = _encoder(tmp_path / "model.onnx", 100.0, seed=seed)
    graph = load_model(path).graph
    profile, units = profile_model(graph, {"x": samples}), default_assignment(graph)
    meter = QualityMeter(graph, {"x": samples})
    found = {
        rung: meter.measure(apply_profile(graph, units, profile, RUNGS[rung]).quantized)[0].sqnr_db
        for rung in ("bias correction", "equalization")
    }
    assert found["equalization"] > found["bias correction"] + 8


def test_the_default_takes_it_and_says_why_sums_stay(tmp_path) -> None:
    path, samples = _encoder(tmp_path / "model.onnx", 100.0)
    made = nest_tune.compile(path, "vta", tmp_path / "package", calibration={"x": samples})
    assert made.macs_share_npu > 0.99
    assert made.quality.sqnr_db > 10
    assert UNEVEN.rstrip(".") in [cause.reason for cause in made.cpu_causes]
    assert nest_tune.run(tmp_path / "package", {"x": samples[:2]}, check=True).bit_exact
