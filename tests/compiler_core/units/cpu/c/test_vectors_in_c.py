"""Generated C against the vectors of an independent implementation: every bit, on every core."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler_core.units.cpu.c.arithmetic.pointwise import Addend, SoftmaxFactors
from compiler_core.units.cpu.c.arithmetic.weighted import Sliding, WeightedRequantization
from compiler_core.units.cpu.c.bundles.cores import CORES, check, missing
from compiler_core.units.cpu.c.emit import extras
from compiler_core.units.cpu.c.emit.sources import write_sources
from compiler_core.units.cpu.c.network import Array, Network, Operator, Type, Value
from compiler_core.units.cpu.c.operators.pointwise import Output, Pool, Product, Softmax, Sum
from compiler_core.units.cpu.c.operators.weighted import Convolution, Dense
from compiler_core.units.cpu.c.plan.memory import plan_memory

FOLDER = Path(__file__).parents[4] / "vectors" / "mcu"
FUNCTIONS = ("requant", "requant64", "exp_neg", "recip")
"""Vectors of single functions, which the others call."""


def sliding(p: dict[str, Any]) -> Sliding:
    return Sliding(
        (p["kernel_height"], p["kernel_width"]),
        (p["stride_height"], p["stride_width"]),
        (p.get("dilation_height", 1), p.get("dilation_width", 1)),
        (p["pad_top"], p["pad_left"]),
        (p["out_height"], p["out_width"]),
    )


def weighted(kind: str, p: dict[str, Any], a: dict[str, Array], ports: Any) -> Operator:
    outputs = a["output"].shape[-1]
    wide = a["input"].dtype == np.int16 and p.get("bias_bits") != 32
    factors = [
        np.broadcast_to(np.asarray(a.get(key, p.get(key)), np.int64), (outputs,))
        for key in ("multiplier", "shift")
    ]
    low, high = p["activation_min"], p["activation_max"]
    scaling = WeightedRequantization(factors[0], factors[1], p["output_offset"], low, high, wide)
    bias = a.get("bias", np.zeros(outputs)).astype(np.int64)
    bits = 4 if kind.endswith("s4") else 8
    last = (p["input_offset"], scaling, bits)
    weights = a["weights"]
    if kind.startswith("fc"):
        return Dense(*ports, weights, bias, *last)
    groups = 1
    if kind.startswith("dw"):
        weights, groups = np.moveaxis(weights, -1, 0)[..., None], p["in_channels"]
    return Convolution(*ports, np.ascontiguousarray(weights), bias, sliding(p), groups, *last)


def operator(kind: str, p: dict[str, Any], a: dict[str, Array], name: str) -> Operator:
    inputs = tuple(f"{name}_{key}" for key in ("input", "input2") if key in a)
    ports = (name, inputs, f"{name}_output")
    if kind == "softmax_s8":
        sizes = (p["batch"], p["in_channels"], 1)
        factors = SoftmaxFactors(p["multiplier"], p["shift"], p["diff_min"])
        return Softmax(*ports, sizes, factors)
    if kind.startswith(("conv", "dw", "fc")):
        return weighted(kind, p, a, ports)
    ends = p["activation_min"], p["activation_max"]
    if kind in ("max_s8", "avg_s8"):
        return Pool(*ports, sliding(p), kind == "avg_s8", *ends)
    result = Output(p["multiplier"], p["shift"], p["output_offset"], *ends)
    offsets = (p["input_offset"], p["input2_offset"])
    if kind == "mul_s8":
        return Product(*ports, offsets, result)
    addends = tuple(
        Addend(offset, p[f"input{i}_multiplier"], p[f"input{i}_shift"])
        for i, offset in enumerate(offsets, 1)
    )
    return Sum(*ports, (addends[0], addends[1]), result)


@cache
def everything() -> tuple[Network, list[Array], list[Array]]:
    """All vectors side by side, their inputs and their outputs."""
    values: dict[str, Value] = {}
    operators, inputs, outputs = [], {}, {}
    for vector in json.loads((FOLDER / "manifest.json").read_text())["vectors"]:
        kind, p, name = vector["operator"], vector["parameters"], vector["name"]
        if kind in FUNCTIONS:
            continue
        with np.load(FOLDER / vector["file"]) as stored:
            a = {key: stored[key] for key in stored.files}
        found = operator(kind, p, a, name)
        operators.append(found)
        for port in (*found.inputs, found.output):
            array = a[port.removeprefix(f"{name}_")]
            values[port] = Value(port, port, array.shape, Type(array.dtype.name))
            (outputs if port == found.output else inputs)[port] = array
    axes = {port: tuple(range(len(value.shape))) for port, value in values.items()}
    names = (tuple(inputs), tuple(outputs))
    network = Network("vectors", values, *names, names[0] + names[1], axes, tuple(operators))
    return network, list(inputs.values()), list(outputs.values())


def write(folder: Path) -> None:
    network, inputs, outputs = everything()
    sources = write_sources(network, plan_memory(network), "vectors")
    files = sources.files | {
        "selftest.c": extras.self_test(network, "vectors", [(inputs, outputs)])
    }
    for name, text in files.items():
        (folder / name).write_text(text)


def test_there_are_enough() -> None:
    network, _, _ = everything()
    assert len(network.operators) >= 70
    assert {type(item).__name__ for item in network.operators} == {
        "Convolution",
        "Dense",
        "Pool",
        "Product",
        "Softmax",
        "Sum",
    }


@pytest.mark.parametrize(
    "command",
    [("gcc", "-O0"), ("gcc", "-O3"), ("gcc", "-O1", "-fsanitize=address,undefined")],
    ids=" ".join,
)
def test_same_bits_here(
    command: tuple[str, ...], tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    write(tmp_path)
    assert "1 of 1 samples equal" in check_bundle(tmp_path, *command)


@pytest.mark.parametrize("name", sorted(set(CORES) - {"c99"}))
def test_same_bits_there(name: str, tmp_path: Path) -> None:
    lacking = missing(CORES[name])
    if lacking:
        pytest.skip(f"{lacking[0]} is not installed")
    write(tmp_path)
    check(CORES[name], tmp_path, tmp_path / "program")
