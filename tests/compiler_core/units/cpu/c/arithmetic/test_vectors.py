"""The integer semantics against vectors of an independent implementation: every bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler_core.units.cpu.c.arithmetic.fixed_point import (
    exp_negative,
    reciprocal,
    requant,
    requant64,
)
from compiler_core.units.cpu.c.arithmetic.packing import pack_int4
from compiler_core.units.cpu.c.arithmetic.pointwise import (
    Addend,
    SoftmaxFactors,
    add,
    average_pool,
    max_pool,
    multiply,
    softmax,
)
from compiler_core.units.cpu.c.arithmetic.weighted import (
    Sliding,
    WeightedRequantization,
    convolution,
    dense,
)
from tests.compiler_core.units.cpu.c.int4 import unpack_int4

FOLDER = Path(__file__).parents[5] / "vectors" / "mcu"
VECTORS = json.loads((FOLDER / "manifest.json").read_text())["vectors"]

Arrays = dict[str, np.ndarray[Any, Any]]


def sliding(p: dict[str, Any]) -> Sliding:
    return Sliding(
        (p["kernel_height"], p["kernel_width"]),
        (p["stride_height"], p["stride_width"]),
        (p.get("dilation_height", 1), p.get("dilation_width", 1)),
        (p["pad_top"], p["pad_left"]),
        (p["out_height"], p["out_width"]),
    )


def scaled(p: dict[str, Any], a: Arrays, accumulators: Any, *, wide: bool) -> Any:
    multiplier = a.get("multiplier", np.array(p.get("multiplier")))
    shift = a.get("shift", np.array(p.get("shift")))
    low, high = p["activation_min"], p["activation_max"]
    return WeightedRequantization(multiplier, shift, p["output_offset"], low, high, wide).apply(
        accumulators
    )


def run_conv(p: dict[str, Any], a: Arrays) -> Any:
    found = convolution(a["input"], a["weights"], a.get("bias"), sliding(p), p["input_offset"])
    wide = a["input"].dtype == np.int16 and p.get("bias_bits") != 32
    return scaled(p, a, found, wide=wide)


def run_depthwise(p: dict[str, Any], a: Arrays) -> Any:
    weights = np.moveaxis(a["weights"], -1, 0)[..., None]
    groups = p["in_channels"]
    found = convolution(a["input"], weights, a.get("bias"), sliding(p), p["input_offset"], groups)
    return scaled(p, a, found, wide=a["input"].dtype == np.int16)


def run_dense(p: dict[str, Any], a: Arrays) -> Any:
    found = dense(a["input"], a["weights"], a.get("bias"), p["input_offset"])
    return scaled(p, a, found, wide=a["input"].dtype == np.int16)


def run_add(p: dict[str, Any], a: Arrays) -> Any:
    addends = (
        Addend(p["input_offset"], p["input1_multiplier"], p["input1_shift"]),
        Addend(p["input2_offset"], p["input2_multiplier"], p["input2_shift"]),
    )
    found = add(a["input"], a["input2"], addends, p["multiplier"], p["shift"])
    return np.clip(found + p["output_offset"], p["activation_min"], p["activation_max"])


def run_mul(p: dict[str, Any], a: Arrays) -> Any:
    offsets = (p["input_offset"], p["input2_offset"])
    found = multiply(a["input"], a["input2"], offsets, p["multiplier"], p["shift"])
    return np.clip(found + p["output_offset"], p["activation_min"], p["activation_max"])


def run_pool(pool: Callable[..., Any]) -> Callable[..., Any]:
    def run(p: dict[str, Any], a: Arrays) -> Any:
        return np.clip(pool(a["input"], sliding(p)), p["activation_min"], p["activation_max"])

    return run


def run_softmax(p: dict[str, Any], a: Arrays) -> Any:
    return softmax(a["input"], SoftmaxFactors(p["multiplier"], p["shift"], p["diff_min"]))


RUNNERS: dict[str, Callable[..., Any]] = {
    "conv_s8": run_conv,
    "conv_s4": run_conv,
    "conv_s16": run_conv,
    "dw_s8": run_depthwise,
    "dw_s4": run_depthwise,
    "dw_s16": run_depthwise,
    "fc_s8": run_dense,
    "fc_pc_s8": run_dense,
    "fc_s4": run_dense,
    "fc_s16": run_dense,
    "add_s8": run_add,
    "mul_s8": run_mul,
    "max_s8": run_pool(max_pool),
    "avg_s8": run_pool(average_pool),
    "softmax_s8": run_softmax,
    "requant": lambda _p, a: requant(a["value"], a["multiplier"], a["shift"]),
    "requant64": lambda _p, a: requant64(a["value"], a["multiplier"], a["shift"]),
    "exp_neg": lambda _p, a: exp_negative(a["value"]),
    "recip": lambda _p, a: reciprocal(a["value"]),
}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda item: item["name"])
def test_equal(vector: dict[str, Any]) -> None:
    with np.load(FOLDER / vector["file"]) as stored:
        arrays = {name: stored[name] for name in stored.files}
    found = RUNNERS[vector["operator"]](vector["parameters"], arrays)
    np.testing.assert_array_equal(found, arrays["output"])
    if "weights_packed" in arrays:
        weights, packed = arrays["weights"], arrays["weights_packed"]
        np.testing.assert_array_equal(pack_int4(weights), packed)
        np.testing.assert_array_equal(unpack_int4(packed, weights.size), weights.ravel())


def test_all_operators_have_vectors() -> None:
    assert {vector["operator"] for vector in VECTORS} == set(RUNNERS)
    assert len(VECTORS) == 77
