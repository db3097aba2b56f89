"""Transposed convolutions and pixel shuffles on the NPU: plain definition = reference = QDQ model =
package, and no work of the CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler_core.compile.compile import compile_model
from compiler_core.compile.sources import FloatModel, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.errors import InputError
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.graph.passes.simplify import simplify
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.ir import IntegerConv, IntegerSegment
from compiler_core.quantize.qdq import qdq_model
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.tensor.operator_checks import check_operators
from compiler_core.tensor.operator_file import operator_entries, read_operators
from compiler_core.units.names import CPU, CPU_INT8
from tests.compiler_core.units.vta import reference_operators as plain_operators
from tests.compiler_core.units.vta.lower.test_interleaved import side_by_side


def weight(b, name, shape, seed):
    values = np.random.default_rng(seed).standard_normal(shape) / np.sqrt(shape[1] * shape[-1])
    return b.constant(name, values.astype(np.float32))


def transposed(plain, channels, size, stride, kernel, relu):
    """A transposed convolution without a border to cut off, between convolutions."""
    b = plain.GraphBuilder(x=(6, *size))
    b.add("Conv", ["x", weight(b, "wa", (9, 6, 1, 1), 1)], "a", (9, *size), kernel_shape=(1, 1))
    result = (channels, size[0] * stride, size[1] * stride)
    pads = tuple([(kernel - stride) // 2] * 2 + [(kernel - stride + 1) // 2] * 2)
    b.add(
        "ConvTranspose",
        ["a", weight(b, "wt", (9, channels, kernel, kernel), 2)],
        "t",
        result,
        kernel_shape=(kernel, kernel),
        strides=(stride, stride),
        pads=pads,
    )
    last = b.add("Relu", ["t"], "r", result) if relu else "t"
    b.add(
        "Conv",
        [last, weight(b, "wy", (3, channels, 1, 1), 3)],
        "y",
        (3, *result[1:]),
        kernel_shape=(1, 1),
    )
    return simplify(b.build("y"))


def shuffled(plain, channels, size, block, mode, alone):
    """Pixels shuffled behind a convolution, or behind a pool."""
    b, phases = plain.GraphBuilder(x=(5, *size)), channels * block * block
    w = weight(b, "wa", (phases, 5, 1, 1), 1)
    last = b.add("Conv", ["x", w], "a", (phases, *size), kernel_shape=(1, 1))
    if alone:
        last = b.add("MaxPool", [last], "p", (phases, *size), kernel_shape=(1, 1))
    result = (channels, size[0] * block, size[1] * block)
    b.add("DepthToSpace", [last], "d", result, blocksize=block, mode=mode)
    b.add(
        "Conv",
        ["d", weight(b, "wy", (3, channels, 1, 1), 3)],
        "y",
        (3, *result[1:]),
        kernel_shape=(1, 1),
    )
    return b.build("y")


def quantized(graph, plan=None):
    data = {"x": np.random.default_rng(5).standard_normal((3, *graph.types["x"].shape[1:]))}
    data = {"x": data["x"].astype(np.float32)}
    plan = default_assignment(graph) if plan is None else plan
    return quantize_model(FloatModel("hand", "0" * 64, graph), Configuration(plan=plan), data), data


def check(graph, plan=None):
    source, data = quantized(graph, plan)
    run = ReferenceExecutor(source.quantized).run_integer(data)
    found = []
    for segment in source.quantized.segments:
        if not isinstance(segment, IntegerSegment):
            continue
        document, constants = operator_entries(segment.operators)
        again = read_operators(document, constants, "here")
        shapes = {name: tensor.shape for name, tensor in source.quantized.tensors.items()}
        check_operators(again, segment.inputs, segment.outputs, shapes, "here")
        for one, other in zip(segment.operators, again, strict=True):
            if isinstance(one, IntegerConv) and one.interleave > 1:
                assert other.interleave == one.interleave
                found.append(one)
    for operator in found:
        phases = plain_operators.conv(operator, run.tensors[operator.input])
        expected = side_by_side(phases, operator.interleave)
        np.testing.assert_array_equal(run.tensors[operator.output], expected)
    session = onnxruntime.InferenceSession(qdq_model(source.quantized).SerializeToString())
    for number in range(3):
        (result,) = session.run(None, {"x": data["x"][number : number + 1]})
        np.testing.assert_array_equal(result[0], run.outputs["y"][number])
    executable = compile_model(source, load_target("vta")).executable
    assert run_checked(executable, Simulator(executable), data)[1] is None
    return source, found


@given(
    channels=st.sampled_from([16, 16, 32, 20]),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    stride=st.integers(2, 3),
    more=st.integers(0, 2),
    relu=st.booleans(),
)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_transposed_convolutions_are_the_same_everywhere(plain, channels, size, stride, more, relu):
    source, found = check(transposed(plain, channels, size, stride, stride + more, relu))
    if channels % 16 == 0 and more == 0:
        assert len(found) == 1
        assert not source.quantized.host.groups


@given(
    channels=st.sampled_from([16, 32]),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    block=st.integers(1, 3),
    mode=st.sampled_from(["DCR", "CRD"]),
    alone=st.booleans(),
)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_shuffled_pixels_are_the_same_everywhere(plain, channels, size, block, mode, alone):
    source, found = check(shuffled(plain, channels, size, block, mode, alone))
    assert len(found) == (block > 1)
    assert not source.quantized.host.groups


@pytest.mark.parametrize("place", [CPU, CPU_INT8])
def test_the_plan_may_leave_it_to_the_cpu(plain, place):
    graph = shuffled(plain, 16, (4, 4), 2, "DCR", alone=False)
    (node,) = [node for node in graph.nodes if node.op == "DepthToSpace"]
    source, found = check(graph, default_assignment(graph) | {node.name: place})
    assert not found
    assert len(source.quantized.host.groups) == (place == CPU_INT8)


def test_parts_of_blocks_and_other_cores_leave_it_to_the_cpu(plain):
    graph = shuffled(plain, 20, (4, 4), 2, "DCR", alone=False)
    (node,) = [node for node in graph.nodes if node.op == "DepthToSpace"]
    assert "fill whole ones" in target_arithmetic(load_target("vta")).unsupported(graph, node)
    graph = shuffled(plain, 32, (4, 4), 2, "DCR", alone=False)
    (node,) = [node for node in graph.nodes if node.op == "DepthToSpace"]
    reason = target_arithmetic(load_target("vta-int4")).unsupported(graph, node)
    assert "vectors of 32" in reason


def test_operators_of_packages_have_whole_phases(plain):
    _, (operator,) = check(shuffled(plain, 16, (4, 4), 2, "DCR", alone=False))
    shapes = {operator.input: (1, 5, 4, 4), operator.output: (1, 16, 8, 8)}
    for broken in (replace(operator, interleave=3), replace(operator, interleave=0)):
        with pytest.raises(InputError, match="interleave"):
            check_operators((broken,), (operator.input,), (operator.output,), shapes, "here")
