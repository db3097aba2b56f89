"""Additions with broadcasting on the NPU: plain definition = reference = QDQ model = package."""

from __future__ import annotations

import numpy as np
import onnxruntime
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler_core.compile.compile import compile_model
from compiler_core.compile.sources import FloatModel, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.ir import IntegerConv, IntegerSegment
from compiler_core.quantize.qdq import qdq_model
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from tests.compiler_core.units.vta import reference_operators as plain_operators

FLAGS = st.tuples(st.booleans(), st.booleans(), st.booleans())


def conv(b, x, name, inputs, outputs, size, seed, scale=1.0):
    weight = scale * np.random.default_rng(seed).standard_normal((outputs, inputs, 1, 1))
    w = b.constant(f"{name}_w", (weight / np.sqrt(inputs)).astype(np.float32))
    return b.add("Conv", [x, w], name, (outputs, *size), kernel_shape=(1, 1))


def image(plain, channels, size, kept, *, scale=1.0, swapped=False, alone=False, entering=False):
    """A convolution, and an activation with one element in place of the axes that are not kept."""
    shape = tuple(n if keep else 1 for n, keep in zip((channels, *size), kept, strict=True))
    b = plain.GraphBuilder(x=(5, *size), z=shape if entering else (7, *shape[1:]))
    large = conv(b, "x", "large", 5, channels, size, 1)
    small = "z" if entering else conv(b, "z", "small", 7, shape[0], shape[1:], 2, scale)
    if alone:
        large = b.add("MaxPool", [large], "p", (channels, *size), kernel_shape=(1, 1))
    names = [small, large] if swapped else [large, small]
    b.add("Add", names, "a", (channels, *size))
    conv(b, "a", "y", channels, 6, size, 3)
    return b.build("y")


def tokens(plain, count, width, kept, scale):
    """Tokens as pixels, features as channels."""
    shape = (count if kept[0] else 1, width if kept[1] else 1)
    b = plain.GraphBuilder(x=(count, 8), z=(shape[0], 8))
    generator = np.random.default_rng(4)
    first, second, last = (
        b.constant(name, (factor * generator.standard_normal(sizes)).astype(np.float32))
        for name, sizes, factor in (
            ("wx", (8, width), 1.0),
            ("wz", (8, shape[1]), scale),
            ("wy", (width, 4), 1.0),
        )
    )
    b.add("MatMul", ["x", first], "l", (count, width))
    b.add("MatMul", ["z", second], "s", shape)
    b.add("Add", ["l", "s"], "a", (count, width))
    b.add("MatMul", ["a", last], "y", (count, 4))
    return b.build("y")


def check(graph):
    generator = np.random.default_rng(5)
    data = {
        name: generator.standard_normal((3, *graph.types[name].shape[1:])).astype(np.float32)
        for name in graph.inputs
    }
    plan = default_assignment(graph)
    source = quantize_model(FloatModel("hand", "0" * 64, graph), Configuration(plan=plan), data)
    assert not source.cpu_reasons
    run = ReferenceExecutor(source.quantized).run_integer(data)
    found = [
        operator
        for segment in source.quantized.segments
        if isinstance(segment, IntegerSegment)
        for operator in segment.operators
        if isinstance(operator, IntegerConv) and operator.residual is not None
    ]
    assert len(found) == 1
    (operator,) = found
    result = run.tensors[operator.output]
    whole = np.broadcast_to(run.tensors[operator.residual], result.shape)
    expected = plain_operators.conv(operator, run.tensors[operator.input], whole)
    np.testing.assert_array_equal(result, expected)
    session = onnxruntime.InferenceSession(qdq_model(source.quantized).SerializeToString())
    for number in range(3):
        feeds = {name: values[number : number + 1] for name, values in data.items()}
        (result,) = session.run(None, feeds)
        np.testing.assert_array_equal(result[0], run.outputs["y"][number])
    executable = compile_model(source, load_target("vta")).executable
    assert run_checked(executable, Simulator(executable), data)[1] is None
    return operator


@given(
    channels=st.sampled_from([1, 3, 16, 20, 40]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kept=FLAGS,
    scale=st.sampled_from([0.02, 1.0, 40.0]),
    form=FLAGS,
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_images_are_the_same_everywhere(plain, channels, size, kept, scale, form):
    swapped, alone, entering = form
    check(
        image(
            plain,
            channels,
            size,
            kept,
            scale=scale,
            swapped=swapped,
            alone=alone,
            entering=entering,
        )
    )


@given(
    count=st.integers(1, 20),
    width=st.sampled_from([1, 16, 24]),
    kept=st.tuples(st.booleans(), st.booleans()),
    scale=st.sampled_from([0.05, 1.0, 30.0]),
)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_tokens_are_the_same_everywhere(plain, count, width, kept, scale):
    check(tokens(plain, count, width, kept, scale))


def test_it_is_added_in_the_accumulator_of_the_larger_operand(plain):
    operator = check(image(plain, 32, (8, 8), (True, False, False)))
    assert operator.name == "Conv_large"


def test_cores_of_longer_vectors_leave_it_to_others(plain):
    graph = image(plain, 32, (8, 8), (True, False, False))
    (node,) = [node for node in graph.nodes if node.op == "Add"]
    reason = target_arithmetic(load_target("vta-int4")).unsupported(graph, node)
    assert "vectors of 32" in reason


def test_both_operands_spread_stay_on_the_cpu(plain):
    b = plain.GraphBuilder(x=(4, 6, 1), z=(4, 1, 5))
    b.add("Add", ["x", "z"], "y", (4, 6, 5))
    graph = b.build("y")
    (node,) = graph.nodes
    reason = target_arithmetic(load_target("vta")).unsupported(graph, node)
    assert "cannot add others" in reason
