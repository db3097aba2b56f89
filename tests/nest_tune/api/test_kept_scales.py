"""Quantized models keep their scales where the NPU can execute them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nest_tune
from compiler_core.compile.sources import load_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.errors import InputError

DIGITS = Path("examples/digits")


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_our_own_quantized_model_compiles_to_the_same_bits_without_data(
    tmp_path: Path, granularity: str
) -> None:
    from compiler_core.configuration.configuration import Scheme

    given = Configuration(Scheme(decisions={"granularity": granularity}))
    first = nest_tune.compile(
        DIGITS / "model.onnx",
        "vta",
        tmp_path / "first",
        config=given,
        calibration=DIGITS / "calib.npz",
    )
    again = nest_tune.compile(first.folder / "model.qdq.onnx", "vta", tmp_path / "again")
    assert again.macs_share_npu == first.macs_share_npu == 1
    assert again.metrics.npu_cycles <= first.metrics.npu_cycles * 1.05
    data = DIGITS / "calib.npz"
    ours, theirs = (nest_tune.run(made, data, check=True).outputs for made in (again, first))
    for name, array in theirs.items():
        assert np.array_equal(ours[name], array)
    calibrated = nest_tune.compile(
        first.folder / "model.qdq.onnx", "vta", tmp_path / "data", calibration=data
    )
    assert calibrated.configuration.scheme.exponents == again.configuration.scheme.exponents


def dense(path: Path, scale: float, zero: npt.NDArray[Any]) -> Path:
    """``x`` and ``y`` quantized with ``scale``; weights of one int8 scale."""
    random = np.random.default_rng(0)
    integers = random.integers(-127, 128, (6, 5)).astype(np.int8)
    constants = {
        "s": np.array(scale, np.float32),
        "z": zero,
        "w": integers,
        "ws": np.array(2.0**-7, np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xr"]),
        helper.make_node("DequantizeLinear", ["w", "ws"], ["wr"]),
        helper.make_node("MatMul", ["xr", "wr"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "s", "z"], ["mq"]),
        helper.make_node("DequantizeLinear", ["mq", "s", "z"], ["y"]),
    ]
    values = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        values,
    )
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def int4(value: int) -> npt.NDArray[Any]:
    import ml_dtypes

    return np.array(value, ml_dtypes.int4)


@pytest.mark.parametrize(
    ("scale", "zero", "exponent"),
    [
        (0.125, np.array(0, np.int8), 3),
        (0.13, np.array(0, np.int8), None),  # the next power of two is a coarser grid
        (0.125, np.array(0, np.uint8), None),  # 255 steps do not fit int8
        (0.125, np.array(128, np.uint8), 3),
        (0.125, np.array(3, np.int8), None),
        (0.3, int4(0), 5),  # few integers: a finer grid is near all of them
    ],
)
def test_scales_are_kept_or_converted_or_calibrated_again(
    tmp_path: Path, scale: float, zero: npt.NDArray[Any], exponent: int | None
) -> None:
    path = dense(tmp_path / "dense.onnx", scale, zero)
    kept = load_model(path).graph.kept
    assert kept == ({} if exponent is None else {"x": exponent, "y": exponent})
    if exponent is None:
        with pytest.raises(InputError, match="no calibration data"):
            nest_tune.compile(path, "vta", tmp_path / "out")
        x = np.random.default_rng(1).standard_normal((8, 6)).astype(np.float32)
        made = nest_tune.compile(path, "vta", tmp_path / "out", calibration={"x": x})
    else:
        made = nest_tune.compile(path, "vta", tmp_path / "out")
        assert set(made.configuration.scheme.exponents.values()) == {exponent}
    assert made.npu_segments == 1


@pytest.mark.parametrize("kind", ["int8", "uint8", "int4"])
def test_converted_values_move_by_at_most_half_a_step(kind: str) -> None:
    import ml_dtypes

    from compiler_core.graph.ir import Node
    from compiler_core.graph.passes.meant_clamps import LIMITS
    from compiler_core.graph.passes.prequantized import _kept_exponent

    class Constants:
        def __init__(self, *values: Any) -> None:
            self.values = values

        def constant(self, _node: Node, position: int) -> Any:
            return self.values[position - 1]

    random = np.random.default_rng(2)
    node = Node("q", "QuantizeLinear", ("x", "s", "z"), ("y",))
    low, high = LIMITS[kind]
    dtype = ml_dtypes.int4 if kind == "int4" else np.dtype(kind)
    found = 0
    for _ in range(300):
        power = random.random() < 0.5
        step = np.float32(2.0 ** random.integers(-9, 3) if power else random.uniform(1e-3, 9))
        zero = np.array(random.integers(low, high + 1) if random.random() < 0.5 else 0, dtype)
        exponent = _kept_exponent(Constants(np.array(step), zero), node)  # type: ignore[arg-type]
        if exponent is None:
            continue
        found += 1
        real = (np.arange(low, high + 1) - int(zero)) * np.float64(step)
        ours = np.clip(np.rint(np.ldexp(real, exponent)), -128, 127)
        assert np.abs(np.ldexp(ours, -exponent) - real).max() <= step / 2
    assert found
