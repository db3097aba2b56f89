"""Operators with weights, and products of two activations, in integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.arithmetic.weighted import (
    Sliding,
    WeightedRequantization,
    convolution,
    dense,
    product,
)
from compiler_core.units.cpu.c.network import Array, Operator, as_image

Int8s = npt.NDArray[np.int8]
Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution of an image ``[N, H, W, C]``, of any number of groups.

    Attributes:
        weights: ``int8[O, kh, kw, C / groups]``.
        bias: ``int64[O]``.
        offset: The zero point of the input, negated.
        bits: Of a stored weight, 8 or 4.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    weights: Int8s
    bias: Int64s
    sliding: Sliding
    groups: int
    offset: int
    scaling: WeightedRequantization
    bits: int = 8

    @property
    def depthwise(self) -> bool:
        """Whether every input channel is a group."""
        return self.weights.shape[3] == 1 and self.groups > 1

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        return self.scaling.apply(
            convolution(
                as_image(inputs[0]), self.weights, self.bias, self.sliding, self.offset, self.groups
            )
        )


@dataclass(frozen=True, eq=False)
class Dense:
    """A dense layer over the last axis.

    Attributes:
        weights: ``int8[O, I]``.
        bias: ``int64[O]``.
        offset: The zero point of the input, negated.
        bits: Of a stored weight, 8 or 4.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    weights: Int8s
    bias: Int64s
    offset: int
    scaling: WeightedRequantization
    bits: int = 8

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        return self.scaling.apply(dense(inputs[0], self.weights, self.bias, self.offset))


@dataclass(frozen=True, eq=False)
class MatrixProduct:
    """A product ``[B, M, K]`` by ``[B, K, N]`` of two activations.

    Attributes:
        offsets: Zero points of both inputs, negated.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    offsets: tuple[int, int]
    scaling: WeightedRequantization

    def compute(self, inputs: Sequence[Array]) -> Array:
        """See :class:`~compiler_core.units.cpu.c.network.Operator`."""
        return self.scaling.apply(product(inputs[0], inputs[1], *self.offsets))


def weight_bits(operator: Operator) -> int:
    """Bits of each stored weight of an operator; 8 where it has none."""
    return operator.bits if isinstance(operator, Convolution | Dense) else 8
