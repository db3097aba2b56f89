"""Equalization, factors and offsets change numbers, never the function."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.quantize.apply import apply_scheme
from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.equalization import equalize
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.input_equalization import equalize_inputs
from compiler_core.quantize.offsets import offset
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.rescaling import rescale
from compiler_core.quantize.scheme import QuantizationScheme, RangeMethod
from compiler_core.quantize.skeleton import ConcatStep, ConvStep
from compiler_core.quantize.split_inputs import split_inputs
from tests.float_runs import run_float


def random(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def evaluate(plain, skeleton, values):
    """Every tensor of a skeleton of one segment, in float64."""
    values = dict(values)
    for step in skeleton.steps:
        if isinstance(step, ConcatStep):
            values[step.output] = np.concatenate([values[name] for name in step.inputs], axis=1)
            continue
        if isinstance(step, ConvStep):
            window = (step.weight.shape[2:], step.strides, step.pads, step.dilations)
            result = plain.sum(values[step.input], step.weight, step.groups, *window)
            result = result + step.bias.reshape(1, -1, 1, 1)
            if step.residual is not None:
                result = result + values[step.residual]
        else:
            window = (step.kernel, step.strides, step.pads, step.dilations)
            windows = plain.windows(values[step.input], *window, -np.inf)
            result = windows.max(axis=(-1, -2))
        values[step.output] = result if step.clip is None else np.clip(result, *step.clip)
    return values


@pytest.fixture
def network(plain):
    """Depthwise and pointwise convolutions, a residual, a pool, clamps of both kinds."""
    b = plain.GraphBuilder(x=(4, 7, 7))
    image, same = (8, 7, 7), {"pads": (1, 1, 1, 1)}
    spread = np.float32(4.0) ** random(8, 1, 1, 1, seed=7)
    b.add(
        "Conv", ["x", b.constant("w", random(8, 4, 1, 1) * spread)], "a", image, clip=(0.0, np.inf)
    )
    inputs = ["a", b.constant("v", random(8, 1, 3, 3, seed=2)), b.constant("b", random(8, seed=3))]
    b.add("Conv", inputs, "d", image, group=8, clip=(0.0, 6.0), **same)
    b.add(
        "Conv", ["d", b.constant("u", random(8, 8, 1, 1, seed=4))], "e", image, clip=(0.0, np.inf)
    )
    b.add("Conv", ["e", b.constant("t", random(8, 8, 3, 3, seed=5))], "f", image, **same)
    b.add("Add", ["f", "e"], "s", image, clip=(0.0, np.inf))
    b.add("MaxPool", ["s"], "m", image, kernel_shape=(3, 3), **same)
    b.add("Conv", ["m", b.constant("r", random(5, 8, 7, 7, seed=6))], "y", (5, 1, 1))
    return b.build("y")


TRANSFORMATIONS = {
    "equalize": lambda skeleton, ranges: equalize(skeleton, ranges),
    "rescale": lambda skeleton, ranges: rescale(skeleton, ranges, RangeMethod.MSE),
    "offset": lambda skeleton, ranges: offset(skeleton, ranges, RangeMethod.MAX),
}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_function_stays(plain, network, name):
    x = random(6, 4, 7, 7, seed=8)
    ranges = profile_model(network, {"x": x}).ranges()
    skeleton = assemble(network, default_assignment(network))
    before = evaluate(plain, skeleton, {"x": x.astype(float)})
    changed, known = TRANSFORMATIONS[name](skeleton, ranges)
    after = evaluate(plain, changed, {"x": x.astype(float)})
    np.testing.assert_allclose(after["y"], before["y"], rtol=1e-4, atol=1e-4)
    moved = [tensor for tensor in after if not np.allclose(after[tensor], before[tensor])]
    assert moved
    for tensor in moved:
        if tensor in known:
            assert known[tensor].low <= after[tensor].min() + 1e-4
            assert known[tensor].high >= after[tensor].max() - 1e-4


def test_offset_needs_readers_without_padding(network):
    ranges = profile_model(network, {"x": random(6, 4, 7, 7)}).ranges()
    skeleton = assemble(network, default_assignment(network))
    changed, known = offset(skeleton, ranges, RangeMethod.MAX)
    assert known["d"].low == -known["d"].high
    assert known["a"] is ranges["a"]
    assert known["e"] is ranges["e"]
    assert len(changed.steps) == len(skeleton.steps)


def test_uneven_inputs_are_evened_out_on_the_cpu(plain):
    b = plain.GraphBuilder(x=(9, 6))
    b.add("MatMul", ["x", b.constant("w", random(6, 8))], "y", (9, 8))
    graph = b.build("y")
    x = random(5, 9, 6) * np.float32([300, 1, 1, 2, 1, 0])
    ranges = profile_model(graph, {"x": x}).ranges()
    found = equalize_inputs(graph, default_assignment(graph), ranges)
    assert [node.op for node in found.graph.nodes] == ["Mul", "MatMul"]
    assert found.assignment["MatMul_y/equalize"] == "cpu"
    outputs = run_float(found.graph, {"x": x}, ["y", "x/equalized"])
    np.testing.assert_allclose(outputs["y"], run_float(graph, {"x": x})["y"], rtol=1e-4, atol=1e-3)
    scaled = np.abs(outputs["x/equalized"]).max(axis=(0, 1))
    assert scaled.max() <= 1.0
    assert scaled[:5].min() > 0.25
    even = profile_model(graph, {"x": random(5, 9, 6)}).ranges()
    assert equalize_inputs(graph, default_assignment(graph), even).graph is graph


@pytest.mark.parametrize("opset", [8, 17])
def test_split_inputs_cost_less_than_one_part(plain, opset):
    b = plain.GraphBuilder(x=(3, 6, 6))
    generator = np.random.default_rng(5)
    # int8 holds these weights exactly.
    w, v = (generator.integers(-127, 128, (8, 3, k, k)).astype(np.float32) / 128 for k in (3, 1))
    b.add(
        "Conv",
        ["x", b.constant("w", w), b.constant("b", random(8))],
        "a",
        (8, 6, 6),
        pads=(1, 1, 1, 1),
    )
    b.add("Conv", ["x", b.constant("v", v)], "d", (8, 6, 6))
    b.add("Add", ["a", "d"], "y", (8, 6, 6))
    graph = b.build("y", opset=opset)
    x = np.random.default_rng(3).integers(0, 256, (12, 3, 6, 6)).astype(np.float32)
    units, ranges = default_assignment(graph), profile_model(graph, {"x": x}).ranges()
    found = split_inputs(graph, units, ranges)
    added = [node for node in found.graph.nodes if node.name not in units]
    assert {found.assignment[node.name] for node in added} == {"cpu"}
    assert [node.op for node in added].count("Concat") == 1  # both convolutions read the same parts
    parts = added[-1].output
    values = run_float(found.graph, {"x": x}, ["y", parts])
    np.testing.assert_allclose(values["y"], run_float(graph, {"x": x})["y"], rtol=1e-4, atol=0.02)
    whole, finer = values[parts][:, :3], values[parts][:, 3:]
    np.testing.assert_array_equal(whole, np.rint(whole))
    np.testing.assert_allclose(whole + finer / 16, x * np.float32(127 / 255), atol=1e-4)
    assert np.abs(finer).max() <= 8
    assert found.ranges[parts].channels[1].low.shape == (6,)

    errors = []
    for split in (False, True):
        scheme = QuantizationScheme(granularity=Granularity.CHANNEL, split_inputs=split)
        quantized = apply_scheme(graph, units, ranges, scheme).quantized
        run = ReferenceExecutor(quantized).run_integer({"x": x})
        errors.append(((run.outputs["y"] - values["y"]) ** 2).sum())
    assert errors[1] < errors[0]
    entered = run.tensors[parts].astype(float)
    # Half a step of the second part, in steps of the first.
    assert np.abs(entered[:, :3] + entered[:, 3:] / 16 - x * (127 / 255)).max() <= 1 / 32 + 1e-4


@pytest.mark.parametrize(("channels", "size"), [(9, 1.0), (8, 0.0), (8, 1e-42), (8, 1e30)])
def test_inputs_that_stay_whole(plain, channels, size):
    b = plain.GraphBuilder(x=(channels, 4, 4))
    b.add("Conv", ["x", b.constant("w", random(8, channels, 1, 1))], "y", (8, 4, 4))
    graph = b.build("y")
    samples = {"x": random(2, channels, 4, 4) * np.float32(size)}
    ranges = profile_model(graph, samples).ranges()
    assert split_inputs(graph, default_assignment(graph), ranges).graph is graph
