"""Networks of integer and float operators in the order in which they run, all sizes fixed.

Level 2 for generated C: every operator is one kernel call, every value a block of memory in row
order (images with the channel last). What a value means beside its integers is its type: ``real =
scale * (integer - zero point)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError

Array = npt.NDArray[Any]

ITEM_BYTES = {"int8": 1, "int16": 2, "int32": 4, "float32": 4}
"""Element types that a value can have."""


@dataclass(frozen=True)
class Type:
    """What the elements of a value are.

    Attributes:
        dtype: Of :data:`ITEM_BYTES`.
        scale, zero_point: Of integers; 1 and 0 for float32.
    """

    dtype: str = "float32"
    scale: float = 1.0
    zero_point: int = 0

    @property
    def is_float(self) -> bool:
        """Whether values are real numbers themselves."""
        return self.dtype == "float32"

    @property
    def is_whole(self) -> bool:
        """Whether values are whole numbers of 32 bits: places and tokens, which keep no scale."""
        return self.dtype == "int32"

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest integer."""
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)

    def quantize(self, real: npt.ArrayLike) -> Array:
        """Integers of real numbers, half to even, saturated; float32 stays."""
        if self.is_whole:
            return _whole(np.asarray(real))
        values = np.asarray(real, np.float32)
        if self.is_float:
            return values
        whole = np.rint(values / np.float32(self.scale)).astype(np.float64) + self.zero_point
        return np.asarray(np.clip(whole, *self.limits), self.dtype)

    def real(self, integers: npt.ArrayLike) -> Array:
        """Real numbers of integers, float32; whole numbers as they are, int64."""
        values = np.asarray(integers)
        if self.is_whole:
            return values.astype(np.int64)
        if self.is_float:
            return values.astype(np.float32)
        whole = (values.astype(np.int32) - np.int32(self.zero_point)).astype(np.float32)
        return np.asarray(whole * np.float32(self.scale), np.float32)


FLOAT = Type()
WHOLE = Type("int32")
TRUTH = Type("int8")
"""Of 0 and 1."""


def _whole(values: Array) -> Array:
    with np.errstate(invalid="ignore"):  # of real numbers beyond the range
        found = values.astype(np.int32)
    if (found != values).any():
        raise InputError("a whole number has more than 32 bits; generated C has no more")
    return found


@dataclass(frozen=True)
class Value:
    """A block of memory that an operator writes, or the caller does.

    Attributes:
        name: Unique in its network: ``v0``, ``v1``, ….
        source: The model's tensor, for people.
        shape: In memory order.
        type: Of its elements.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    type: Type

    @property
    def size(self) -> int:
        """Elements."""
        return prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes."""
        return self.size * ITEM_BYTES[self.type.dtype]


class Operator(Protocol):
    """One kernel call, a frozen dataclass with its constants.

    Attributes:
        name: Of the model's node, for people.
        inputs, output: Names of values.
    """

    @property
    def name(self) -> str: ...

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def output(self) -> str: ...

    def compute(self, inputs: Sequence[Array]) -> Array:
        """The bits that the kernel has to give."""
        ...


@dataclass(frozen=True, eq=False)
class Network:
    """Operators in the order in which they run.

    Attributes:
        name: Of the model, for people.
        values: By name; of constants, inputs and all that is computed.
        inputs, outputs: Names of values, in the model's order.
        tensors: The model's names of the inputs, then of the outputs.
        axes: Per input and output: which axis of the model's tensor each axis in memory is.
        operators: In order.
        constants: By name of the value: what operators read like activations.
    """

    name: str
    values: Mapping[str, Value]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: tuple[str, ...]
    axes: Mapping[str, tuple[int, ...]]
    operators: tuple[Operator, ...]
    constants: Mapping[str, Array] = field(default_factory=dict)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Computes every value: the definition of the bits.

        Args:
            inputs: By name of the value, in memory order and in the value's type.
        """
        found = {**self.constants, **inputs}
        for operator in self.operators:
            value = self.values[operator.output]
            result = operator.compute([found[name] for name in operator.inputs])
            found[value.name] = result.astype(value.type.dtype).reshape(value.shape)
        return found

    def quantized(self, name: str, sample: Array) -> Array:
        """An input as the network wants it, from one sample in the model's layout."""
        value = self.values[name]
        axes = self.axes[name]
        shape = [0] * len(axes)
        for position, axis in enumerate(axes):
            shape[axis] = value.shape[position]
        ordered = np.ascontiguousarray(np.asarray(sample).reshape(shape).transpose(axes))
        known = ordered.dtype == value.type.dtype and not value.type.is_float
        return ordered if known else value.type.quantize(ordered)

    def real(self, name: str, array: Array) -> Array:
        """An output in the model's layout and as real numbers."""
        value = self.values[name]
        back = np.argsort(self.axes[name])
        return value.type.real(array.reshape(value.shape)).transpose(back)


def as_image(x: Array) -> Array:
    """``[N, H, W, C]`` of itself, or of ``[N, W, C]``, which is one row."""
    return x[:, None] if x.ndim == 3 else x
