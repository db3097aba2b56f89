"""Operators of onnxruntime's own become those of the standard, and compute what it computes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import nest_tune
from compiler_core.compile.sources import load_model
from compiler_core.errors import InputError
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession

_HEAD = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>'


def _saved(path, text: str, **weights):
    model = onnx.parser.parse_model(f"{_HEAD} agraph {text}")
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(model, path)
    return path


def _draw(*shape: int):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


_CONV = "com.microsoft.FusedConv <pads = [1, 1, 1, 1], activation ="


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        (f'{_CONV} "Relu"> (x, w, b)', "wb"),
        (f'{_CONV} "Tanh"> (x, w)', "w"),
        (f'{_CONV} "Sigmoid"> (x, w, b, x)', "wb"),
        (f'{_CONV} "LeakyRelu", activation_params = [0.2]> (x, w, b, x)', "wb"),
        (f'{_CONV} "Clip", activation_params = [-0.5, 1.5]> (x, w, b)', "wb"),
        (f'{_CONV} "HardSigmoid", activation_params = [0.3, 0.4]> (x, w, b)', "wb"),
        ("com.microsoft.FusedMatMul <alpha = 0.25, transA = 1> (x, x)", ""),
        ("com.microsoft.FusedMatMul <transB = 1> (x, m)", "m"),
        ("com.microsoft.FusedMatMul <transBatchA = 1, transBatchB = 1, transB = 1> (x, x)", ""),
        ("com.microsoft.FusedMatMul <transBatchB = 1, transA = 1> (t, x)", "t"),
        (f'{_CONV} "HardSwish"> (x, w, b)', "wb"),
        ("com.microsoft.Gelu (x)", ""),
        ("com.microsoft.BiasGelu (x, g)", "g"),
        ("com.microsoft.FastGelu (x, g)", "g"),
        ("com.microsoft.FastGelu (x)", ""),
        ("com.microsoft.QuickGelu <alpha = 1.5> (x)", ""),
    ],
)
def test_the_same_numbers(tmp_path, text: str, weights: str) -> None:
    arrays = {"w": _draw(4, 4, 3, 3), "b": _draw(4), "m": _draw(1, 4, 6, 6), "g": _draw(6)}
    arrays["t"] = _draw(4, 6, 1, 6)
    path = _saved(
        tmp_path / "fused.onnx",
        f"(float[1,4,6,6] x) => (float[1,4,6,6] y) {{ a = {text} y = Relu (a) }}",
        **{name: arrays[name] for name in weights},
    )
    _check(path, {"x": _draw(1, 4, 6, 6)})


@pytest.mark.parametrize("outputs", [["a"], ["a", "", "", "t"]])
def test_normalized_sums(tmp_path, outputs: list[str]) -> None:
    path = _saved(
        tmp_path / "skip.onnx",
        f"""(float[1,3,8] x, float[1,3,8] z) => (float[1,3,8] y) {{
            a = com.microsoft.SkipLayerNormalization <epsilon = 0.001> (x, z, g, b, c)
            y = Add (a, {outputs[-1]})
        }}""",
        g=_draw(8), b=_draw(8), c=_draw(8),
    )  # fmt: skip
    model = onnx.load(path)
    model.graph.node[0].output[:] = outputs
    onnx.save(model, path)
    _check(path, {"x": _draw(1, 3, 8), "z": _draw(1, 3, 8) + 1})


def _check(path, samples) -> None:
    graph = simplify(load_model(path).graph)
    assert not [node.op for node in graph.nodes if node.domain == "com.microsoft"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, samples)
    found = FloatSession(graph).run(samples)["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_a_model_that_the_runtime_optimized_runs_on_the_npu(tmp_path) -> None:
    plain = _saved(
        tmp_path / "plain.onnx",
        """(float[1,16,8,8] x) => (float[1,10] y) {
            a = Conv <pads = [1, 1, 1, 1]> (x, w)
            b = LeakyRelu <alpha = 0.1> (a)
            c = Conv <pads = [1, 1, 1, 1]> (b, v)
            d = Relu (c)
            e = Flatten (d)
            y = Gemm (e, u)
        }""",
        w=_draw(16, 16, 3, 3) / 12, v=_draw(16, 16, 3, 3) / 12, u=_draw(1024, 10) / 32,
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(plain, options, providers=["CPUExecutionProvider"])
    ops = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert "FusedConv" in ops
    made = nest_tune.compile(
        tmp_path / "optimized.onnx",
        "vta",
        tmp_path / "package",
        calibration={"x": np.concatenate([_draw(1, 16, 8, 8), _draw(2, 16, 8, 8)])},
    )
    assert made.macs_share_npu == 1


@pytest.mark.parametrize(
    "text",
    [
        "com.microsoft.FusedMatMul (x, w, w)",
        "com.microsoft.FusedMatMul (x)",
        'com.microsoft.FusedMatMul <alpha = "half"> (x, w)',
        "com.microsoft.QuickGelu <alpha = [1.0, 2.0]> (x)",
        'com.microsoft.FusedConv <activation = "Clip", activation_params = "no"> (x, w)',
        "com.microsoft.FusedConv <pads = 1> (x, w)",
        "com.microsoft.SkipLayerNormalization (x)",
    ],
)
def test_what_the_runtime_does_not_define_is_refused_by_it(tmp_path, text: str) -> None:
    path = _saved(
        tmp_path / "wrong.onnx",
        f"(float[1,4,6,6] x) => (float[1,4,6,6] y) {{ y = {text} }}",
        w=_draw(4, 4, 1, 1),
    )
    with pytest.raises(InputError):
        nest_tune.compile(path, "vta", tmp_path / "p", calibration={"x": _draw(2, 4, 6, 6)})


def test_dense_layers_with_their_activation(tmp_path) -> None:
    path = _saved(
        tmp_path / "dense.onnx",
        """(float[5,6] x) => (float[5,3] y) {
            a = com.microsoft.FusedGemm <alpha = 0.5, transB = 1, activation = "LeakyRelu",
                                         activation_alpha = 0.2> (x, w, b)
            y = Neg (a)
        }""",
        w=_draw(3, 6), b=_draw(3),
    )  # fmt: skip
    _check(path, {"x": _draw(5, 6)})


_ONE_PRODUCT = "com.microsoft.Attention <num_heads = 2"
_APART = "com.microsoft.MultiHeadAttention <num_heads = 2"


@pytest.mark.parametrize(
    "text",
    [
        f"{_ONE_PRODUCT}> (x, w, b)",
        f"{_ONE_PRODUCT}> (x, w)",
        f"{_ONE_PRODUCT}> (x, w, b, mask)",
        f"{_ONE_PRODUCT}> (x, w, b, length)",
        f"{_ONE_PRODUCT}, scale = 0.3, mask_filter_value = -50.0> (x, w, b, mask, , more)",
        f"{_ONE_PRODUCT}, unidirectional = 1> (x, w, b)",
        f"{_ONE_PRODUCT}, qkv_hidden_sizes = [8, 8, 8]> (x, w, b)",
        f"{_APART}> (x, x, x)",
        f"{_APART}> (x, x, x, b)",
        f"{_APART}, scale = 0.3> (x, z, z, b, , wide)",
        f"{_APART}, mask_filter_value = -50.0> (x, x, x, b, mask)",
        "SimplifiedLayerNormalization <axis = -1> (x, g)",
        "com.microsoft.SkipSimplifiedLayerNormalization <epsilon = 0.001> (x, x, g, g)",
    ],
)
def test_attention_and_what_stands_around_it(tmp_path, text: str) -> None:
    mask = np.ones((1, 5), np.int32)
    mask[:, 3:] = 0
    path = _saved(
        tmp_path / "attention.onnx",
        f"(float[1,5,8] x, float[1,7,8] z) => (float[1,5,8] y) {{ a = {text} y = Neg (a) }}",
        w=_draw(8, 24), b=_draw(24), g=_draw(8), mask=mask, length=np.array([4], np.int32),
        more=_draw(1, 2, 5, 5), wide=_draw(1, 2, 5, 7),
    )  # fmt: skip
    _check(path, {"x": _draw(1, 5, 8), "z": _draw(1, 7, 8)})


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("segments", ["kinds", ""])
def test_a_transformer_that_the_runtime_fused_runs_on_the_npu(tmp_path, masked, segments) -> None:
    path = _saved(
        tmp_path / "bert.onnx",
        f"""(int32[1,6] ids, int32[1,6] kinds, int32[1,6] mask) => (float[1,6,16] y) {{
            e, count = com.microsoft.EmbedLayerNormalization
                (ids, {segments}, words, places, {"rows" if segments else ""}, g, b
                 {", mask" if masked else ""})
            a = com.microsoft.Attention <num_heads = 2> (e, w, c {", count" if masked else ""})
            o = MatMul (a, m)
            s = com.microsoft.SkipLayerNormalization (o, e, g, b)
            y = MatMul (s, m)
        }}""",
        words=_draw(20, 16), places=_draw(9, 16), rows=_draw(2, 16), g=_draw(16), b=_draw(16),
        w=_draw(16, 48) / 4, c=_draw(48), m=_draw(16, 16) / 4,
    )  # fmt: skip
    draw = np.random.default_rng(0)
    ids, kinds = (draw.integers(0, most, (8, 6)).astype(np.int32) for most in (20, 2))
    mask = np.ones((8, 6), np.int32)
    mask[::2, 4:] = 0
    _check(path, {"ids": ids[:1], "kinds": kinds[:1], "mask": mask[:1]})
    made = nest_tune.compile(
        path, "vta", tmp_path / "p", calibration={"ids": ids, "kinds": kinds, "mask": mask}
    )
    assert made.macs_share_npu > 0.9
    assert not made.unpriced


@pytest.mark.parametrize(
    ("bits", "terms", "columns", "size", "zero"),
    [(4, 64, 24, 32, ""), (4, 70, 24, 16, "packed"), (4, 64, 10, 16, "real"), (8, 64, 24, 32, ""),
     (8, 64, 24, 32, "packed"), (2, 64, 24, 32, ""), (2, 96, 8, 32, "packed")],
)  # fmt: skip
def test_weights_of_few_bits(tmp_path, bits, terms, columns, size, zero) -> None:
    blocks, random = -(-terms // size), np.random.default_rng(0)
    weights = {
        "w": random.integers(0, 256, (columns, blocks, size * bits // 8)).astype(np.uint8),
        "s": random.uniform(0.01, 0.1, columns * blocks).astype(np.float32),
    }
    if zero == "packed":
        length = columns * -(-blocks * bits // 8)
        weights["z"] = random.integers(0, 256, length).astype(np.uint8)
    elif zero:
        weights["z"] = random.uniform(0, 15, columns * blocks).astype(np.float32)
    path = _saved(
        tmp_path / "narrow.onnx",
        f"""(float[1,3,{terms}] x) => (float[1,3,{columns}] y) {{
            a = com.microsoft.MatMulNBits <K = {terms}, N = {columns}, bits = {bits},
                block_size = {size}> (x, w, s{", z" if zero else ""})
            y = Relu (a)
        }}""",
        **weights,
    )
    _check(path, {"x": _draw(1, 3, terms)})
    assert [node.op for node in load_model(path).graph.nodes] == ["Dense"]
