"""Choices of channels on the NPU: plain definition = reference = QDQ model = package."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from compiler_core.compile.compile import compile_model
from compiler_core.compile.sources import FloatModel, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.graph.ir import Node, TensorType
from compiler_core.graph.passes.simplify import simplify
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.qdq import qdq_model
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.targets.load import load_target
from compiler_core.units.names import CPU, CPU_INT8


def weights(outputs, inputs, seed):
    noise = np.random.default_rng(seed).standard_normal((outputs, inputs, 1, 1))
    return (noise / np.sqrt(inputs)).astype(np.float32)


def sliced(b, x, name, axis, taken, shape):
    limits = {"starts": taken[0], "ends": taken[1], "axes": axis, "steps": taken[2]}
    inputs = [b.constant(f"{name}_{k}", np.array([v], np.int64)) for k, v in limits.items()]
    return b.add("Slice", [x, *inputs], name, shape)


def shuffled(b, x, channels, size):
    parts = b.constant("parts", np.array([0, 2, channels // 2, *size], np.int64))
    whole = b.constant("whole", np.array([0, channels, *size], np.int64))
    b.add("Reshape", [x, parts], "r", (2, channels // 2, *size))
    b.add("Transpose", ["r"], "t", (channels // 2, 2, *size), perm=(0, 2, 1, 3, 4))
    return b.add("Reshape", ["t", whole], "u", (channels, *size))


def check(graph, tensor, chosen):
    """Everything is on the NPU, what is ``chosen`` of the integers of ``tensor`` too."""
    plan = default_assignment(graph)
    assert not {CPU, CPU_INT8} & set(plan.values())
    shape = graph.types["x"].shape[1:]
    data = {"x": np.random.default_rng(5).standard_normal((3, *shape)).astype(np.float32)}
    source = quantize_model(FloatModel("hand", "0" * 64, graph), Configuration(plan=plan), data)
    assert not source.cpu_reasons
    run = ReferenceExecutor(source.quantized).run_integer(data)
    tensors = source.quantized.tensors
    shift = tensors[tensor].exponent - tensors["h"].exponent
    expected = chosen(run.tensors[tensor].astype(np.int64))
    moved = (expected + (1 << shift >> 1)) >> shift if shift > 0 else expected << -shift
    expected = np.clip(moved, -128, 127).reshape(run.tensors["h"].shape)
    np.testing.assert_array_equal(run.tensors["h"], expected)
    session = onnxruntime.InferenceSession(qdq_model(source.quantized).SerializeToString())
    for number, sample in enumerate(data["x"]):
        found = session.run(None, {"x": sample[None]})[0]
        np.testing.assert_array_equal(found[0], run.outputs["y"][number])
    executable = compile_model(source, load_target("vta")).executable
    assert run_checked(executable, Simulator(executable), data)[1] is None


@given(
    channels=st.integers(2, 40),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    taken=st.tuples(st.integers(0, 39), st.integers(1, 40), st.sampled_from([1, 1, 2, 3])),
    behind_a_shuffle=st.booleans(),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_channels_of_images(plain, channels, size, taken, behind_a_shuffle):
    channels += channels % 2
    which = range(channels)[slice(*taken)]
    assume(0 < len(which) < channels)
    b = plain.GraphBuilder(x=(channels, *size))
    b.add("Conv", ["x", b.constant("w", weights(channels, channels, 1))], "a", (channels, *size))
    x = shuffled(b, "a", channels, size) if behind_a_shuffle else "a"
    sliced(b, x, "h", 1, taken, (len(which), *size))
    b.add("Conv", ["h", b.constant("v", weights(6, len(which), 2))], "y", (6, *size))
    order = np.arange(channels)
    order = order.reshape(2, -1).T.reshape(-1) if behind_a_shuffle else order
    check(b.build("y"), "a", lambda a: a[:, order[list(which)]])


@given(
    tokens=st.integers(2, 9),
    features=st.integers(2, 40),
    taken=st.tuples(st.integers(0, 39), st.integers(1, 40), st.sampled_from([1, 2])),
)
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_features_of_sequences(plain, tokens, features, taken):
    which = range(features)[slice(*taken)]
    assume(0 < len(which) < features)
    b = plain.GraphBuilder(x=(tokens, 20))
    b.add("MatMul", ["x", b.constant("w", weights(20, features, 1)[:, :, 0, 0])], "a",
          (tokens, features))  # fmt: skip
    sliced(b, "a", "h", 2, taken, (tokens, len(which)))
    b.add("MatMul", ["h", b.constant("v", weights(len(which), 5, 2)[:, :, 0, 0])], "y", (tokens, 5))
    check(b.build("y"), "a", lambda a: a[:, list(which)])


@pytest.mark.parametrize("sizes", [(16, 16), (5, 20, 7)])
def test_a_split_is_slices_that_need_nothing_of_the_cpu(plain, sizes):
    channels, size = sum(sizes), (3, 4)
    b = plain.GraphBuilder(x=(channels, *size))
    b.add("Conv", ["x", b.constant("w", weights(channels, channels, 1))], "a", (channels, *size))
    given_ = b.constant("sizes", np.array(sizes, np.int64))
    names = [f"p{number}" for number in range(len(sizes))]
    b.nodes.append(Node("Split_a", "Split", ("a", given_), tuple(names), {"axis": 1}))
    for name, count in zip(names, sizes, strict=True):
        b.types[name] = TensorType("float32", (1, count, *size))
    total = ""
    for number, (name, count) in enumerate(zip(names, sizes, strict=True)):
        b.add("Conv", [name, b.constant(f"v{number}", weights(6, count, number))], f"c{number}",
              (6, *size))  # fmt: skip
        total = b.add("Add", [total, f"c{number}"], f"s{number}", (6, *size)) if total else "c0"
    graph = simplify(b.build(total))
    assert [node.op for node in graph.nodes].count("Slice") == len(sizes)
    assert not {CPU, CPU_INT8} & set(default_assignment(graph).values())


def test_what_the_caller_hands_in_is_taken_apart_before_it_is_laid_out(plain):
    """Two images in one tensor: each stem folds its taps into the lanes that its image leaves."""
    b = plain.GraphBuilder(x=(6, 8, 8))
    for name, first in (("l", 0), ("r", 3)):
        sliced(b, "x", name, 1, (first, first + 3, 1), (3, 8, 8))
        b.add("Conv", [name, b.constant(f"{name}_w", weights(16, 3, first))], f"{name}_c",
              (16, 8, 8))  # fmt: skip
    b.add("Add", ["l_c", "r_c"], "y", (16, 8, 8))
    plan = default_assignment(b.build("y"))
    assert {name for name, unit in plan.items() if unit == CPU} == {"Slice_l", "Slice_r"}
