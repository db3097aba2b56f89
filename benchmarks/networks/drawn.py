"""Layers that nobody has tuned to: drawn by seed from what four kinds of networks are made of.

Widths, kernels, strides and resolutions are those that the families' rules allow, not those of one
published network: MCUNet (inverted residual blocks of few channels, kernels up to 7), EfficientNet
(inverted residual blocks), DenseNet (narrow outputs over ever wider inputs), VGG (3×3).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window


def drawn_tasks(count: int, seed: int) -> list[Task]:
    """Different tasks, the families in turn.

    Args:
        count: How many.
        seed: Of the draw.
    """
    generator = np.random.default_rng([seed, 0xD4A3])
    families = (_mcunet, _efficientnet, _densenet, _vgg)
    found: dict[Task, None] = {}
    while len(found) < count:
        found[families[len(found) % len(families)](generator)] = None
    return list(found)


def _mcunet(generator: np.random.Generator) -> Task:
    pick = _picks(generator)
    return _inverted(generator, pick(10, 20, 40), pick(8, 16, 24, 40, 48, 96), pick(3, 4, 5, 6))


def _efficientnet(generator: np.random.Generator) -> Task:
    pick = _picks(generator)
    return _inverted(generator, pick(7, 14, 28, 56), pick(24, 40, 80, 112, 192), 6)


def _inverted(generator: np.random.Generator, size: int, channels: int, expansion: int) -> Task:
    """One of the three convolutions of an inverted residual block."""
    pick, inner = _picks(generator), channels * expansion
    place = pick(0, 1, 2)
    if place == 0:
        return _conv(channels, size, inner, 1)
    if place == 1:
        return _conv(inner, size, inner, pick(3, 5, 7), pick(1, 2), groups=inner)
    return _conv(inner, size, pick(channels, 2 * channels), 1, clip=False)


def _densenet(generator: np.random.Generator) -> Task:
    pick = _picks(generator)
    size, growth = pick(7, 14, 28, 56), pick(12, 24, 32, 48)
    if pick(0, 1):
        return _conv(4 * growth, size, growth, 3, clip=False)
    return _conv(2 * growth + growth * int(generator.integers(1, 17)), size, 4 * growth, 1)


def _vgg(generator: np.random.Generator) -> Task:
    pick = _picks(generator)
    width, size = pick(32, 64, 128, 256, 512), pick(7, 14, 28, 56)
    return _conv(pick(width, width // 2), size, width, 3)


def _picks(generator: np.random.Generator) -> Callable[..., int]:
    return lambda *values: values[int(generator.integers(len(values)))]


def _conv(
    channels: int,
    size: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    *,
    groups: int = 1,
    clip: bool = True,
) -> Task:
    window = Window((kernel, kernel), (stride, stride), (kernel // 2,) * 4)
    epilogue = Epilogue(17, True, clip, True)
    workload = ConvWorkload(1, channels, size, size, out_channels, window, groups, epilogue)
    return Task("vta", workload)
