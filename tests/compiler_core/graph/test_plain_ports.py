"""Inputs and outputs of types that NumPy lacks become types that it has."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from compiler_core.graph.plain_ports import plain_ports


def _model(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]> g {text}')


def _run(model: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    onnx.checker.check_model(model)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)


def test_plain_models_are_left_alone() -> None:
    model = _model("(float[2] x, float16[2] z) => (float[2] y) { y = Cast<to=1>(z) }")
    assert plain_ports(model) is model


@pytest.mark.parametrize("kind", ["bfloat16", "float8e4m3fn", "float8e5m2", "int4", "uint4"])
def test_narrow_numbers_go_in_and_out(kind: str) -> None:
    wide = np.dtype("int8" if kind == "int4" else "uint8" if kind == "uint4" else "float32")
    model = plain_ports(_model(f"({kind}[4] x) => ({kind}[4] y) {{ y = Identity(x) }}"))
    given = np.array([0, 1, 2, 4], wide)
    (result,) = _run(model, x=given)
    assert result.dtype == wide
    np.testing.assert_array_equal(result, given)


def test_names_stay_and_all_readers_see_the_narrow_tensor() -> None:
    model = _model(
        """(bfloat16[2] x, bool c) => (bfloat16[2] y, float[2] z) {
            y = If(c) <then_branch = a () => (bfloat16[2] p) { p = Identity(x) },
                       else_branch = b () => (bfloat16[2] q) { q = Identity(x) }>
            z = Cast<to=1>(y)
        }"""
    )
    changed = plain_ports(model)
    assert [value.name for value in changed.graph.input] == ["x", "c"]
    assert [value.name for value in changed.graph.output] == ["y", "z"]
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16
    given = np.array([1.5, -2], np.float32)
    y, z = _run(changed, x=given, c=np.array(True))
    np.testing.assert_array_equal(y, given)
    np.testing.assert_array_equal(z, given)
