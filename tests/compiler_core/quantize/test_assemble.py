"""Skeletons compute the function of their graph: each step in float64, through the views."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.graph.ir import NEST_DOMAIN, Graph
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.assignment import cpu_reasons, default_assignment
from compiler_core.quantize.borders import from_nchw, to_nchw
from compiler_core.quantize.ir import QuantizedTensor
from compiler_core.quantize.skeleton import ConcatStep, ConvKind, ConvStep, StepSegment
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from tests.float_runs import run_float


def float_steps(plain, skeleton, inputs):
    """The graph's outputs, with every step in float64."""
    source = skeleton.source
    floats, values = dict(inputs), {}

    def as_float(name):
        if name not in floats:
            view, shape = skeleton.views[name], source.types[name].shape
            floats[name] = from_nchw(values[name], view, shape).astype(np.float32)
        return floats[name]

    for segment in skeleton.segments:
        if isinstance(segment, Graph):
            feeds = {name: as_float(name) for name in segment.inputs}
            floats.update(FloatSession(segment).run(feeds))
            continue
        for name in segment.inputs:
            if name not in values:
                tensor = QuantizedTensor(name, skeleton.shapes[name], 0)
                values[name] = to_nchw(floats[name], skeleton.views[name], tensor).astype(float)
        for step in segment.steps:
            if isinstance(step, ConcatStep):
                result = np.concatenate([values[name] for name in step.inputs], axis=1)
            elif isinstance(step, ConvStep):
                kernel = step.weight.shape[2:]
                window = (kernel, step.strides, step.pads, step.dilations)
                result = plain.sum(values[step.input], step.weight, step.groups, *window)
                result = result + step.bias.reshape(1, -1, 1, 1)
                if step.residual is not None:
                    result = result + values[step.residual]
            else:
                window = (step.kernel, step.strides, step.pads, step.dilations)
                windows = plain.windows(values[step.input], *window, -np.inf)
                result = windows.max(axis=(-1, -2))
            clip = getattr(step, "clip", None)
            values[step.output] = result if clip is None else np.clip(result, *clip)
            assert values[step.output].shape[1:] == skeleton.shapes[step.output][1:]
    return {name: as_float(name) for name in source.outputs}


def check(plain, graph, assignment=None, samples=2):
    """Assemble, execute, compare with onnxruntime; returns the skeleton."""
    skeleton = assemble(graph, assignment or default_assignment(graph))
    rng = np.random.default_rng(0)
    inputs = {
        name: rng.standard_normal((samples, *graph.types[name].shape[1:])).astype(np.float32)
        for name in graph.inputs
    }
    expected = run_float(graph, inputs)
    for name, value in float_steps(plain, skeleton, inputs).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-4)
    return skeleton


def random(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def only_integers(skeleton):
    return [type(part) for part in skeleton.segments] == [StepSegment]


def test_flatten_before_dense_is_a_convolution_over_the_image(plain):
    b = plain.GraphBuilder(x=(3, 6, 5))
    b.add("Conv", ["x", b.constant("w", random(8, 3, 3, 3))], "c", (8, 4, 3), clip=(0.0, np.inf))
    b.add("Flatten", ["c"], "f", (96,), axis=1)
    inputs = ["f", b.constant("m", random(96, 7)), b.constant("b", random(7))]
    b.add("Dense", inputs, "y", (7,), domain=NEST_DOMAIN)
    skeleton = check(plain, b.build("y"))
    assert only_integers(skeleton)
    dense = skeleton.steps[1]
    assert dense.weight.shape == (7, 8, 4, 3)
    assert dense.sources == ("Flatten_f", "Dense_y")


def test_flatten_of_an_nhwc_image_permutes_the_weights(plain):
    b = plain.GraphBuilder(x=(6, 5, 3))
    b.add("Transpose", ["x"], "t", (3, 6, 5), perm=(0, 3, 1, 2))
    b.add("Conv", ["t", b.constant("w", random(8, 3, 3, 3))], "c", (8, 4, 3))
    b.add("Transpose", ["c"], "u", (4, 3, 8), perm=(0, 2, 3, 1))
    b.add("Reshape", ["u", b.constant("s", np.array([0, 96]))], "f", (96,))
    b.add("Gemm", ["f", b.constant("m", random(7, 96))], "y", (7,), transB=1, alpha=0.5)
    skeleton = check(plain, b.build("y"))
    assert only_integers(skeleton)
    assert skeleton.views["x"].split == (1, 6, 5, 3)
    assert skeleton.views["x"].permutation == (0, 3, 1, 2)


def test_dense_over_tokens_is_a_convolution_over_pixels(plain):
    b = plain.GraphBuilder(x=(9, 6))
    b.add("MatMul", ["x", b.constant("w", random(6, 8))], "h", (9, 8), clip=(0.0, np.inf))
    b.add("MatMul", ["h", b.constant("v", random(8, 6, seed=2))], "o", (9, 6))
    b.add("Add", ["x", "o"], "y", (9, 6))
    skeleton = check(plain, b.build("y"))
    assert only_integers(skeleton)
    assert skeleton.shapes["x"] == (1, 6, 1, 9)
    assert [step.residual for step in skeleton.steps] == [None, "x"]


def test_dense_over_an_image_by_transposed_pixels(plain):
    b = plain.GraphBuilder(x=(4, 3, 5))
    b.add("Conv", ["x", b.constant("w", random(6, 4, 1, 1))], "c", (6, 3, 5))
    b.add("Reshape", ["c", b.constant("s", np.array([0, 6, 15]))], "r", (6, 15))
    b.add("Transpose", ["r"], "t", (15, 6), perm=(0, 2, 1))
    b.add("MatMul", ["t", b.constant("v", random(6, 8))], "d", (15, 8))
    b.add("Transpose", ["d"], "y", (8, 15), perm=(0, 2, 1))
    skeleton = check(plain, b.build("y"))
    assert only_integers(skeleton)
    assert skeleton.shapes["y"] == (1, 8, 3, 5)


def test_addition_fuses_into_the_later_convolution(plain):
    b = plain.GraphBuilder(x=(4, 5, 5))
    same = {"pads": (1, 1, 1, 1)}
    b.add("Conv", ["x", b.constant("w", random(4, 4, 3, 3))], "a", (4, 5, 5), **same)
    b.add("Conv", ["x", b.constant("v", random(4, 4, 3, 3))], "c", (4, 5, 5), **same)
    b.add("Add", ["c", "a"], "s", (4, 5, 5), clip=(0.0, 6.0))
    b.add("Add", ["s", "x"], "y", (4, 5, 5))
    skeleton = check(plain, b.build("y"))
    first, fused, alone = skeleton.steps
    assert first.residual is None
    assert (fused.name, fused.residual, fused.clip) == ("Conv_c", "a", (0.0, 6.0))
    assert fused.sources == ("Conv_c", "Add_s")
    assert alone.kind is ConvKind.ADD


@pytest.mark.parametrize("reason", ["clamp", "second reader", "output"])
def test_addition_stays_alone(plain, reason):
    b = plain.GraphBuilder(x=(4, 5, 5))
    clip = (0.0, np.inf) if reason == "clamp" else None
    b.add("Conv", ["x", b.constant("w", random(4, 4, 1, 1))], "a", (4, 5, 5), clip=clip)
    b.add("Add", ["a", "x"], "y", (4, 5, 5))
    outputs = ["y"]
    if reason == "second reader":
        b.add("Relu", ["a"], "z", (4, 5, 5))
        outputs = ["y", "z"]
    if reason == "output":
        outputs = ["y", "a"]
    skeleton = check(plain, b.build(*outputs))
    assert ConvKind.ADD in [step.kind for step in skeleton.steps]


def test_pools_and_one_dimensional_operators(plain):
    b = plain.GraphBuilder(x=(4, 12))
    b.add("Conv", ["x", b.constant("w", random(6, 2, 3))], "c", (6, 10), group=2)
    b.add("MaxPool", ["c"], "m", (6, 5), kernel_shape=(2,), strides=(2,))
    b.add("AveragePool", ["m"], "a", (6, 3), kernel_shape=(3,))
    b.add("GlobalAveragePool", ["a"], "y", (6, 1))
    skeleton = check(plain, b.build("y"))
    assert only_integers(skeleton)
    kinds = [getattr(step, "kind", None) for step in skeleton.steps]
    assert kinds == [ConvKind.WEIGHTS, None, ConvKind.AVERAGE, ConvKind.AVERAGE]


def test_ceil_mode_and_counted_padding(plain):
    b = plain.GraphBuilder(x=(3, 7, 8))
    pool = {"kernel_shape": (3, 3), "strides": (2, 2)}
    b.add("MaxPool", ["x"], "m", (3, 3, 4), ceil_mode=1, **pool)
    counted = {"pads": (1, 1, 1, 1), "count_include_pad": 1}
    b.add("AveragePool", ["m"], "y", (3, 2, 2), **pool, **counted)
    assert only_integers(check(plain, b.build("y")))


def test_concatenation_copies_what_lies_elsewhere_already(plain):
    b = plain.GraphBuilder(x=(16, 3, 3))
    b.add("Conv", ["x", b.constant("w", random(16, 16, 1, 1))], "a", (16, 3, 3))
    b.add("Concat", ["a", "x"], "c", (32, 3, 3), axis=1)
    b.add("Concat", ["a", "a", "c"], "y", (64, 3, 3), axis=1, clip=(0.0, 1.0))
    skeleton = check(plain, b.build("y"))
    assert only_integers(skeleton)
    assert sum(getattr(step, "kind", None) is ConvKind.COPY for step in skeleton.steps) == 3


def test_slice_and_channel_padding_become_one_copy(plain):
    b = plain.GraphBuilder(x=(4, 7, 6))
    b.add("Relu", ["x"], "r", (4, 7, 6))
    constants = [
        b.constant(name, np.array(value))
        for name, value in (("s", [1, 0]), ("e", [99, 99]), ("a", [2, 3]), ("t", [2, 2]))
    ]
    b.add("Slice", ["r", *constants], "k", (4, 3, 3))
    b.add("Pad", ["k", b.constant("p", np.array([0, 2, 0, 0, 0, 1, 0, 0]))], "y", (7, 3, 3))
    skeleton = check(plain, b.build("y"))
    assert only_integers(skeleton)
    assert [step.name for step in skeleton.steps] == ["Relu_r", "Pad_y"]
    assert skeleton.steps[1].sources == ("Slice_k", "Pad_y")


def test_cpu_nodes_cut_segments_without_cycles(plain):
    b = plain.GraphBuilder(x=(4, 4, 4))
    b.add("Conv", ["x", b.constant("w", random(4, 4, 1, 1))], "a", (4, 4, 4))
    b.add("Sigmoid", ["a"], "s", (4, 4, 4))
    b.add("Conv", ["x", b.constant("v", random(4, 4, 1, 1))], "b", (4, 4, 4))
    b.add("Add", ["b", "s"], "c", (4, 4, 4))
    b.add("Conv", ["c", b.constant("u", random(4, 4, 1, 1))], "y", (4, 4, 4))
    skeleton = check(plain, b.build("y", "a"))
    kinds = [type(part) for part in skeleton.segments]
    assert kinds == [StepSegment, Graph, StepSegment]
    assert skeleton.segments[1].inputs == ("a",)


def test_a_view_that_float_code_reads_beside_its_root_runs_on_the_cpu(plain):
    b = plain.GraphBuilder(x=(4, 2, 2))
    b.add("Conv", ["x", b.constant("w", random(4, 4, 1, 1))], "a", (4, 2, 2))
    b.add("Flatten", ["a"], "f", (16,), axis=1)
    b.add("MatMul", ["f", b.constant("m", random(16, 3))], "y", (3,))
    skeleton = check(plain, b.build("y", "f", "a"))
    floats = [part for part in skeleton.segments if isinstance(part, Graph)]
    assert [node.op for part in floats for node in part.nodes] == ["Flatten"]


def test_everything_on_the_cpu(plain):
    b = plain.GraphBuilder(x=(4, 2, 2))
    b.add("Conv", ["x", b.constant("w", random(4, 4, 1, 1))], "y", (4, 2, 2))
    skeleton = check(plain, b.build("y"), {"Conv_y": "cpu"})
    assert skeleton.steps == ()
    assert skeleton.shapes == {}


def test_two_layouts_of_one_float_tensor(plain):
    """The second reader wants channels where the first found features: it runs on the CPU."""
    b = plain.GraphBuilder(x=(6, 6))
    b.add("Sigmoid", ["x"], "s", (6, 6))
    b.add("MatMul", ["s", b.constant("m", random(6, 3))], "y", (6, 3))
    b.add("Conv", ["s", b.constant("w", random(6, 6, 1))], "z", (6, 6))
    graph = b.build("y", "z")
    check(plain, graph)
    assert "'s' lies in memory in another order" in cpu_reasons(graph)["Conv_z"]


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ({}, "'Sigmoid_y' is assigned to None; allowed are 'cpu', 'vta'"),
        ({"Sigmoid_y": "gpu"}, "'Sigmoid_y' is assigned to 'gpu'"),
        ({"Sigmoid_y": "vta"}, "'Sigmoid_y' cannot run on 'vta': Sigmoid is not an operator"),
    ],
)
def test_wrong_assignments(plain, assignment, message):
    b = plain.GraphBuilder(x=(4,))
    b.add("Sigmoid", ["x"], "y", (4,))
    with pytest.raises(InputError, match=message):
        assemble(b.build("y"), assignment)


def test_default_keeps_round_trips_for_little_work_on_the_cpu(plain):
    b = plain.GraphBuilder(x=(4, 2, 2))
    b.add("Conv", ["x", b.constant("w", random(4, 4, 1, 1))], "a", (4, 2, 2))
    b.add("Sigmoid", ["a"], "s", (4, 2, 2))
    b.add("Add", ["a", "s"], "d", (4, 2, 2))
    b.add("Tanh", ["d"], "y", (4, 2, 2))
    graph = b.build("y")
    units = default_assignment(graph)
    assert units == {"Conv_a": "vta", "Sigmoid_s": "cpu", "Add_d": "cpu", "Tanh_y": "cpu"}
    check(plain, graph, {**units, "Add_d": "vta"})


def network(plain):
    """Views, residuals, concatenations, pools, tokens and float operators in one graph."""
    b = plain.GraphBuilder(x=(6, 5, 3))
    image, same = (16, 6, 5), {"pads": (1, 1, 1, 1)}
    b.add("Transpose", ["x"], "t", (3, 6, 5), perm=(0, 3, 1, 2))
    b.add("Conv", ["t", b.constant("w0", random(16, 3, 3, 3))], "a", image, **same)
    b.add("Relu", ["a"], "r", image)
    b.add("Conv", ["r", b.constant("w1", random(16, 4, 1, 1))], "c", image, group=4)
    b.add("Add", ["c", "r"], "s", image, clip=(0.0, 2.0))
    b.add("Tanh", ["s"], "h", image)
    b.add("Add", ["h", "a"], "d", image)
    b.add("MaxPool", ["d"], "m", image, kernel_shape=(3, 3), **same)
    b.add("Concat", ["m", "s"], "k", (32, 6, 5), axis=1)
    b.add("Transpose", ["k"], "u", (6, 5, 32), perm=(0, 2, 3, 1))
    b.add("Reshape", ["u", b.constant("s0", np.array([0, 30, 32]))], "p", (30, 32))
    b.add("MatMul", ["p", b.constant("w2", random(32, 8))], "q", (30, 8))
    b.add("MatMul", ["q", b.constant("w3", random(8, 8))], "v", (30, 8))
    b.add("Add", ["v", "q"], "o", (30, 8))
    b.add("Flatten", ["o"], "f", (240,), axis=1)
    b.add("Gemm", ["f", b.constant("w4", random(4, 240))], "y", (4,), transB=1)
    return b.build("y", "u")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=16, max_size=16))
def test_any_assignment_computes_the_same_function(plain, choices):
    graph = network(plain)
    default = default_assignment(graph)
    assignment = {
        node.name: default[node.name] if chosen else "cpu"
        for node, chosen in zip(graph.nodes, choices, strict=True)
    }
    skeleton = check(plain, graph, assignment)
    on_cpu = {
        node.name for part in skeleton.segments if isinstance(part, Graph) for node in part.nodes
    }
    assert {name for name, unit in assignment.items() if unit == "cpu"} <= on_cpu
    pairs = zip(skeleton.segments, skeleton.segments[1:], strict=False)
    assert all(isinstance(left, Graph) != isinstance(right, Graph) for left, right in pairs)


def test_reasons_of_units_with_numbers_of_their_own_are_told(plain) -> None:
    build, draw = plain.GraphBuilder(x=(16, 8, 8)), np.random.default_rng(0)
    kernel, weight = (draw.standard_normal(s).astype("f4") for s in ((4, 16, 3, 3), (144, 5)))
    build.add("Conv", ["x", build.constant("k", kernel)], "c", (4, 6, 6))
    build.add("Flatten", ["c"], "f", (144,))
    build.add("MatMul", ["f", build.constant("w", weight)], "y", (5,))
    graph = build.build("y")
    told = cpu_reasons(graph, target_arithmetic(load_target("aim-gddr6")))
    assert told[graph.producer("c").name].startswith("Conv is no product of a matrix")
    assert told[graph.producer("y").name] == "It is left to the CPU, though aim can run it."
