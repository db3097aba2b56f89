"""Attention on the NPU: plain definition = reference = QDQ model = package."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler_core.compile.compile import compile_model
from compiler_core.compile.sources import FloatModel, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.quantize.apply import apply_profile
from compiler_core.quantize.assignment import cpu_reasons, default_assignment
from compiler_core.quantize.ir import IntegerProduct, IntegerSegment, IntegerTranspose
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.qdq import qdq_model
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.units.names import CPU, CPU_INT8


def dense(b, x, name, tokens, inputs, outputs, seed):
    weight = np.random.default_rng(seed).standard_normal((inputs, outputs)) / np.sqrt(inputs)
    w = b.constant(f"{name}_w", weight.astype(np.float32))
    return b.add("MatMul", [x, w], name, (tokens, outputs))


def split(b, x, name, tokens, heads, width, order):
    """Heads before tokens, the axes of each head in an order."""
    shape = b.constant(f"{name}_shape", np.array([0, tokens, heads, width], np.int64))
    b.add("Reshape", [x, shape], f"{name}_r", (tokens, heads, width))
    sizes = (tokens, heads, width)
    return b.add(
        "Transpose", [f"{name}_r"], name, tuple(sizes[axis - 1] for axis in order), perm=(0, *order)
    )


def attention(plain, tokens, heads, width, *, keys=None, one_head_as_matrix=False):
    """Self-attention with projections; with ``keys`` tokens of another input, cross-attention."""
    inner, other = heads * width, keys or tokens
    b = plain.GraphBuilder(x=(tokens, 20), **({} if keys is None else {"z": (keys, 20)}))
    z = "x" if keys is None else "z"
    q = dense(b, "x", "q", tokens, 20, inner, 1)
    k, v = (dense(b, z, name, other, 20, inner, seed) for name, seed in (("k", 2), ("v", 3)))
    lead = () if one_head_as_matrix else (heads,)
    if one_head_as_matrix:
        k = b.add("Transpose", [k], "kt", (width, other), perm=(0, 2, 1))
    else:
        q = split(b, q, "qh", tokens, heads, width, (2, 1, 3))
        k = split(b, k, "kh", other, heads, width, (2, 3, 1))
        v = split(b, v, "vh", other, heads, width, (2, 1, 3))
    b.add("MatMul", [q, k], "s", (*lead, tokens, other))
    b.add("Mul", ["s", b.constant("scale", np.float32(width**-0.5))], "m", (*lead, tokens, other))
    b.add("Softmax", ["m"], "p", (*lead, tokens, other), axis=-1)
    o = b.add("MatMul", ["p", v], "o", (*lead, tokens, width))
    if not one_head_as_matrix:
        b.add("Transpose", [o], "t", (tokens, heads, width), perm=(0, 2, 1, 3))
        shape = b.constant("merged", np.array([0, tokens, inner], np.int64))
        o = b.add("Reshape", ["t", shape], "f", (tokens, inner))
    dense(b, o, "y", tokens, inner, 12, 4)
    return b.build("y")


def samples(graph, count=3, scale=1.0):
    generator = np.random.default_rng(5)
    return {
        name: (scale * generator.standard_normal((count, *graph.types[name].shape[1:]))).astype(
            np.float32
        )
        for name in graph.inputs
    }


def quantized(graph, data, plan=None):
    plan = default_assignment(graph) if plan is None else plan
    return quantize_model(FloatModel("hand", "0" * 64, graph), Configuration(plan=plan), data)


def operators(source):
    return [
        operator
        for segment in source.quantized.segments
        if isinstance(segment, IntegerSegment)
        for operator in segment.operators
    ]


def plain_result(operator, tensors):
    x = tensors[operator.input].astype(np.int64)
    n, channels = x.shape[:2]
    grouped = x.reshape(n, operator.groups, channels // operator.groups, -1)
    if isinstance(operator, IntegerTranspose):
        return grouped.transpose(0, 1, 3, 2).reshape(n, -1, 1, channels // operator.groups)
    w = tensors[operator.operand].astype(np.int64).reshape(*grouped.shape[:3], -1)
    acc = np.einsum("ngkj,ngkm->ngjm", w, grouped)
    levels = acc + (1 << operator.shift >> 1) >> operator.shift
    clipped = np.clip(levels, operator.clip_min, operator.clip_max)
    return clipped.reshape(n, -1, *x.shape[2:])


def check(graph, data):
    source = quantized(graph, data)
    run = ReferenceExecutor(source.quantized).run_integer(data)
    kinds = IntegerProduct | IntegerTranspose
    found = [operator for operator in operators(source) if isinstance(operator, kinds)]
    for operator in found:
        expected = plain_result(operator, run.tensors)
        np.testing.assert_array_equal(run.tensors[operator.output], expected)
    session = onnxruntime.InferenceSession(qdq_model(source.quantized).SerializeToString())
    for number in range(len(data["x"])):
        feeds = {name: values[number : number + 1] for name, values in data.items()}
        (result,) = session.run(None, feeds)
        np.testing.assert_array_equal(result[0], run.outputs["y"][number])
    executable = compile_model(source, load_target("vta")).executable
    assert run_checked(executable, Simulator(executable), data)[1] is None
    return source, found


@given(
    tokens=st.integers(1, 40),
    heads=st.integers(1, 3),
    width=st.sampled_from([8, 16, 24, 32]),
    keys=st.one_of(st.none(), st.integers(1, 40)),
    scale=st.sampled_from([0.05, 1.0, 30.0]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_attention_is_the_same_everywhere(plain, tokens, heads, width, keys, scale):
    graph = attention(plain, tokens, heads, width, keys=keys)
    check(graph, samples(graph, scale=scale))


@pytest.mark.parametrize("tokens", [16, 21])
@pytest.mark.parametrize("heads", [1, 2])
def test_heads_of_whole_blocks_need_nothing_of_the_cpu_but_the_softmax(plain, tokens, heads):
    graph = attention(plain, tokens, heads, 16)
    source, found = check(graph, samples(graph))
    assert sum(isinstance(operator, IntegerProduct) for operator in found) == 2
    assert sum(isinstance(operator, IntegerTranspose) for operator in found) == 1
    assert [group.nodes for group in source.quantized.host.groups] == [("Mul_m", "Softmax_p")]
    assert not source.cpu_reasons
    # The transposition does not stand between the scores and the end of their program.
    (first, *_) = [s for s in source.quantized.segments if isinstance(s, IntegerSegment)]
    assert [operator.name for operator in first.operators][-1] == "MatMul_s"
    # No copy for whole blocks of tokens: projections write them.
    assert not [op for op in operators(source) if op.name.endswith("/pixels")]


def test_one_head_without_an_axis_of_its_own(plain):
    graph = attention(plain, 21, 1, 32, one_head_as_matrix=True)
    _, found = check(graph, samples(graph))
    assert [type(operator).__name__ for operator in found] == [
        "IntegerTranspose",
        "IntegerProduct",
        "IntegerProduct",
    ]


def test_two_readers_of_a_projection_get_a_copy_in_whole_blocks(plain):
    b = plain.GraphBuilder(x=(21, 16))
    k = dense(b, "x", "k", 21, 16, 16, 1)
    b.add("Transpose", [k], "t", (16, 21), perm=(0, 2, 1))
    b.add("MatMul", [k, "t"], "y", (21, 21))
    graph = b.build("y")
    source, _ = check(graph, samples(graph))
    assert [op.name for op in operators(source) if op.name.endswith("/pixels")] == [
        "MatMul_y/pixels"
    ]


def test_factors_that_enter_from_the_cpu_are_laid_out_there(plain):
    b = plain.GraphBuilder(x=(2, 7, 5), z=(2, 5, 9))
    b.add("MatMul", ["x", "z"], "y", (2, 7, 9))
    graph = b.build("y")
    source, found = check(graph, samples(graph))
    assert len(found) == 1
    shapes = {name: tensor.shape for name, tensor in source.quantized.tensors.items()}
    assert shapes == {"x": (1, 32, 1, 7), "z": (1, 32, 1, 16), "y": (1, 32, 1, 7)}


def test_the_cpu_has_the_choice_of_integers(plain):
    graph = attention(plain, 21, 2, 16)
    plan = {**default_assignment(graph), "MatMul_s": CPU_INT8, "MatMul_o": CPU_INT8}
    data = samples(graph)
    source = quantized(graph, data, plan)
    names = [group.name for group in source.quantized.host.groups]
    assert names == ["MatMul_s", "Softmax_p", "MatMul_o"]
    executable = compile_model(source, load_target("vta")).executable
    assert run_checked(executable, Simulator(executable), data)[1] is None


@pytest.mark.parametrize("target", ["vta-x2", "vta-int4", "vta-duo"])
def test_other_targets_run_it_where_they_can(plain, target):
    graph = attention(plain, 21, 2, 16)
    reasons = cpu_reasons(graph, target_arithmetic(load_target(target)))
    assert ("MatMul_s" in reasons) is (target != "vta-x2")


@pytest.mark.parametrize("scheme", [{"rescaling": True}, {"equalization": True}])
def test_schemes_that_change_projections_leave_products_right(plain, scheme):
    graph = attention(plain, 21, 2, 16)
    data = samples(graph, 8)
    exact = ReferenceExecutor(quantized(graph, data).quantized).run(data)["y"]
    plan, profile = default_assignment(graph), profile_model(graph, data)
    applied = apply_profile(graph, plan, profile, QuantizationScheme(**scheme))
    found = ReferenceExecutor(applied.quantized).run(data)["y"]
    assert np.abs(found - exact).max() < 0.25 * np.abs(exact).max()


@pytest.mark.parametrize("equalization", [True, False])
def test_a_product_of_what_the_cpu_has_in_float_keeps_its_factors(plain, equalization):
    """Inputs of dense layers are evened out where weights take it back."""
    b = plain.GraphBuilder(x=(12, 20))
    q, k = (dense(b, "x", name, 12, 20, 16, seed) for name, seed in (("q", 1), ("k", 2)))
    uneven = b.constant("uneven", np.geomspace(1e-3, 1, 16).astype(np.float32))
    u = b.add("Mul", [q, uneven], "u", (12, 16))
    k = b.add("Transpose", [k], "kt", (16, 12), perm=(0, 2, 1))
    b.add("MatMul", [u, k], "y", (12, 12))
    graph = b.build("y")
    data = samples(graph)
    plan = default_assignment(graph) | {"Mul_u": CPU}
    profile = profile_model(graph, data)
    scheme = QuantizationScheme(equalization=equalization)
    source = apply_profile(graph, plan, profile, scheme)
    assert any(isinstance(operator, IntegerProduct) for operator in operators(source))
    run = ReferenceExecutor(source.quantized).run(data)["y"]
    session = onnxruntime.InferenceSession(qdq_model(source.quantized).SerializeToString())
    for number, sample in enumerate(data["x"]):
        np.testing.assert_array_equal(session.run(None, {"x": sample[None]})[0][0], run[number])


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(tokens=st.integers(1, 37), width=st.integers(1, 40))
def test_a_column_of_scores_is_read_without_its_room(plain, tokens, width):
    b = plain.GraphBuilder(x=(tokens, 20), z=(1, 20))
    h = dense(b, "x", "h", tokens, 20, width, 1)
    q = dense(b, "z", "q", 1, 20, width, 2)
    column = b.constant("column", np.array([0, width, 1], np.int64))
    b.add("Reshape", [q, column], "qc", (width, 1))
    b.add("MatMul", [h, "qc"], "s", (tokens, 1))
    b.add("Reshape", ["s", b.constant("flat", np.array([0, tokens], np.int64))], "y", (tokens,))
    graph = b.build("y")
    check(graph, samples(graph))
