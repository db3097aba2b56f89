"""Whole small networks of many kinds: near to the float model, and the same bits in C."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.unrolled_recurrence import unrolled
from compiler_core.graph.session import FloatSession
from compiler_core.units.cpu.c.bundles.bundle import expected, scheduled_bundle, write_bundle
from compiler_core.units.cpu.c.bundles.cores import CORES, check, missing
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.schedules.schedule import choices
from tests.compiler_core.units.cpu.c.cases import Model, options_of, ranges_of, samples


def temporal() -> Graph:
    """Causal, dilated convolutions with skips."""
    m = Model((1, 6, 40))
    x, width = "x0", 6
    for dilation in (1, 2, 4):
        y = x
        for channels in (width, 12):
            ahead = m.node("Pad", y, m.array([0, 0, 2 * dilation, 0, 0, 0], "int64"))
            weight = m.weight(12, channels, 3)
            y = m.node("Relu", m.node("Conv", ahead, weight, m.weight(12), dilations=[dilation]))
        skip = x if width == 12 else m.node("Conv", x, m.weight(12, width, 1))
        x, width = m.node("Relu", m.node("Add", y, skip)), 12
    ends = [m.array([n], "int64") for n in (39, 40, 2)]
    last = m.node("Flatten", m.node("Slice", x, *ends))
    return m.graph(m.node("Gemm", last, m.weight(4, 12), m.weight(4), transB=1))


def keyword_cell() -> Graph:
    """A GRU over frames, then classes."""
    m = Model((10, 1, 8))
    parts = (m.weight(1, 36, 8, scale=0.3), m.weight(1, 36, 12, scale=0.3), m.weight(1, 72))
    _, last = m.node("GRU", "x0", *parts, outputs=2, hidden_size=12, linear_before_reset=1)
    flat = m.node("Squeeze", last, m.array([0], "int64"))
    scores = m.node("Gemm", flat, m.weight(5, 12), m.weight(5), transB=1)
    return unrolled(m.graph(m.node("Softmax", scores)))


def segmenting() -> Graph:
    """Down and up again, with concatenations, a transposed convolution and a resize."""
    m = Model((1, 1, 16, 16))

    def conv(x: str, outputs: int, inputs: int) -> str:
        weight = m.weight(outputs, inputs, 3, 3, scale=0.3)
        found: str = m.node("Conv", x, weight, m.weight(outputs), pads=[1] * 4)
        return str(m.node("Relu", found))

    half: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    a = conv("x0", 8, 1)
    b = conv(m.node("MaxPool", a, **half), 16, 8)
    c = conv(m.node("MaxPool", b, **half), 16, 16)
    up = m.node("ConvTranspose", c, m.weight(16, 16, 2, 2, scale=0.3), strides=[2, 2])
    joined = conv(m.node("Concat", up, b, axis=1), 16, 32)
    large = m.node("Resize", joined, "", m.array([1, 1, 2, 2]), mode="linear")
    last = conv(m.node("Concat", large, a, axis=1), 8, 24)
    return m.graph(m.node("Sigmoid", m.node("Conv", last, m.weight(1, 8, 1, 1))))


def inverted() -> Graph:
    """Expanding blocks with depthwise convolutions, clamps and skips."""
    m = Model((1, 3, 24, 24))

    def conv(x: str, o: int, i: int, k: int, stride: int, groups: int, *, clip: bool) -> str:
        weight = m.weight(o, i // groups, k, k, scale=(2 / (i // groups * k * k)) ** 0.5)
        more: dict[str, Any] = {"group": groups, "strides": [stride] * 2, "pads": [k // 2] * 4}
        y = m.node("Conv", x, weight, m.weight(o, scale=0.1), **more)
        return str(m.node("Clip", y, m.array(0.0), m.array(6.0)) if clip else y)

    x, width = conv("x0", 8, 3, 3, 2, 1, clip=True), 8
    for channels, stride in ((8, 1), (12, 2), (12, 1)):
        wide = 3 * width
        y = conv(x, wide, width, 1, 1, 1, clip=True)
        y = conv(y, wide, wide, 3, stride, wide, clip=True)
        y = conv(y, channels, wide, 1, 1, 1, clip=False)
        x = str(m.node("Add", x, y)) if (channels, stride) == (width, 1) else y
        width = channels
    pooled = m.node("ReduceMean", x, m.array([2, 3], "int64"), keepdims=0)
    return m.graph(m.node("Gemm", pooled, m.weight(4, width), m.weight(4), transB=1))


def attending() -> Graph:
    """A block of attention with two heads and a normalized feed-forward part."""
    m = Model((1, 10, 16))

    def linear(x: str, inputs: int, outputs: int) -> str:
        weight = m.weight(inputs, outputs, scale=0.25)
        return str(m.node("Add", m.node("MatMul", x, weight), m.weight(outputs, scale=0.1)))

    def heads(x: str, order: list[int]) -> str:
        shape = m.array([1, 10, 2, 8], "int64")
        return str(m.node("Transpose", m.node("Reshape", x, shape), perm=order))

    first = m.node("LayerNormalization", "x0", m.weight(16), m.weight(16))
    query, key = (
        heads(linear(first, 16, 16), [0, 2, 1, 3]),
        heads(linear(first, 16, 16), [0, 2, 3, 1]),
    )
    value = heads(linear(first, 16, 16), [0, 2, 1, 3])
    scores = m.node("Mul", m.node("MatMul", query, key), m.array(8**-0.5))
    mixed = m.node(
        "Transpose", m.node("MatMul", m.node("Softmax", scores), value), perm=[0, 2, 1, 3]
    )
    whole = m.node("Reshape", mixed, m.array([1, 10, 16], "int64"))
    x = m.node("Add", "x0", linear(whole, 16, 16))
    second = m.node("LayerNormalization", x, m.weight(16), m.weight(16))
    x = m.node("Add", x, linear(m.node("Gelu", linear(second, 16, 32)), 32, 16))
    return m.graph(m.node("ReduceMean", x, m.array([1], "int64"), keepdims=0))


def autoencoder() -> Graph:
    """Dense layers with batch normalization."""
    m = Model((1, 64))
    x, width = "x0", 64
    for outputs in (32, 16, 4, 16, 32):
        y = m.node("Gemm", x, m.weight(outputs, width, scale=0.2), m.weight(outputs), transB=1)
        ones, zeros = m.array(np.ones(outputs)), m.array(np.zeros(outputs))
        x, width = (
            m.node("Relu", m.node("BatchNormalization", y, ones, zeros, zeros, ones)),
            outputs,
        )
    return m.graph(m.node("Gemm", x, m.weight(64, width, scale=0.2), transB=1))


def channels_last() -> Graph:
    """As converters write models whose images have their channel last."""
    m = Model((1, 20, 20, 3))
    to_first: dict[str, Any] = {"perm": [0, 3, 1, 2]}
    to_last: dict[str, Any] = {"perm": [0, 2, 3, 1]}
    x = m.node("Transpose", "x0", **to_first)
    same: dict[str, Any] = {"auto_pad": "SAME_UPPER"}
    x = m.node("Conv", x, m.weight(8, 3, 3, 3, scale=0.3), strides=[2, 2], **same)
    x = m.node("Transpose", m.node("Relu", x), **to_last)
    x = m.node("Transpose", m.node("Add", m.node("Mul", x, m.weight(8)), m.weight(8)), **to_first)
    x = m.node("Relu", m.node("Conv", x, m.weight(8, 1, 3, 3, scale=0.3), group=8, **same))
    x = m.node("Transpose", m.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), **to_last)
    flat = m.node("Reshape", x, m.array([1, -1], "int64"))
    scores = m.node("Add", m.node("MatMul", flat, m.weight(200, 5, scale=0.1)), m.weight(5))
    return m.graph(m.node("Softmax", scores))


NETWORKS = (temporal, keyword_cell, segmenting, inverted, attending, autoencoder, channels_last)


COARSE = {"segmenting": 0.05}
"""Random weights make large sums, whose signs a sigmoid tells."""


@cache
def built(make: Callable[[], Graph]) -> tuple[Graph, dict[str, object]]:
    graph = make()
    return graph, dict(ranges_of(graph))


@pytest.mark.parametrize("precision", ["int8", "int16"])
@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_near_and_the_same_bits(
    make: Callable[[], Graph], precision: str, tmp_path: Path, check_bundle: Callable[..., str]
) -> None:
    graph, ranges = built(make)
    network = to_network(graph, ranges, options_of(graph, precision))  # type: ignore[arg-type]
    session, noise, power = FloatSession(graph), 0.0, 0.0
    for sample in samples(graph, 4):
        wanted = session.run(sample)
        _, found = expected(network, sample)
        for tensor, value, array in zip(graph.outputs, network.outputs, found, strict=True):
            real = network.real(value, array).reshape(wanted[tensor].shape)
            noise += float(((real - wanted[tensor]) ** 2).sum())
            power += float((wanted[tensor] ** 2).sum())
    assert noise < COARSE.get(make.__name__, 0.01) * power
    core = "cortex-m4" if precision == "int8" else "cortex-m55"
    schedules = {item.output: choices(item, core)[0] for item in network.operators}
    write_bundle(scheduled_bundle(network, "small", schedules), tmp_path, samples(graph, 2))
    flags = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert "2 of 2" in check_bundle(tmp_path, "gcc", *flags)
    if not missing(CORES[core]):
        check(CORES[core], tmp_path, tmp_path / "program")
