"""Every operator: near to the float model, and in C the same bits as the definition."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compiler_core.graph.session import FloatSession
from compiler_core.units.cpu.c.arithmetic.real import PAIRS
from compiler_core.units.cpu.c.bundles.bundle import expected, write_bundle
from tests.compiler_core.units.cpu.c.cases import all_in_one, names, prepared, samples

COARSE = {"ceil": 0.03, "floor": 0.03, "round": 0.03, "sign": 0.03, "thresholdedrelu": 0.05}
COARSE |= {"global_mean": 0.01, "resize_outside": 0.01}
"""Jumps, means that are small beside the scale of what they are of, and what leaves the range of
its input."""
SANITIZERS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.mark.parametrize("precision", ["float32", "int8", "int16"])
@pytest.mark.parametrize("name", names())
def test_near_to_the_float_model(name: str, precision: str) -> None:
    graph, bundle = prepared(name, precision)
    network = bundle.network
    session = FloatSession(graph)
    errors, sizes, most = 0.0, 0.0, 0.0
    for sample in samples(graph, 4):
        wanted = session.run(sample)
        _, found = expected(network, sample)
        for tensor, value, array in zip(graph.outputs, network.outputs, found, strict=True):
            real = network.real(value, array).reshape(wanted[tensor].shape)
            errors += float(((real - wanted[tensor]) ** 2).sum())
            sizes += float((wanted[tensor] ** 2).sum())
            most = max(most, float(np.abs(real - wanted[tensor]).max()))
    if precision == "float32":
        assert most < 1e-5 * max(1.0, np.sqrt(sizes))
    else:
        assert errors < COARSE.get(name, 0.003) * sizes


@pytest.mark.parametrize("precision", ["float32", "int8", "int16"])
@pytest.mark.parametrize(
    "command",
    [
        ("gcc", "-O0"),
        ("gcc", "-O3"),
        ("gcc", *SANITIZERS),
        ("clang", "-O0"),
        ("clang", "-O3"),
        ("clang", *SANITIZERS),
    ],
    ids=" ".join,
)
def test_same_bits_in_c(
    command: tuple[str, ...], precision: str, tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    graph, bundle = all_in_one(precision)
    write_bundle(bundle, tmp_path, samples(graph, 3))
    assert "3 of 3 samples equal" in check_bundle(tmp_path, *command)


def test_integer_networks_have_no_float() -> None:
    """Of what has an integer kernel, nothing is converted on the way."""
    real = {"division_is_real", "powers", "reduce_sum", "reduce_min", "min", "max"}
    for name in names():
        _, bundle = prepared(name, "int8")
        types = {value.type.dtype for value in bundle.network.values.values()}
        assert ("float32" in types) == (name in real), name


def test_powers_are_those_of_numpy() -> None:
    """At zero, below it, and by whole, odd and fractional exponents."""
    a = np.array([0, 0, 0, -2, -2, -2, -1.5, 4, 4, np.inf], np.float32)
    b = np.array([0, 2, -1, 3, 4, 0.5, -3, 0.5, -2, -1], np.float32)
    with np.errstate(all="ignore"):
        found = PAIRS["pow"](a, b)
        wanted = np.power(a, b)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
