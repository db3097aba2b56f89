"""What is never negative needs no clamp at 0, however it was quantized."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from compiler_core.compile.sources import load_model

PAIR = "{i}q = QuantizeLinear({i}, s, z)\n{i}d = DequantizeLinear({i}q, s, z)"


def loaded(body: str, folder: Path) -> list[str]:
    """Operators of a model whose tensors ``a`` and ``b`` are quantized to uint8 from 0 on."""
    lines = "\n".join(
        f"{line}\n{PAIR.format(i=line.split()[0])}" if line.split()[0] in "ab" else line
        for line in body.splitlines()
    )
    text = f"""<ir_version: 8, opset_import: ["": 17]>
        m (float[N,4,6] x) => (float[N,24] y) <float s = {{0.02}}, uint8 z = {{0}},
        int64[2] f = {{0, 24}}, float low = {{0.5}}> {{ {lines} y = Neg(bd) }}"""
    onnx.save(onnx.parser.parse_model(text), folder / "m.onnx")
    return [node.op for node in load_model(folder / "m.onnx").graph.nodes]


@pytest.mark.parametrize(
    "body",
    [
        "a = Relu(x)\nb = Reshape(ad, f)",
        "a = Sigmoid(x)\nb = Reshape(ad, f)",
        "h = Abs(x)\nt = Transpose<perm=[0,2,1]>(h)\na = Concat<axis=1>(t, t)\n"
        "c = Slice(ad, one, seven, one)\nb = Reshape(c, f)",
        "h = Clip(x, low)\na = MaxPool<kernel_shape=[1]>(h)\nb = Reshape(ad, f)",
    ],
)
def test_nothing_clamps_what_is_never_negative(body: str, tmp_path: Path) -> None:
    body = body.replace("c = Slice", "one = Constant<value_ints=[1]>()\n"
                        "seven = Constant<value_ints=[7]>()\nc = Slice")  # fmt: skip
    operators = loaded(body, tmp_path)
    for clamp in ("Relu", "Clip"):
        assert operators.count(clamp) == body.count(clamp)


def test_what_may_be_negative_is_clamped(tmp_path: Path) -> None:
    operators = loaded("a = Tanh(x)\nb = Reshape(ad, f)", tmp_path)
    assert operators == ["Tanh", "Clip", "Reshape", "Neg"]  # at 0, and where the integers end
