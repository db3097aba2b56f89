from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model, import_onnx
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.reader import ImportLimits, parse_model
from compiler_core.graph.session import FloatSession

Build = Callable[..., Graph]
Model = Callable[..., onnx.ModelProto]

WEIGHT = np.ones((2, 2, 1, 1), np.float32)


def test_initializers_listed_as_inputs_are_constants(onnx_model: Model) -> None:
    text = "(float[1,2,4,4] x, float[2,2,1,1] w) => (float y) { y = Conv(x, w) }"
    model = onnx_model(text, w=WEIGHT)
    graph = import_model(model)
    assert graph.inputs == ("x",)
    assert set(graph.constants) == {"w"}
    assert not graph.constants["w"].flags.writeable


def test_nodes_get_unique_names_and_topological_order(onnx_model: Model) -> None:
    model = onnx_model("(float[1,2] x) => (float y) { a = Relu(x) b = Relu(a) y = Relu(b) }")
    model.graph.node[0].name = "same"
    model.graph.node[1].name = "same"
    first, *_, last = list(model.graph.node)
    reordered = [last, model.graph.node[1], first]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reordered]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    graph = import_model(model)
    assert [node.output for node in graph.nodes] == ["a", "b", "y"]
    assert len({node.name for node in graph.nodes}) == 3
    assert graph == import_model(model)


def test_dynamic_batch_and_other_axes(graph_of: Build, onnx_model: Model) -> None:
    text = "(float[N,2] x) => (float y) { a = Relu(x) b = Shape(a) y = Expand(a, b) }"
    graph = graph_of(text)
    assert graph.types["x"].shape == (1, 2)
    assert {"x", "a"} <= graph.dynamic_batch
    model = onnx_model("(float[N,3,H,W] x) => (float y) { y = Relu(x) }")
    with pytest.raises(InputError, match=r"input 'x', axis 2 \(H\) is dynamic"):
        import_model(model)
    graph = import_model(model, shapes={"x": (1, 3, 8, 9)})
    assert graph.types["y"].shape == (1, 3, 8, 9)
    assert "y" in graph.dynamic_batch
    assert import_model(model, shapes={"x": (4, 3, 8, 9)}).dynamic_batch == frozenset()


def test_a_batch_that_the_model_cannot_change_is_fixed(graph_of: Build) -> None:
    graph = graph_of(
        "(float[N,2,3] x) => (float y) { y = Reshape(x, s) }", s=np.array([1, 6], np.int64)
    )
    assert graph.dynamic_batch == frozenset()
    samples = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    result = FloatSession(graph).run({"x": samples})["y"]
    np.testing.assert_array_equal(result, samples.reshape(2, 6))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"x": (1, 3, 8)}, "has 4 axes, --shape gives 3"),
        ({"x": (1, 3, -1, 8)}, "axis 2: size -1; 0 to"),
        ({"image": (1, 3, 8, 8)}, "'image', which is no input; inputs: x"),
    ],
)
def test_wrong_shapes(onnx_model: Model, shapes: dict[str, tuple[int, ...]], message: str) -> None:
    model = onnx_model("(float[N,3,H,W] x) => (float y) { y = Relu(x) }")
    with pytest.raises(InputError, match=message) as caught:
        import_model(model, shapes=shapes)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("declared", "given", "hint"),
    [
        ("[2,batch,64]", None, "--shape x=2,1,64 (one number per axis; open: 1)"),
        ("[N,3,H,W]", None, "--shape x=1,3,1,1 (one number per axis; open: 0, 2, 3)"),
        ("[N,T]", (1, 2, 3), "--shape x=1,1 (one number per axis; open: 0, 1)"),
        ("[5,7]", (5, 8, 1), "--shape x=5,7 (one number per axis)"),
    ],
)
def test_a_shape_is_hinted_with_the_axes_of_its_input(
    onnx_model: Model, declared: str, given: tuple[int, ...] | None, hint: str
) -> None:
    """Following it reads the model."""
    model = onnx_model(f"(float{declared} x) => (float y) {{ y = Relu(x) }}")
    with pytest.raises(InputError) as caught:
        import_model(model, shapes={} if given is None else {"x": given})
    assert caught.value.hint == hint
    shown = hint.removeprefix("--shape x=").partition(" ")[0]
    shapes = {"x": tuple(map(int, shown.split(",")))} if hint.startswith("--shape") else {}
    assert import_model(model, shapes=shapes).inputs == ("x",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(float[1] x) => (float y) { y = Add(x, gone) }", r"'Add:y' \(Add\) reads tensor 'gone'"),
        ("(float[1] x) => (float y) { y = Add(x, z) z = Relu(y) }", "the graph is cyclic: node"),
        ("(float[1] x) => (float y) { y = Relu(x) y = Exp(x) }", "tensor 'y' is defined twice"),
        ("(float[1] x) => (float y) { x = Relu(x) y = Exp(x) }", "tensor 'x' is defined twice"),
        ("(float[1] x) => (float y) { z = Relu(x) }", "output 'y' is not computed"),
        ("(float[1] x) => (float y) { y = Frobnicate(x) }", "no operator 'Frobnicate'"),
        ("(float[1] x) => (float y) { y = Relu(x, x) }", "not a valid ONNX graph: .*Relu"),
        ("(float[1] x) => (float y) { y = Relu<color=3>(x) }", "Unrecognized attribute: color"),
        ("(float[1] x) => (float y) { y = Relu() }", r"not a valid ONNX graph: .*Relu"),
    ],
)
def test_wrong_graphs(onnx_model: Model, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        import_model(onnx_model(text))


def test_empty_graphs(onnx_model: Model) -> None:
    with pytest.raises(InputError, match="the graph is empty: it has no nodes"):
        import_model(onnx_model("(float[1] x) => (float x) { }"))
    model = onnx_model("(float[1] x) => (float y) { y = Relu(x) }")
    del model.graph.output[:]
    with pytest.raises(InputError, match="the graph is empty: it has no outputs"):
        import_model(model)


@pytest.mark.parametrize("opset", [0, 999])
def test_unsupported_opsets(onnx_model: Model, opset: int) -> None:
    with pytest.raises(InputError, match=f"operator set version {opset}; 1 to"):
        import_model(onnx_model("(float[1] x) => (float y) { y = Relu(x) }", opset=opset))


def test_channels_of_a_convolution_have_to_fit(onnx_model: Model) -> None:
    text = "(float[1,3,4,4] x) => (float y) { y = Conv(x, w) }"
    with pytest.raises(InputError, match=r"node 'Conv:y' .* 'x' has 3 channels; weight 'w' .* 2"):
        import_model(onnx_model(text, w=WEIGHT))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_must_be_finite(onnx_model: Model, value: float) -> None:
    weight = WEIGHT.copy()
    weight[1, 0] = value
    model = onnx_model("(float[1,2,4,4] x) => (float y) { y = Conv(x, w) }", w=weight)
    with pytest.raises(InputError, match="tensor 'w'"):
        import_model(model)


def test_infinity_is_allowed_outside_weights(graph_of: Build) -> None:
    mask = np.array([0, -np.inf], np.float32)
    graph = graph_of("(float[1,2] x) => (float y) { a = Add(x, m) y = Softmax(a) }", m=mask)
    assert np.isneginf(graph.constants["m"][1])


def test_tensors_must_hold_their_shape(onnx_model: Model) -> None:
    model = onnx_model("(float[1,2,4,4] x) => (float y) { y = Conv(x, w) }", w=WEIGHT)
    model.graph.initializer[0].dims[0] = 3
    with pytest.raises(InputError, match=r"tensor 'w': .* shape"):
        import_model(model)
    model.graph.initializer[0].dims[0] = 2**60
    with pytest.raises(InputError, match=r"tensor 'w': .* bytes; at most"):
        import_model(model)
    model.graph.initializer[0].dims[0] = -2
    with pytest.raises(InputError, match=r"tensor 'w': .*negative"):
        import_model(model)
    model.graph.initializer[0].data_type = 77
    with pytest.raises(InputError, match="tensor 'w': element type 77"):
        import_model(model)


def test_limits(onnx_model: Model, tmp_path: Path) -> None:
    text = "(float[1,2,4,4] x) => (float y) { a = Conv(x, w) y = Relu(a) }"
    path = tmp_path / "model.onnx"
    onnx.save(onnx_model(text, w=WEIGHT), path)
    import_onnx(path, limits=ImportLimits(path.stat().st_size, 16, 16, 2))
    for limits, message in (
        (ImportLimits(file_bytes=100), "at most 100 are read"),
        (ImportLimits(tensor_bytes=15), "16 bytes; at most 15"),
        (ImportLimits(total_bytes=15), "the constants take 16 bytes; at most 15"),
        (ImportLimits(nodes=1), "2 nodes; at most 1"),
    ):
        with pytest.raises(InputError, match=message):
            import_onnx(path, limits=limits)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(InputError, match="cannot be read: No such file"):
        import_onnx(path)
    with pytest.raises(InputError, match="not a regular file"):
        import_onnx(tmp_path)
    for content in (b"", b"\x00" * 64, b"PK\x03\x04 a zip file", b"# Title\n\nSome text\n"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"model .*model\.onnx: "):
            import_onnx(path)


def _external(model: onnx.ModelProto, **entries: str) -> onnx.ModelProto:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with good data in it, and a secret outside."""
    inside = tmp_path / "model"
    (inside / "data").mkdir(parents=True)
    (inside / "data" / "weights.bin").write_bytes(b"\0" * 8 + WEIGHT.tobytes())
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "linked").symlink_to(tmp_path)
    return inside


CONV = "(float[1,2,4,4] x) => (float y) { y = Conv(x, w) }"


def test_external_data_inside_the_folder(onnx_model: Model, folder: Path) -> None:
    place = {"location": "data/weights.bin", "offset": "8", "length": "16"}
    model = _external(onnx_model(CONV, w=WEIGHT), **place)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    graph = import_onnx(folder / "m.onnx")
    np.testing.assert_array_equal(graph.constants["w"], WEIGHT)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "../secret"}, "leads outside"),
        ({"location": "x" * 5000}, "cannot be read: File name too long"),
        ({"location": "data/../../secret"}, "leads outside"),
        ({"location": "..\\secret"}, "leads outside"),
        ({"location": "/etc/hostname"}, "must be a relative path"),
        ({"location": "C:\\weights"}, "must be a relative path"),
        ({"location": ""}, "must be a relative path"),
        ({}, "must be a relative path"),
        ({"location": "link"}, "symbolic link"),
        ({"location": "linked/secret"}, "symbolic link"),
        ({"location": "data"}, "no such file"),
        ({"location": "data/none"}, "no such file"),
        ({"location": "data/weights.bin", "offset": "-8"}, "offset: '-8' is not a number"),
        ({"location": "data/weights.bin", "length": "1e3"}, "length: '1e3' is not a number"),
        ({"location": "data/weights.bin", "offset": "16", "length": "16"}, "bytes 16 to 32"),
        ({"location": "data/weights.bin", "length": "8"}, "does not fit its shape"),
    ],
)
def test_external_data_that_is_refused(
    onnx_model: Model, folder: Path, entries: dict[str, str], message: str
) -> None:
    model = _external(onnx_model(CONV, w=WEIGHT), **entries)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=message) as caught:
        import_onnx(folder / "m.onnx")
    assert "'w'" in caught.value.message


def test_subgraphs_and_local_functions_are_carried() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17, "mine" : 1]>
        g (float[1,2] x, bool c) => (float y) {
            k = Exp(x)
            d = Identity(k)
            a = If (c) <
                then_branch = t () => (float[1,2] r) { r = Neg(d) },
                else_branch = e () => (float[1,2] s) { s = Abs(x) }
            >
            y = mine.twice(a)
        }
        <domain: "mine", opset_import: ["" : 17]>
        twice (v) => (w) { w = Add(v, v) }
    """)
    graph = simplify(import_model(model))
    ops = [node.op for node in graph.nodes]
    assert ops == ["Exp", "Identity", "If", "twice"], "the subgraph reads the Identity by its name"
    x = np.array([[1, -2]], np.float32)
    for condition, value in ((True, -2 * np.exp(x)), (False, 2 * np.abs(x))):
        result = FloatSession(graph).run({"x": x, "c": np.array(condition)})["y"]
        np.testing.assert_allclose(result, value, rtol=1e-6)


OLD_OPS = """(float[N,2,6,6] x) => (float y) {
    a = Conv<kernel_shape=[3,3]>(x, w)
    b = BatchNormalization(a, s, s, s, s)
    d = Clip<min=0.0,max=6.0>(b)
    e = Dropout(d)
    f = Pad<pads=[0,0,1,1,0,0,1,1]>(e)
    h = Slice<starts=[0,0],ends=[5,5],axes=[2,3]>(f)
    i = Unsqueeze<axes=[4]>(h)
    j = Squeeze<axes=[4]>(i)
    k = ReduceMean<axes=[2],keepdims=0>(j)
    m = Flatten(k)
    n = Softmax(m)
    y = Gemm(n, v, u)
}"""


@pytest.mark.parametrize("opset", [7, 8, 9])
def test_attribute_forms_of_old_opsets_are_raised(
    onnx_model: Model, opset: int, same_function: Callable[..., None]
) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((2, 2, 3, 3)).astype(np.float32),
        "s": np.ones(2, np.float32),
        "v": rng.standard_normal((10, 3)).astype(np.float32),
        "u": np.ones(3, np.float32),
    }
    model = onnx_model(OLD_OPS, opset, **weights)
    graph = import_model(model)
    assert graph.opsets[""] == 17
    simple = simplify(graph)
    same_function(graph, simple)
    x = rng.standard_normal((3, 2, 6, 6)).astype(np.float32)
    content = model.SerializeToString()
    stock = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    want = stock.run(["y"], {"x": x})[0]
    np.testing.assert_allclose(FloatSession(simple).run({"x": x})["y"], want, atol=1e-5)


@pytest.mark.parametrize("opset", range(7, min(28, onnx.defs.onnx_opset_version()) + 1))
def test_every_opset(graph_of: Build, opset: int, same_function: Callable[..., None]) -> None:
    graph = graph_of(
        """(float[N,2,6,6] x) => (float y) {
            a = Conv<auto_pad="SAME_UPPER">(x, w)
            b = Relu(a)
            d = MaxPool<kernel_shape=[2,2],strides=[2,2]>(b)
            e = Add(d, d)
            f = GlobalAveragePool(e)
            h = Reshape(f, s)
            y = Gemm(h, v, u)
        }""",
        opset,
        w=np.arange(36, dtype=np.float32).reshape(2, 2, 3, 3) - 17,
        s=np.array([-1, 2], np.int64),
        v=np.ones((2, 3), np.float32),
        u=np.arange(3, dtype=np.float32),
    )
    simple = simplify(graph)
    assert [node.op for node in simple.nodes] == [
        "Conv", "MaxPool", "Add", "GlobalAveragePool", "Reshape", "Dense",
    ]  # fmt: skip
    same_function(graph, simple, atol=1e-3)


def _small(onnx_model: Model) -> bytes:
    text = """(float[N,2,4,4] x) => (float y) {
        a = Conv<pads=[1,1,1,1], auto_pad="NOTSET">(x, w) b = Clip(a, low, high)
        d = Constant<value = int64[2] {0, -1}>() e = Reshape(b, d) y = Gemm<transB=1>(e, v) }"""
    weights = {
        "w": np.ones((2, 2, 3, 3), np.float32),
        "v": np.ones((3, 32), np.float32),
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
    }
    content: bytes = onnx_model(text, **weights).SerializeToString()
    return content


def _survives(content: bytes) -> None:
    try:
        simplify(import_model(parse_model(content, "mutant")))
    except InputError:
        return


def test_truncated_files(onnx_model: Model) -> None:
    content = _small(onnx_model)
    import_model(parse_model(content, "whole"))
    for length in range(0, len(content), 3):
        _survives(content[:length])


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_mutated_files(onnx_model: Model, data: st.DataObject) -> None:
    content = bytearray(_small(onnx_model))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    _survives(bytes(content))


def test_a_shape_may_replace_what_a_file_fixes(onnx_model: Model) -> None:
    """Exports fix the size, and often the batch, of the one example that they were made with."""
    model = onnx_model(
        "(float[10,3,8,8] x) => (float[10,3,4,4] y) { y = MaxPool <kernel_shape=[2,2], "
        "strides=[2,2]> (x) }"
    )
    graph = import_model(model, shapes={"x": (1, 3, 20, 12)})
    assert graph.types["y"].shape == (1, 3, 10, 6)
    samples = np.random.default_rng(0).normal(size=(4, 3, 20, 12)).astype(np.float32)
    assert FloatSession(graph).run({"x": samples})["y"].shape == (4, 3, 10, 6)
    assert import_model(model).types["y"].shape == (10, 3, 4, 4)


def test_of_a_contradiction_the_first_node_is_told_alone(onnx_model: Model) -> None:
    """Of every node behind it inference says that it knows nothing of what it reads."""
    chain = " ".join(f"y{i + 1} = Reshape(y{i}, s)" for i in range(30))
    text = f"(float[1,5] x) => (float y30) {{ y0 = Add(x, w) {chain} }}"
    model = onnx_model(text, w=np.ones((3, 2), np.float32), s=np.array([1, -1]))
    with pytest.raises(InputError, match="op_type:Add") as caught:
        import_model(model)
    assert "Reshape" not in caught.value.message


def test_a_shape_that_contradicts_the_weights_is_refused(onnx_model: Model) -> None:
    weights = np.zeros((4, 3, 3, 3), np.float32)
    model = onnx_model("(float[1,3,8,8] x) => (float y) { y = Conv(x, w) }", w=weights)
    with pytest.raises(InputError):
        import_model(model, shapes={"x": (1, 4, 8, 8)})
    wide = np.zeros((6, 2), np.float32)
    dense = onnx_model("(float[1,6] x) => (float y) { y = MatMul(x, w) }", w=wide)
    with pytest.raises(InputError):
        import_model(dense, shapes={"x": (1, 7)})
