"""Models that onnxruntime saved with channels in blocks compute what they did, on units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from compiler_core.compile.sources import load_model
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.assignment import cpu_reasons

_GRAPH = "agraph (float[1,3,16,16] x) => (float[N,M] y)"


def _draw(*shape: int):
    drawn = np.random.default_rng(sum(shape)).standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return drawn.astype(np.float32)


def _optimized(path: Path, text: str, weights, opset: int = 17) -> Path:
    """The model as onnxruntime saves it after all of its optimizations."""
    plain = path.with_name("plain.onnx")
    head = f'<ir_version: 8, opset_import: ["" : {opset}]>'
    model = onnx.parser.parse_model(f"{head} {_GRAPH} {{ {text} }}")
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in weights.items())
    onnx.save(model, plain)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    onnxruntime.InferenceSession(str(plain), options, providers=["CPUExecutionProvider"])
    return path


_W = {"a": _draw(32, 3, 3, 3), "b": _draw(32), "p": _draw(48, 32, 1, 1), "d": _draw(32, 1, 3, 3)}
_CONV = "c = Conv <pads = [1, 1, 1, 1]> (x, a, b)"


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        (f"{_CONV} r = Relu (c) y = Conv (r, p)", "abp"),
        (f"{_CONV} e = Conv <pads = [1, 1, 1, 1], group = 32> (c, d) y = Conv (e, p)", "abdp"),
        (f"{_CONV} h = LeakyRelu (c) y = Conv (h, f)", "abf"),  # outputs fill no blocks
        (f"{_CONV} s = Conv (c, f) t = Sigmoid (s) y = Conv <group = 2> (t, g)", "abfg"),
        (f"{_CONV} s = Add (c, c) e = Conv (s, q) y = Add (e, c)", "abq"),  # added to what it gives
        (f"{_CONV} m = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (c) y = Conv (m, p)",
         "abp"),
        (f"{_CONV} m = AveragePool <kernel_shape = [2, 2]> (c) g = GlobalAveragePool (m) "
         "v = Conv (g, q) s = HardSigmoid (v) z = Mul (c, s) y = Conv (z, p)", "abpq"),
        (f"{_CONV} u = Resize <mode = \"nearest\", nearest_mode = \"floor\", "
         "coordinate_transformation_mode = \"asymmetric\"> (c, l, k) y = Conv (u, p)", "abklp"),
        (f"{_CONV} o = Conv (c, f) n = Concat <axis = 1> (o, x) y = Conv (n, h)", "abfh"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("opset", [11, 17])
def test_the_same_numbers(tmp_path: Path, text: str, weights: str, opset: int) -> None:
    more = {"f": _draw(20, 32, 1, 1), "g": _draw(6, 10, 1, 1), "q": _draw(32, 32, 1, 1)}
    more |= {"k": np.array([1, 1, 2, 2], np.float32), "h": _draw(8, 23, 1, 1)}
    more["l"] = np.zeros(0, np.float32)
    given = {name: array for name, array in (_W | more).items() if name in weights}
    path = _optimized(tmp_path / "model.onnx", text, given, opset)
    graph = load_model(path).graph
    assert all(not node.domain.startswith("com.microsoft") for node in graph.nodes)
    assert all(graph.types[node.output].shape is not None for node in graph.nodes)
    heavy = {node.name for node in graph.nodes if node.op == "Conv"}
    assert heavy
    assert not heavy & cpu_reasons(graph).keys()
    x = {"x": _draw(1, 3, 16, 16)}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = FloatSession(graph).run(x)["y"]
    np.testing.assert_allclose(found, session.run(["y"], x)[0], atol=1e-4)


def test_what_is_not_known_leaves_all_as_it_is(tmp_path: Path) -> None:
    """Tensors of both kinds would not understand each other."""
    path = _optimized(tmp_path / "model.onnx", f"{_CONV} r = Relu (c) y = Conv (r, p)", _W)
    model = onnx.load(path)
    if all(node.domain != "com.microsoft.nchwc" for node in model.graph.node):
        pytest.skip("onnxruntime keeps no channels in blocks on this machine")
    model.graph.node[-1].attribute.append(onnx.helper.make_attribute("channels", 0))
    del model.graph.node[-1].attribute[:-1]
    onnx.save(model, path)
    nodes = load_model(path).graph.nodes
    assert {node.domain for node in nodes} == {"com.microsoft.nchwc"}
