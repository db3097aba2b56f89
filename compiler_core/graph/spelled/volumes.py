"""Pools over three axes as pools over two: rows and columns first, then depths.

A maximum of maxima is the maximum, and a mean of means the mean, since how many positions of a
window exist is a product over its axes.
"""

from __future__ import annotations

from compiler_core.graph.spelled.spelling import Spelling

_VOLUME_RANK = 5


def volume_pool(s: Spelling) -> bool:
    """MaxPool and AveragePool with explicit pads."""
    known, result = s.node.attributes, s.work.shape(s.node.output)
    explicit = all(name in known for name in ("kernel_shape", "strides", "pads"))
    if len(s.shape) != _VOLUME_RANK or result is None or not explicit or len(s.node.outputs) > 1:
        return False
    if "auto_pad" in known or known.get("ceil_mode") or known.get("storage_order"):
        return False
    kernel, strides, pads = known["kernel_shape"], known["strides"], known["pads"]
    dilations = known.get("dilations", (1, 1, 1))
    more = {"count_include_pad": known["count_include_pad"]} if "count_include_pad" in known else {}
    batch, channels, depth, *_ = s.shape
    height, width = result[3:]

    def pool(x: str, shape: tuple[int, ...], axes: tuple[int | None, ...]) -> str:
        """A pool over some of the axes; ``None`` is one that stays."""
        attributes = {
            "kernel_shape": tuple(1 if a is None else kernel[a] for a in axes),
            "strides": tuple(1 if a is None else strides[a] for a in axes),
            "pads": tuple(0 if a is None else pads[a + end] for end in (0, 3) for a in axes),
            **more,
        }
        if "dilations" in known:
            attributes["dilations"] = tuple(1 if a is None else dilations[a] for a in axes)
        return s.add(s.node.op, [x], shape, **attributes)

    image = s.shaped(s.node.inputs[0], (batch, channels * depth, *s.shape[3:]))
    image = pool(image, (batch, channels * depth, height, width), (1, 2))
    column = s.shaped(image, (batch, channels, depth, height * width))
    column = pool(column, (batch, channels, result[2], height * width), (0, None))
    s.shaped(column, result)
    return s.end()


def global_volume_pool(s: Spelling) -> bool:
    """GlobalAveragePool and GlobalMaxPool."""
    if len(s.shape) != _VOLUME_RANK:
        return False
    batch, channels, depth, height, width = s.shape
    image = s.shaped(s.node.inputs[0], (batch, channels, depth * height, width))
    found = s.add(s.node.op, [image], (batch, channels, 1, 1))
    s.shaped(found, (batch, channels, 1, 1, 1))
    return s.end()
