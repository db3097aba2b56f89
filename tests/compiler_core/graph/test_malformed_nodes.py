"""Nodes that lack what their operator needs, for every operator that the onnx package knows.

Shape inference of the onnx package ends the process on some of them (an empty name for an input
that RegexFullMatch requires), so each case is also a test that there still is a process.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import onnx
import pytest
from onnx import helper

from compiler_core.errors import InputError
from compiler_core.graph.contradictions import refuse_what_ends_inference
from compiler_core.graph.demand import check_model
from compiler_core.graph.importer import import_model
from compiler_core.graph.reader import ImportLimits

SCHEMAS = [
    schema
    for schema in onnx.defs.get_all_schemas()
    if not schema.domain and not schema.deprecated and schema.min_input
]
OPSET = 21


def _value(name: str, shape: list[int] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def _plain(node: onnx.NodeProto) -> onnx.ModelProto:
    return _model(helper.make_graph([node], "plain", [_value("x", [1, 4, 4, 4])], [_value("y")]))


def _in_branch(node: onnx.NodeProto) -> onnx.ModelProto:
    branch = helper.make_graph([node], "branch", [], [_value("y")])
    fork = helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)
    condition = helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, [1])
    inputs = [_value("x", [1, 4, 4, 4]), condition]
    return _model(helper.make_graph([fork], "fork", inputs, [_value("z")]))


def _in_function(node: onnx.NodeProto) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", OPSET)]
    function = helper.make_function("own", "F", ["x"], ["y"], [node], opsets)
    call = helper.make_node("F", ["x"], ["y"], domain="own")
    graph = helper.make_graph([call], "call", [_value("x", [1, 4, 4, 4])], [_value("y")])
    return _model(graph, function)


def _model(graph: onnx.GraphProto, *functions: onnx.FunctionProto) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions)


@pytest.mark.parametrize("place", [_plain, _in_branch, _in_function])
@pytest.mark.parametrize("given", ["none", "empty", "first"])
def test_a_node_that_lacks_inputs_is_refused_or_read(place, given: str) -> None:  # type: ignore[no-untyped-def]
    refused = 0
    for schema in SCHEMAS:
        inputs = {"none": [], "empty": [""] * schema.min_input, "first": ["x"]}[given]
        model = place(helper.make_node(schema.name, inputs, ["y"]))
        try:
            import_model(model)
        except InputError:
            refused += 1
        with suppress(InputError):
            check_model(model, ImportLimits())
    # One input is enough for many operators; bodies of functions are the runtime's to judge.
    assert refused > len(SCHEMAS) * (0.3 if given == "first" else 0.9) or place is _in_function


def test_a_pool_without_an_input_is_named() -> None:
    with pytest.raises(InputError, match="MaxPool"):
        import_model(_plain(helper.make_node("MaxPool", [], ["y"], kernel_shape=[2, 2])))


def test_a_split_into_other_than_its_outputs_is_refused() -> None:
    node = helper.make_node("Split", ["x"], ["y", "z", "u"], axis=1, num_outputs=2)
    for place in (_plain, _in_branch, _in_function):
        with pytest.raises(InputError, match=r"\(Split\): num_outputs is 2, and it has 3 outputs"):
            import_model(place(node))
        with pytest.raises(InputError, match="num_outputs"):
            refuse_what_ends_inference(place(node))


def test_batch_axes_below_zero_are_refused() -> None:
    node = helper.make_node("GatherND", ["x", "i"], ["y"], batch_dims=-1_000_000_000)
    model = _plain(node)
    model.graph.initializer.append(helper.make_tensor("i", onnx.TensorProto.INT64, [1, 1], [0]))
    with pytest.raises(InputError, match=r"\(GatherND\): batch_dims is -1000000000; 0 to 64"):
        import_model(model)


@pytest.mark.parametrize(
    ("op", "words", "known"),
    [
        ("GatherElements", ["x", "i"], {"axis": 4}),
        ("ScatterElements", ["x", "i", "x"], {"axis": -5}),
        ("CumSum", ["x", "i"], {}),
        ("LpNormalization", ["x"], {"axis": 7}),
        ("LayerNormalization", ["x", "x"], {"axis": 4}),
        ("ReverseSequence", ["x", "i"], {"batch_axis": 5, "time_axis": 0}),
        ("ArgMin", ["number"], {}),
        ("LpNormalization", ["number"], {}),
    ],
)
def test_axes_that_there_are_none_of_are_refused(
    op: str, words: list[str], known: dict[str, int]
) -> None:
    node = helper.make_node(op, words, ["y"], **known)
    model = _plain(node)
    model.graph.input.append(_value("number", []))
    place = helper.make_tensor("i", onnx.TensorProto.INT64, [1], [9])
    model.graph.initializer.append(place)
    with pytest.raises(InputError, match=rf"\({op}\): \w+ is -?\d, which '\w+' of \d axes"):
        import_model(model)


@pytest.mark.parametrize("word", [b"WIDE", b"\xff\xfe"])
def test_words_that_no_operator_knows_are_refused(word: bytes) -> None:
    pool = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], auto_pad=word)
    with pytest.raises(InputError, match=r"\(MaxPool\): auto_pad is '.*'; known are NOTSET, SAME"):
        import_model(_plain(pool))


@pytest.mark.parametrize("shape", [(), (4,), (1, 4, 4)])
def test_a_dense_layer_over_other_than_a_matrix_is_refused(shape: tuple[int, ...]) -> None:
    weight = np.ones(shape, np.float32)
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Gemm", ["x", "w"], ["y"], name="fc")],
            "dense",
            [_value("x", [1, 4])],
            [_value("y")],
            initializer=[onnx.numpy_helper.from_array(weight, "w")],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    with pytest.raises(InputError, match=r"not a valid ONNX graph.*rank"):
        import_model(model)


def test_what_the_runtime_executes_is_read_whatever_inference_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def contradicts(*_: object, strict_mode: bool = False, **__: object) -> onnx.ModelProto:
        if strict_mode:
            raise onnx.shape_inference.InferenceError("a mistake of its own")
        return infer_shapes(*_, **__)  # type: ignore[arg-type]

    infer_shapes = onnx.shape_inference.infer_shapes
    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", contradicts)
    assert import_model(_plain(helper.make_node("Relu", ["x"], ["y"]))).nodes[0].op == "Relu"


@pytest.mark.parametrize("opset", [9, 13, OPSET])
@pytest.mark.parametrize(
    "text",
    [
        "y = Expand(x, v)",
        "a = Cast<to=7>(v) b = Add(a, a) y = Expand(x, b)",
        "a = Concat<axis=0>(v, v) y = Reshape(x, a)",
        "y = ConstantOfShape(v)",
    ],
)
def test_shapes_of_more_axes_than_there_are_are_refused(opset: int, text: str) -> None:
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": {opset}]>'
        f"g (float[2] x, int64[100000000] v) => (float y) {{ {text} }}"
    )
    with pytest.raises(InputError, match="00000000 axes; at most 64"):
        import_model(model)


@pytest.mark.parametrize("axes", [65, 300])
def test_tensors_of_more_axes_than_arrays_have_are_refused(axes: int) -> None:
    types = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1] * axes) for n in "xy"]
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "g", types[:1], types[1:]), ir_version=8)
    with pytest.raises(InputError, match=f"tensor '[xy]' has {axes} axes; at most 64"):
        import_model(model)


@pytest.mark.parametrize(
    "text", ["y = Cast<to=7>(v)", "y = Squeeze(v)", "y = MeanVarianceNormalization<axes=[0]>(v)"]
)
def test_values_of_long_vectors_are_not_followed(text: str) -> None:
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 13]>g (float[1000000000] v) => (float y) {{ {text} }}'
    )
    with pytest.raises(InputError, match="1000000000"):
        import_model(model)


def test_models_of_packages_are_bounded_whatever_their_outputs_say() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[1, 4] x) => (float[] y)'
        "<int64[2] s = {16000, 16000}>"
        "{ a = ConstantOfShape(s) b = MatMul(a, a) c = ReduceMax<keepdims=0>(b) y = Add(x, c) }"
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(InputError, match="1024000000 bytes"):
        check_model(model, ImportLimits())
