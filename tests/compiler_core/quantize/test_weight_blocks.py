"""Weights in blocks of few bits, against loops over single weights and against onnxruntime."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compiler_core.quantize import weight_blocks as module
from compiler_core.quantize.precisions import Rounding, WeightOnly
from compiler_core.quantize.weight_blocks import WeightBlocks, weight_blocks
from compiler_core.recent import Recent


def unpacked(blocks: WeightBlocks, block: int) -> list[list[float]]:
    """The weights that the bytes say, one by one."""
    packed, zeros, middle = blocks.packed(), blocks.packed_zeros(), blocks.zeros
    found = []
    for n in range(len(packed)):
        row = []
        for k in range(blocks.length):
            b, at = divmod(k, block)
            if blocks.bits == 8:
                level, zero = int(packed[n, b, at]), int(zeros[n, b])
            else:
                level = int(packed[n, b, at // 2]) >> (4 * (at % 2)) & 15
                zero = int(zeros[n, b // 2]) >> (4 * (b % 2)) & 15
            assert zero == middle[n, b]
            row.append((level - zero) * float(blocks.scales[n, b]))
        found.append(row)
    return found


@given(
    st.integers(1, 5), st.integers(1, 70), st.sampled_from([4, 8]), st.sampled_from([16, 32]),
    st.booleans(), st.sampled_from(list(Rounding)),
)  # fmt: skip
def test_bytes_say_the_weights(
    outputs: int, length: int, bits: int, block: int, zero_points: bool, rounding: Rounding
) -> None:
    weight = np.random.default_rng(length).normal(size=(outputs, length))
    precision = WeightOnly(bits, block, zero_points, rounding)
    blocks = weight_blocks(weight, precision, np.eye(length))
    real = blocks.real()
    np.testing.assert_allclose(real, unpacked(blocks, block), atol=1e-12)
    nearest = weight_blocks(weight, WeightOnly(bits, block, zero_points)).real()
    step = np.abs(nearest - weight).max()
    assert step <= blocks.scales.max() * 1.01
    if rounding is Rounding.ERROR:
        assert ((real - weight) ** 2).sum() <= ((nearest - weight) ** 2).sum() * (1 + 1e-9)


def test_gptq_loses_less_of_the_products() -> None:
    random = np.random.default_rng(0)
    mix = random.normal(size=(48, 48)) / 7
    x = random.normal(size=(400, 48)) @ mix + random.normal(size=(400, 1))
    weight = random.normal(size=(20, 48))
    moments = x.T @ x / len(x)
    lost = {}
    for rounding in Rounding:
        real = weight_blocks(weight, WeightOnly(4, 16, rounding=rounding), moments).real()
        lost[rounding] = float(((x @ (real - weight).T) ** 2).sum())
    assert lost[Rounding.GPTQ] < 0.7 * lost[Rounding.NEAREST]


@pytest.mark.parametrize(("bits", "zero_points"), [(4, False), (4, True), (8, False), (8, True)])
def test_the_runtime_reads_them_so(bits: int, zero_points: bool) -> None:
    random = np.random.default_rng(bits)
    weight, x = random.normal(size=(6, 50)), random.normal(size=(3, 50)).astype("f4")
    blocks = weight_blocks(weight, WeightOnly(bits, 16, zero_points))
    named = {"b": blocks.packed(), "s": blocks.scales}
    if zero_points:
        named["z"] = blocks.packed_zeros()
    node = helper.make_node(
        "MatMulNBits", ["x", *named], ["y"], domain="com.microsoft",
        K=50, N=6, bits=bits, block_size=16,
    )  # fmt: skip
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 50])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 6])],
        [numpy_helper.from_array(value, name) for name, value in named.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": x})
    np.testing.assert_allclose(found, x @ blocks.real().T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rounding", list(Rounding))
def test_what_was_rounded_before_is_known(
    rounding: Rounding, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(5)
    weight, other = random.normal(size=(2, 6, 40))
    moments = np.eye(40) + 0.1
    asked = WeightOnly(4, 16, True, rounding)
    calls = []

    def counted(*given: Any) -> Any:
        calls.append(given)
        return rounded(*given)

    rounded = module._rounded
    monkeypatch.setattr(module, "_KNOWN", Recent(400))
    monkeypatch.setattr(module, "_rounded", counted)
    first = weight_blocks(weight, asked, moments)
    first.levels[:] = 0  # what was handed out is the caller's
    again = weight_blocks(weight.copy(), replace(asked, level=4), moments)
    assert len(calls) == 1
    plain = rounded(weight, asked, moments)
    for name in ("levels", "scales", "zeros"):
        assert getattr(again, name).tobytes() == getattr(plain, name).tobytes()
    weight_blocks(other, asked, moments)  # there is room for one
    weight_blocks(weight, asked, 2 * moments)
    assert len(calls) == 3
    weight_blocks(weight, asked, moments)
    assert len(calls) == (4 if rounding is Rounding.GPTQ else 3)
