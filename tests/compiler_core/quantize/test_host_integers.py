"""The CPU on the integers of the NPU: plain definition = reference = QDQ model = package."""

from __future__ import annotations

from math import erf

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
from compiler_core.graph.extract import extract
from compiler_core.graph.session import FloatSession
from compiler_core.quantize import host_tables
from compiler_core.quantize.assignment import cpu_reasons, default_assignment
from compiler_core.quantize.host_groups import host_groups
from compiler_core.quantize.host_tables import table_levels
from compiler_core.quantize.qdq import qdq_model
from compiler_core.quantize.rebuild import apply_exponents
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.text import quantized_digest
from compiler_core.recent import Recent
from compiler_core.targets.load import load_target
from compiler_core.units.names import CPU, CPU_INT8

INTEGERS = np.arange(-128, 128)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


FUNCTIONS = {
    "Abs": (np.abs, {}),
    "Ceil": (np.ceil, {}),
    "Celu": (lambda x: np.maximum(x, 0) + np.minimum(0, 0.5 * np.expm1(x / 0.5)), {"alpha": 0.5}),
    "Cos": (np.cos, {}),
    "Elu": (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), {}),
    "Erf": (np.vectorize(erf, otypes=[float]), {}),
    "Exp": (np.exp, {}),
    "Floor": (np.floor, {}),
    "HardSigmoid": (lambda x: np.clip(0.25 * x + 0.5, 0, 1), {"alpha": 0.25, "beta": 0.5}),
    "HardSwish": (lambda x: x * np.clip(x / 6 + 0.5, 0, 1), {}),
    "LeakyRelu": (lambda x: np.where(x < 0, 0.125 * x, x), {"alpha": 0.125}),
    "Mish": (lambda x: x * np.tanh(softplus(x)), {}),
    "Neg": (np.negative, {}),
    "Round": (np.rint, {}),
    "Selu": (lambda x: 1.0507009 * np.where(x > 0, x, 1.6732632 * np.expm1(np.minimum(x, 0))), {}),
    "Sigmoid": (sigmoid, {}),
    "Sign": (np.sign, {}),
    "Sin": (np.sin, {}),
    "Softplus": (softplus, {}),
    "Softsign": (lambda x: x / (1 + np.abs(x)), {}),
    "Tanh": (np.tanh, {}),
    "ThresholdedRelu": (lambda x: np.where(x > 0.5, x, 0), {"alpha": 0.5}),
}


@pytest.mark.parametrize("source", [-3, 0, 3, 5])
@pytest.mark.parametrize("op", FUNCTIONS)
def test_tables_are_the_rounded_function(plain, op, source):
    function, attributes = FUNCTIONS[op]
    b = plain.GraphBuilder(x=(8,))
    b.add(op, ["x"], "y", (8,), **attributes)
    graph = b.build("y", opset=18)
    real = INTEGERS * 2.0**-source
    for result in (-4, 0, 4, 7):
        with np.errstate(over="ignore"):
            exact = np.clip(function(real) * 2.0**result, -1e6, 1e6)
        found = table_levels(graph, graph.nodes, "x", (source, result)).astype(np.int64)
        rounded = np.clip(np.rint(exact), -128, 127).astype(np.int64)
        # Within the rounding of float32 a sum may fall on either side of a tie.
        near = np.abs(np.abs(exact - np.floor(exact)) - 0.5) < 1e-5 * np.maximum(1, np.abs(exact))
        np.testing.assert_array_equal(found[~near], rounded[~near])
        assert np.abs(found - rounded).max() <= 1


def test_numbers_without_a_value_become_zero(plain):
    b = plain.GraphBuilder(x=(8,))
    b.add("Log", ["x"], "y", (8,))
    graph = b.build("y")
    found = table_levels(graph, graph.nodes, "x", (4, 4))
    assert not found[:128].any()
    assert found[128] == -128


def test_chains_alike_but_for_names_are_computed_once(plain, monkeypatch):
    made = []
    real = host_tables._levels
    monkeypatch.setattr(host_tables, "_levels", lambda *a: made.append(a) or real(*a))
    monkeypatch.setattr(host_tables, "_KNOWN", Recent(8))

    def levels(alpha, name, exponents=(4, 4)):
        b = plain.GraphBuilder(**{name: (8,)})
        b.add("Elu", [name], f"{name}/y", (8,), alpha=alpha)
        graph = b.build(f"{name}/y")
        return table_levels(graph, graph.nodes, name, exponents)

    first = levels(1.0, "a")
    np.testing.assert_array_equal(levels(1.0, "b"), first)
    assert len(made) == 1
    assert (levels(0.5, "b") != first).any()
    assert (levels(1.0, "b", (4, 5)) != first).any()
    assert len(made) == 3


# Networks: a convolution, what the CPU does, a convolution -------------------------------------


def silu(b, x, shape):
    b.add("Sigmoid", [x], "s", shape)
    return b.add("Mul", [x, "s"], "h", shape), shape


def gelu(b, x, shape):
    b.add("Div", [x, b.constant("root", np.float32(1.4142135))], "d", shape)
    b.add("Erf", ["d"], "e", shape)
    b.add("Add", ["e", b.constant("one", np.float32(1))], "p", shape)
    b.add("Mul", [x, "p"], "m", shape)
    return b.add("Mul", ["m", b.constant("half", np.float32(0.5))], "h", shape), shape


def tanh_gelu(b, x, shape):
    """Spelled out: the addition of two activations in its midst is not the NPU's."""
    b.add("Mul", [x, x], "q", shape)
    b.add("Mul", ["q", x], "c", shape)
    b.add("Mul", ["c", b.constant("cubic", np.float32(0.044715))], "d", shape)
    b.add("Add", [x, "d"], "s", shape)
    b.add("Mul", ["s", b.constant("factor", np.float32(0.7978846))], "t", shape)
    b.add("Tanh", ["t"], "u", shape)
    b.add("Add", ["u", b.constant("one", np.float32(1))], "p", shape)
    b.add("Mul", [x, "p"], "m", shape)
    return b.add("Mul", ["m", b.constant("half", np.float32(0.5))], "h", shape), shape


def gate(b, x, shape):
    b.add("GlobalAveragePool", [x], "g", (shape[0], 1, 1))
    b.add("HardSigmoid", ["g"], "q", (shape[0], 1, 1))
    return b.add("Mul", [x, "q"], "h", shape), shape


def scaled(b, x, shape):
    factors = np.linspace(0.25, 2, shape[0]).astype(np.float32).reshape(1, -1, 1, 1)
    return b.add("Mul", [x, b.constant("f", factors)], "h", shape, clip=(0.0, 1.5)), shape


def concatenated(b, x, shape):
    b.add("Conv", ["x", b.constant("k", weights(5, shape[0], 3))], "o", (5, *shape[1:]))
    wide = (shape[0] + 5, *shape[1:])
    return b.add("Concat", [x, "o"], "h", wide, axis=1), wide


def sliced(b, x, shape):
    """Not to the last row, which the NPU would do."""
    rows = (shape[1] + 1) // 2
    inputs = [b.constant(name, np.array([value], np.int64))
              for name, value in (("starts", 0), ("ends", rows), ("axes", 2))]  # fmt: skip
    few = (shape[0], rows, shape[2])
    return b.add("Slice", [x, *inputs], "h", few), few


def resized(b, x, shape):
    by = b.constant("by", np.array([1, 1, 2, 3], np.float32))
    large = (shape[0], 2 * shape[1], 3 * shape[2])
    kind = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    return b.add("Resize", [x, "", by], "h", large, nearest_mode="floor", **kind), large


def smoothed(b, x, shape):
    by = b.constant("by", np.array([1, 1, 2, 2], np.float32))
    large = (shape[0], 2 * shape[1], 2 * shape[2])
    return b.add("Resize", [x, "", by], "h", large, mode="linear"), large


def normalized(b, x, shape):
    return b.add("Softmax", [x], "h", shape, axis=1), shape


def hides(shape):
    """Scores that nobody looks at, the first of each row not among them."""
    hidden = np.random.default_rng(7).random(shape) < 0.5
    hidden[0] = False
    return hidden


def masked(b, x, shape):
    mask = np.where(hides(shape), -np.inf, 0).astype(np.float32)
    b.add("Add", [x, b.constant("mask", mask)], "m", shape)
    return b.add("Softmax", ["m"], "h", shape, axis=1), shape


def replaced(b, x, shape):
    inputs = [b.constant("hides", hides(shape)), b.constant("never", np.float32(-np.inf)), x]
    b.add("Where", inputs, "m", shape)
    return b.add("Softmax", ["m"], "h", shape, axis=1), shape


def chosen(b, x, shape):
    inputs = [b.constant("hides", hides(shape)), b.constant("other", np.float32(0.5)), x]
    return b.add("Where", inputs, "h", shape), shape


def mean(b, x, name, shape):
    return b.add("ReduceMean", [x], name, (1, *shape[1:]), axes=(1,), keepdims=1)


def layer_normalized(b, x, shape):
    """Written out, over channels: deviation over its root mean square, factor and offset."""
    one = (1, *shape[1:])
    b.add("Sub", [x, mean(b, x, "m", shape)], "d", shape)
    b.add("Pow", ["d", b.constant("two", np.float32(2))], "q", shape)
    b.add("Add", [mean(b, "q", "z", shape), b.constant("eps", np.float32(1e-5))], "p", one)
    b.add("Sqrt", ["p"], "r", one)
    b.add("Div", ["d", "r"], "n", shape)
    return scaled(b, "n", shape)


def root_mean_square(b, x, shape):
    one = (1, *shape[1:])
    b.add("Mul", [x, x], "q", shape)
    b.add("Add", [mean(b, "q", "z", shape), b.constant("eps", np.float32(1e-6))], "p", one)
    b.add("Sqrt", ["p"], "r", one)
    b.add("Reciprocal", ["r"], "i", one)
    return b.add("Mul", [x, "i"], "h", shape), shape


def shuffled(b, x, shape):
    half = shape[0] // 2
    parts = b.constant("parts", np.array([0, 2, half, *shape[1:]], np.int64))
    whole = b.constant("whole", np.array([0, *shape], np.int64))
    b.add("Reshape", [x, parts], "r", (2, half, *shape[1:]))
    b.add("Transpose", ["r"], "t", (half, 2, *shape[1:]), perm=(0, 2, 1, 3, 4))
    b.add("Reshape", ["t", whole], "u", shape)
    return sliced(b, "u", shape)


NETWORKS = {
    made.__name__: made
    for made in (
        *(silu, gelu, tanh_gelu, gate, scaled),
        *(concatenated, sliced, resized, smoothed, normalized, masked, replaced, chosen),
    )
}
WHOLE = {made.__name__: made for made in (layer_normalized, root_mean_square)}
"""Sums over rows within one loop."""


def weights(outputs, inputs, seed):
    generator = np.random.default_rng(seed)
    return (generator.standard_normal((outputs, inputs, 1, 1)) / np.sqrt(inputs)).astype(np.float32)


def network(plain, made, channels, size, opset=17):
    b = plain.GraphBuilder(x=(channels, *size))
    shape = (channels, *size)
    b.add("Conv", ["x", b.constant("w", weights(channels, channels, 1))], "a", shape)
    h, shape = made(b, "a", shape)
    b.add("Conv", [h, b.constant("v", weights(6, shape[0], 2))], "y", (6, *shape[1:]))
    return b.build("y", opset=opset)


def samples(graph, scale, count=3):
    shape = graph.types["x"].shape[1:]
    noise = np.random.default_rng(5).standard_normal((count, *shape))
    return {"x": (scale * noise).astype(np.float32)}


def quantized(graph, data):
    plan = default_assignment(graph)
    return quantize_model(FloatModel("hand", "0" * 64, graph), Configuration(plan=plan), data)


def rounded_result(graph, source, run):
    """What the group that writes ``h`` makes of the integers that it reads, by its operators."""
    (group,) = source.quantized.host.groups
    tensors = source.quantized.tensors
    read = {n: run.tensors[n].astype(np.float32) for n in group.inputs}
    real = {n: v * np.float32(2.0 ** -tensors[n].exponent) for n, v in read.items()}
    nodes = [node for node in graph.nodes if node.name in group.nodes]
    (output,) = group.outputs
    values = plain_values(graph, nodes, real)[output]
    levels = np.rint(values * np.float32(2.0 ** tensors[output].exponent))
    return output, np.clip(levels, -128, 127).astype(np.int8)


def plain_values(graph, nodes, known):
    """Operators one by one, in NumPy where they are arithmetic, else as onnxruntime has them."""
    known = {**graph.constants, **known}
    for node in nodes:
        left = known[node.inputs[0]]
        if node.op == "Concat":
            result = np.concatenate([known[n] for n in node.inputs], axis=1)
        elif node.op == "Mul":
            result = left * known[node.inputs[1]]
        elif node.op == "Add":
            result = left + known[node.inputs[1]]
        elif node.op == "Slice":
            result = left[:, :, : (left.shape[2] + 1) // 2]
        elif node.op == "Resize" and node.attributes["mode"] == "nearest":
            result = left.repeat(2, axis=2).repeat(3, axis=3)
        else:
            part = extract(graph, [node])
            feeds = {name: known[name] for name in part.inputs}
            result = FloatSession(part).run(feeds, sample_wise=True)[node.output]
        if node.clip is not None:
            result = np.clip(result, *node.clip)
        known[node.output] = np.asarray(result, np.float32)
    return known


@given(
    made=st.sampled_from(sorted(NETWORKS)),
    channels=st.integers(4, 19),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    scale=st.sampled_from([0.01, 1.0, 40.0]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_plain_definition_reference_and_qdq_model_agree(plain, made, channels, size, scale):
    assume((made, channels) != ("concatenated", 16))  # the NPU's own: whole blocks
    assume((made, size[0]) != ("sliced", 1))  # all of it
    graph = network(plain, NETWORKS[made], channels, size)
    data = samples(graph, scale)
    source = quantized(graph, data)
    run = ReferenceExecutor(source.quantized).run_integer(data)
    name, expected = rounded_result(graph, source, run)
    np.testing.assert_array_equal(run.tensors[name], expected)
    session = onnxruntime.InferenceSession(qdq_model(source.quantized).SerializeToString())
    for number, sample in enumerate(data["x"]):
        found = session.run(None, {"x": sample[None]})[0]
        np.testing.assert_array_equal(found[0], run.outputs["y"][number])


@given(
    made=st.sampled_from(sorted(WHOLE)),
    channels=st.integers(2, 19),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    scale=st.sampled_from([0.01, 1.0, 40.0]),
)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_normalization_that_is_written_out_is_one_loop(plain, made, channels, size, scale):
    graph = network(plain, WHOLE[made], channels, size)
    data = samples(graph, scale)
    source = quantized(graph, data)
    (group,) = source.quantized.host.groups
    assert group.nodes == tuple(node.name for node in graph.nodes[1:-1])
    assert not group.is_table
    run = ReferenceExecutor(source.quantized).run_integer(data)
    name, expected = rounded_result(graph, source, run)
    np.testing.assert_array_equal(run.tensors[name], expected)
    session = onnxruntime.InferenceSession(qdq_model(source.quantized).SerializeToString())
    for number, sample in enumerate(data["x"]):
        found = session.run(None, {"x": sample[None]})[0]
        np.testing.assert_array_equal(found[0], run.outputs["y"][number])


@pytest.mark.parametrize("made", [*NETWORKS.values(), *WHOLE.values(), shuffled])
def test_a_package_computes_the_same_and_converts_nothing_in_between(plain, made):
    graph = network(plain, made, 18, (3, 4))
    data = samples(graph, 1.0)
    source = quantized(graph, data)
    built = compile_model(source, load_target("vta"))
    executable = built.executable
    assert run_checked(executable, Simulator(executable), data)[1] is None
    operators = [layer.operator for layer in built.report.layers if layer.unit == CPU]
    assert [op for op in operators if "int8" not in op] == ["quantize", "dequantize"]
    # And again from the exponents alone.
    held = source.configuration.scheme.exponents
    again = apply_exponents(
        graph, source.configuration.plan, held, source.configuration.scheme.quantization()
    )
    assert quantized_digest(again.quantized) == quantized_digest(source.quantized)


def test_an_addition_in_the_midst_of_a_loop_is_part_of_it(plain):
    graph = network(plain, tanh_gelu, 18, (3, 4))
    source = quantized(graph, samples(graph, 1.0))
    (group,) = source.quantized.host.groups
    assert group.is_table
    assert group.nodes == tuple(node.name for node in graph.nodes[1:-1])
    assert "midst of a loop" in cpu_reasons(graph)["Add_s"]


@pytest.mark.parametrize("case", ["other tensor", "read by the npu", "all the npu's"])
def test_other_additions_stay_on_the_npu(plain, case):
    b, shape = plain.GraphBuilder(x=(16, 3, 4)), (16, 3, 4)
    b.add("Conv", ["x", b.constant("w", weights(16, 16, 1))], "a", shape)
    b.add("Conv", ["x", b.constant("v", weights(16, 16, 2))], "c", shape)
    b.add("Tanh", ["a"], "t", shape)
    b.add("Add", ["a", "c" if case != "read by the npu" else "t"], "s", shape)
    if case == "other tensor":
        b.add("Mul", ["t", "c"], "m", shape)
        b.add("Add", ["m", "a"], "r", shape)
        b.add("Tanh", ["r"], "u", shape)
    b.add("Conv", ["s", b.constant("k", weights(4, 16, 3))], "y", (4, 3, 4))
    b.add("Conv", ["u" if case == "other tensor" else "t", "k"], "z", (4, 3, 4))
    graph = b.build("y", "z")
    assert not {"Add_s", "Add_r"} & set(cpu_reasons(graph))


def test_a_shuffle_in_front_of_a_convolution_is_one_of_its_weights(plain):
    b = plain.GraphBuilder(x=(18, 3, 4))
    b.add("Conv", ["x", b.constant("w", weights(18, 18, 1))], "a", (18, 3, 4))
    parts = b.constant("parts", np.array([0, 3, 6, 3, 4], np.int64))
    whole = b.constant("whole", np.array([0, 18, 3, 4], np.int64))
    b.add("Reshape", ["a", parts], "r", (3, 6, 3, 4))
    b.add("Transpose", ["r"], "t", (6, 3, 3, 4), perm=(0, 2, 1, 3, 4))
    b.add("Reshape", ["t", whole], "u", (18, 3, 4))
    b.add("Conv", ["u", b.constant("v", weights(7, 18, 2))], "c", (7, 3, 4))
    b.add("GlobalAveragePool", ["u"], "g", (18, 1, 1))
    b.add("Conv", ["g", b.constant("m", weights(5, 18, 3))], "y", (5, 1, 1))
    graph = b.build("c", "y")
    data = samples(graph, 1.0)
    source = quantized(graph, data)
    built = compile_model(source, load_target("vta"))
    operators = [layer.operator for layer in built.report.layers if layer.unit == CPU]
    assert operators == ["quantize", "dequantize", "dequantize"]
    executable = built.executable
    assert run_checked(executable, Simulator(executable), data)[1] is None
    found = ReferenceExecutor(source.quantized).run(data)
    session = onnxruntime.InferenceSession(qdq_model(source.quantized).SerializeToString())
    expected = FloatSession(graph).run(data, sample_wise=True)
    for name in ("c", "y"):
        exported = [session.run([name], {"x": sample[None]})[0] for sample in data["x"]]
        np.testing.assert_array_equal(np.concatenate(exported), found[name])
        noise = ((found[name] - expected[name]) ** 2).sum() / (expected[name] ** 2).sum()
        assert noise < 0.01


@pytest.mark.parametrize("opset", [9, 12])
def test_older_operator_sets(plain, opset):
    graph = network(plain, silu, 5, (3, 3), opset)
    data = samples(graph, 1.0)
    source = quantized(graph, data)
    run = ReferenceExecutor(source.quantized).run_integer(data)
    name, expected = rounded_result(graph, source, run)
    np.testing.assert_array_equal(run.tensors[name], expected)


def test_chains_and_diamonds_are_one_loop_and_what_others_read_is_not(plain):
    b = plain.GraphBuilder(x=(4, 3, 3))
    w = b.constant("w", weights(4, 4, 1))
    b.add("Conv", ["x", w], "a", (4, 3, 3))
    silu(b, "a", (4, 3, 3))
    b.add("Tanh", ["h"], "t", (4, 3, 3))
    b.add("Conv", ["t", w], "c", (4, 3, 3))
    b.add("Sin", ["h"], "u", (4, 3, 3))
    b.add("Conv", ["u", w], "y", (4, 3, 3))
    graph = b.build("y")
    found = host_groups(graph, ["Conv_a", "Conv_c", "Conv_y"])
    assert [(g.nodes, g.is_table) for g in found.groups] == [
        (("Sigmoid_s", "Mul_h"), True),
        (("Tanh_t",), True),
        (("Sin_u",), True),
    ]


@pytest.mark.parametrize("other", ["a row of nothing else", "two readers", "not a number", "plus"])
def test_masks_whose_infinities_leave_their_loop_stay_float(plain, other):
    shape, mask = (4, 3, 3), np.zeros((4, 3, 3), np.float32)
    mask[1] = -np.inf
    mask[:, 2, 2] = {"a row of nothing else": -np.inf, "not a number": np.nan, "plus": np.inf}.get(
        other, 0
    )
    b = plain.GraphBuilder(x=shape)
    b.add("Conv", ["x", b.constant("w", weights(4, 4, 1))], "a", shape)
    b.add("Add", ["a", b.constant("mask", mask)], "m", shape)
    b.add("Softmax", ["m"], "h", shape, axis=1)
    if other == "two readers":
        b.add("Sigmoid", ["m"], "s", shape)
        b.add("Add", ["h", "s"], "t", shape)
    last = "t" if other == "two readers" else "h"
    b.add("Conv", [last, b.constant("v", weights(4, 4, 2))], "y", shape)
    graph = b.build("y")
    assert default_assignment(graph)["Add_m"] == CPU
    found = host_groups(graph, ["Conv_a", "Conv_y"])
    assert found.reasons["Add_m"] == "'mask' holds NaN or infinity"


def test_what_the_caller_reads_stays_float(plain):
    b = plain.GraphBuilder(x=(4, 3, 3))
    b.add("Conv", ["x", b.constant("w", weights(4, 4, 1))], "a", (4, 3, 3))
    b.add("Sigmoid", ["a"], "y", (4, 3, 3))
    graph = b.build("y")
    assert default_assignment(graph)["Sigmoid_y"] == CPU


def test_between_operators_in_float_the_default_stays_float(plain):
    graph = network(plain, silu, 4, (3, 3))
    plan = default_assignment(graph)
    assert (plan["Sigmoid_s"], plan["Mul_h"]) == (CPU_INT8, CPU_INT8)
    b = plain.GraphBuilder(x=(4, 3, 3))
    b.add("Sin", ["x"], "s", (4, 3, 3))
    b.add("Softmax", ["s"], "t", (4, 3, 3), axis=1)
    b.add("Conv", ["t", b.constant("w", weights(4, 4, 1))], "y", (4, 3, 3))
    assert CPU_INT8 not in default_assignment(b.build("y")).values()


def test_views_that_memory_cannot_express_are_moved_for_the_layers_behind_them(plain):
    b = plain.GraphBuilder(x=(12,))
    b.add("MatMul", ["x", b.constant("w", weights(96, 12, 1)[:, :, 0, 0].T)], "d", (96,))
    b.add("Reshape", ["d", b.constant("i", np.array([0, 6, 4, 4], np.int64))], "r", (6, 4, 4))
    b.add("Conv", ["r", b.constant("v", weights(20, 6, 2))], "c", (20, 4, 4))
    b.add("Transpose", ["c"], "t", (20, 4, 4), perm=(0, 1, 3, 2))
    b.add("Conv", ["t", b.constant("u", weights(5, 20, 3))], "y", (5, 4, 4))
    graph = b.build("y")
    plan = default_assignment(graph)
    host = {name for name, place in plan.items() if place == CPU_INT8}
    assert (host, CPU in plan.values()) == ({"Reshape_r", "Transpose_t"}, False)
    data = {"x": np.random.default_rng(5).standard_normal((3, 12)).astype(np.float32)}
    source = quantized(graph, data)
    assert set(source.cpu_reasons) <= host
    found = ReferenceExecutor(source.quantized).run(data)["y"]
    expected = FloatSession(graph).run(data, sample_wise=True)["y"]
    assert ((found - expected) ** 2).sum() < 0.01 * (expected**2).sum()
    executable = compile_model(source, load_target("vta")).executable
    assert run_checked(executable, Simulator(executable), data)[1] is None
    session = onnxruntime.InferenceSession(qdq_model(source.quantized).SerializeToString())
    for number, sample in enumerate(data["x"]):
        np.testing.assert_array_equal(session.run(None, {"x": sample[None]})[0][0], found[number])


def test_a_loop_part_of_which_could_run_earlier_stays_whole(plain):
    """Between what its first operator and the others wait for, the NPU has work."""
    b, shape = plain.GraphBuilder(x=(4, 3, 3)), (4, 3, 3)
    b.add("Conv", ["x", b.constant("w", weights(4, 4, 1))], "a", shape)
    b.add("Sin", ["a"], "s", shape)
    b.add("Softmax", ["s"], "p", shape, axis=1)
    b.add("Conv", ["p", b.constant("v", weights(4, 4, 1))], "g", shape)
    b.add("Mul", ["a", b.constant("half", np.float32(0.5))], "m", shape)
    b.add("Tanh", ["g"], "t", shape)
    b.add("Mul", ["m", "t"], "h", shape)
    b.add("Conv", ["h", b.constant("u", weights(4, 4, 1))], "y", shape)
    graph = b.build("y")
    loop = {"Mul_m", "Tanh_t", "Mul_h"}
    plan = default_assignment(graph) | dict.fromkeys(loop, CPU_INT8) | {"Sin_s": CPU}
    data = samples(graph, 1.0)
    source = quantize_model(FloatModel("hand", "0" * 64, graph), Configuration(plan=plan), data)
    (group,) = source.quantized.host.groups
    assert set(group.nodes) == loop
    executable = compile_model(source, load_target("vta")).executable
    assert run_checked(executable, Simulator(executable), data)[1] is None
    session = onnxruntime.InferenceSession(qdq_model(source.quantized).SerializeToString())
    found = ReferenceExecutor(source.quantized).run(data)["y"]
    for number, sample in enumerate(data["x"]):
        np.testing.assert_array_equal(session.run(None, {"x": sample[None]})[0][0], found[number])


def sliced_along(b, x, name, axis, first, last, shape):
    limits = [
        b.constant(f"{name}_{what}", np.array([value], np.int64))
        for what, value in (("starts", first), ("ends", last), ("axes", axis))
    ]
    return b.add("Slice", [x, *limits], name, shape)


@given(
    size=st.tuples(st.integers(3, 6), st.integers(3, 6)),
    by=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    channels=st.sampled_from([4, 16, 20]),
)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_moved_again_and_again_is_moved_once(plain, size, by, channels):
    """A roll over rows, then over columns, as windows are shifted: slices that are concatenated;
    some of them the NPU could take, for a launch of their own."""
    b, shape = plain.GraphBuilder(x=(channels, *size)), (channels, *size)
    (rows, columns), (down, right) = size, by
    b.add("Conv", ["x", b.constant("w", weights(channels, channels, 1))], "a", shape)
    parts = [
        sliced_along(b, "a", "below", 2, down, rows, (channels, rows - down, columns)),
        sliced_along(b, "a", "above", 2, 0, down, (channels, down, columns)),
    ]
    b.add("Concat", parts, "r", shape, axis=2)
    parts = [
        sliced_along(b, "r", "behind", 3, right, columns, (channels, rows, columns - right)),
        sliced_along(b, "r", "before", 3, 0, right, (channels, rows, right)),
    ]
    b.add("Concat", parts, "h", shape, axis=3)
    b.add("Conv", ["h", b.constant("v", weights(6, channels, 2))], "y", (6, *size))
    graph = b.build("y")
    plan = default_assignment(graph)
    assert plan["Slice_behind"] == CPU_INT8  # between the one concatenation and the other
    data = samples(graph, 1.0)
    source = quantized(graph, data)
    (group,) = source.quantized.host.groups
    moves = {"Slice_below", "Slice_above", "Concat_r", "Slice_behind", "Slice_before", "Concat_h"}
    assert set(group.nodes) == {name for name in moves if plan[name] == CPU_INT8}
    assert moves - set(group.nodes) <= {"Slice_below"}  # right behind a layer of the NPU
    run = ReferenceExecutor(source.quantized).run_integer(data)
    expected = np.roll(run.tensors["a"], (-down, -right), (2, 3))
    by_exponent = source.quantized.tensors["a"].exponent - source.quantized.tensors["h"].exponent
    exact = np.clip(np.rint(expected * 2.0**-by_exponent), -128, 127)
    np.testing.assert_array_equal(run.tensors["h"].reshape(exact.shape), exact)
    executable = compile_model(source, load_target("vta")).executable
    assert run_checked(executable, Simulator(executable), data)[1] is None
    session = onnxruntime.InferenceSession(qdq_model(source.quantized).SerializeToString())
    for number, sample in enumerate(data["x"]):
        found = session.run(None, {"x": sample[None]})[0]
        np.testing.assert_array_equal(found[0], run.outputs["y"][number])
