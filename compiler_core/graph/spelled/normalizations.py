"""Normalizations of channels and instances."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from compiler_core.graph.passes.batch_norm import batch_norm_affine
from compiler_core.graph.shapes import spreads_over
from compiler_core.graph.spelled.reductions import over
from compiler_core.graph.spelled.spelling import Spelling

_HAS_LAYER_NORMALIZATION = 17


def instance_normalization(s: Spelling) -> bool:
    """InstanceNormalization: LayerNormalization of channels, scale, bias."""
    scale, bias = s.work.constant(s.node, 1), s.work.constant(s.node, 2)
    if scale is None or bias is None or len(s.shape) < 3:
        return False
    samples, channels, *axes = s.shape
    if scale.shape != (channels,) or bias.shape != (channels,):
        return False  # the runtime says what is wrong
    size = prod(axes)
    epsilon = float(s.node.attributes.get("epsilon", 1e-5))
    flat = (samples, channels, size)
    whole = s.constant("shape", np.array(flat, np.int64))
    rows = s.add("Reshape", [s.node.inputs[0], whole], flat)
    if s.opset < _HAS_LAYER_NORMALIZATION:
        normal = _by_means(s, rows, flat, epsilon)[0]
    else:
        ones = s.constant("ones", np.ones(size, np.float32))
        zeros = s.constant("zeros", np.zeros(size, np.float32))
        normal = s.add("LayerNormalization", [rows, ones, zeros], flat, axis=-1, epsilon=epsilon)
    back = s.constant("back", np.array(s.shape, np.int64))
    found = s.add("Reshape", [normal, back], s.shape)
    row = (channels, *(1 for _ in axes))
    scaled = s.add("Mul", [found, s.constant("scale", scale.reshape(row))], s.shape)
    s.add("Add", [scaled, s.constant("bias", bias.reshape(row))], s.shape)
    return s.end()


def _by_means(s: Spelling, x: str, shape: tuple[int, ...], epsilon: float) -> tuple[str, str, str]:
    """Rows less their mean and divided by their deviation; means; one by the deviations."""
    axis = len(shape) - 1
    rest = (*shape[:axis], 1)
    axes = s.constant("axes", np.array([axis], np.int64))
    mean = over(s, "ReduceMean", x, axes, [axis], rest)
    away = s.add("Sub", [x, mean], shape)
    square = s.add("Mul", [away, away], shape)
    variance = over(s, "ReduceMean", square, axes, [axis], rest)
    some = s.add("Add", [variance, s.constant("epsilon", np.float32(epsilon))], rest)
    inverse = s.add("Reciprocal", [s.add("Sqrt", [some], rest)], rest)
    return s.add("Mul", [away, inverse], shape), mean, inverse


def batch_normalization(s: Spelling) -> bool:
    """A factor and a number per channel: one rounding where there are pixels."""
    affine = batch_norm_affine(s.work, s.node)
    if affine is None:
        return False
    scale, shift = (values.astype(np.float32) for values in affine)
    x, spatial = s.node.inputs[0], len(s.shape) - 2
    if spatial not in (1, 2):
        row = (len(scale), *(1 for _ in s.shape[2:]))
        scaled = s.add("Mul", [x, s.constant("scale", scale.reshape(row))], s.shape)
        s.add("Add", [scaled, s.constant("shift", shift.reshape(row))], s.shape)
        return s.end()
    ones = (1,) * spatial
    weight = s.constant("scale", scale.reshape(-1, 1, *ones))
    inputs = [x, weight, s.constant("shift", shift)]
    more: dict[str, Any] = {
        "kernel_shape": ones,
        "strides": ones,
        "dilations": ones,
        "pads": (0,) * 2 * spatial,
    }
    s.add("Conv", inputs, s.shape, group=len(scale), **more)
    return s.end()


def layer_normalization(s: Spelling) -> bool:
    """LayerNormalization over several axes, or one that gives means and deviations too."""
    axis = int(s.node.attributes.get("axis", -1)) % len(s.shape)
    epsilon = float(s.node.attributes.get("epsilon", 1e-5))
    rows, size = prod(s.shape[:axis]), prod(s.shape[axis:])
    scale = s.work.constant(s.node, 1)
    bias = s.work.constant(s.node, 2) if s.given(2) else np.zeros(1, np.float32)
    measured = [name for name in s.node.outputs[1:] if name]
    if scale is None or bias is None or (axis == len(s.shape) - 1 and not measured):
        return False
    if not all(spreads_over(array.shape, s.shape[axis:]) for array in (scale, bias)):
        return False  # the runtime says what is wrong
    factors = [
        s.constant(what, np.broadcast_to(array, s.shape[axis:]).reshape(-1))
        for what, array in (("scale", scale), ("bias", bias))
    ]
    flat = s.shaped(s.node.inputs[0], (rows, size))
    if not measured:
        inputs = [flat, *factors]
        found = s.add("LayerNormalization", inputs, (rows, size), axis=-1, epsilon=epsilon)
        s.shaped(found, s.shape)
        return s.end()
    normal, mean, inverse = _by_means(s, flat, (rows, size), epsilon)
    scaled = s.add("Mul", [normal, factors[0]], (rows, size))
    found = s.add("Add", [scaled, factors[1]], (rows, size))
    rest = (*s.shape[:axis], *(1 for _ in s.shape[axis:]))
    results = [s.shaped(found, s.shape), s.shaped(mean, rest), s.shaped(inverse, rest)]
    return s.end_as(dict(zip(results, s.node.outputs, strict=False)))
