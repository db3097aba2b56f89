"""Pools of powers, and normalization by neighbouring channels."""

from __future__ import annotations

from math import prod

import numpy as np

from compiler_core.graph.spelled.spelling import Spelling


def power_pool(s: Spelling) -> bool:
    """LpPool with explicit pads: a mean of powers, times their number."""
    known, result = s.node.attributes, s.work.shape(s.node.output)
    order, kernel = int(known.get("p", 2)), known.get("kernel_shape")
    explicit = known.get("auto_pad") in (None, b"NOTSET", "NOTSET")
    if order < 1 or kernel is None or result is None or not explicit:
        return False
    if known.get("ceil_mode"):
        return False
    x = s.node.inputs[0]
    powers = s.add("Mul", [x, x], s.shape) if order == 2 else s.add("Abs", [x], s.shape)
    if order > 2:
        powers = s.add("Pow", [powers, s.constant("order", np.float32(order))], s.shape)
    ones = (1,) * len(kernel)
    found = s.add(
        "AveragePool",
        [powers],
        result,
        kernel_shape=kernel,
        strides=known.get("strides", ones),
        pads=known.get("pads", (0,) * 2 * len(kernel)),
        count_include_pad=1,
        **{name: known[name] for name in ("dilations",) if max(known.get(name, (1,))) > 1},
    )
    count = np.float32(prod(kernel))
    found = s.add("Mul", [found, s.constant("count", count)], result)
    if order > 1:
        s.add("Pow", [found, s.constant("root", np.float32(1 / order))], result)
    return s.end()


def local_response(s: Spelling) -> bool:
    """LRN: each element by a power of the mean square of its neighbours among the channels."""
    if len(s.shape) < 2:
        return False
    known, (batch, channels, *image) = s.node.attributes, s.shape
    size, x = int(known["size"]), s.node.inputs[0]
    pixels = (batch, 1, channels, prod(image))
    squares = s.shaped(s.add("Mul", [x, x], s.shape), pixels)
    before = (size - 1) // 2
    mean = s.add(
        "AveragePool",
        [squares],
        pixels,
        kernel_shape=(size, 1),
        strides=(1, 1),
        pads=(before, 0, size - 1 - before, 0),
        count_include_pad=1,
    )
    scaled = s.add("Mul", [mean, s.constant("alpha", np.float32(known.get("alpha", 1e-4)))], pixels)
    some = s.add("Add", [scaled, s.constant("bias", np.float32(known.get("bias", 1.0)))], pixels)
    beta = s.constant("beta", np.float32(-float(known.get("beta", 0.75))))
    s.add("Mul", [x, s.shaped(s.add("Pow", [some, beta], pixels), s.shape)], s.shape)
    return s.end()
