"""What the sources of a scheduled kernel are made of: sizes, weights as they are stored."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.arithmetic.fixed_point import narrow_multiplier
from compiler_core.units.cpu.c.network import ITEM_BYTES, Operator, Value
from compiler_core.units.cpu.c.operators.weighted import Convolution, Dense
from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule

_WIDE_PLACES = 18
"""Bits by which a multiplier of 16 bits grows where its shift is 0, see ``scaled16.c``."""


@dataclass(frozen=True)
class KernelShape:
    """Sizes of a convolution or dense layer, as literals of its kernel.

    Attributes:
        sizes: ``N, H, W, C`` of the input.
        output: Rows and columns.
        outputs: Channels.
        kernel, stride, dilation, pad: Pairs, rows first.
        zero, offset, low, high: Zero points of input and output, the clamp.
        wide: Activations have 16 bits.
    """

    sizes: tuple[int, int, int, int]
    output: tuple[int, int]
    outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int]
    zero: int
    offset: int
    low: int
    high: int
    wide: bool = False

    @property
    def depth(self) -> int:
        """Products of one sum."""
        return self.kernel[0] * self.kernel[1] * self.sizes[3]

    @property
    def limits(self) -> tuple[int, int]:
        """Of the type of results."""
        return (-32768, 32767) if self.wide else (-128, 127)

    def text(self, number: str) -> str:
        """A zero point or an end of the clamp in a kernel: what costs follow from is a literal
        (that the input's zero point is 0, that the clamp is the type's or begins at 0), what is
        left has its own name, and is given."""
        value = getattr(self, number)
        least, greatest = self.limits
        literal = {
            "zero": value == 0,
            "offset": self.wide,
            "low": value == 0 or (value == least and self.high == greatest),
            "high": value == greatest,
        }
        return str(value) if literal[number] else number

    def narrowed(self, sum_text: str) -> str:
        """A scaled sum as a result of the type, within the clamp."""
        low, high = self.text("low"), self.text("high")
        least, greatest = map(str, self.limits)
        if self.wide and (low, high) == ("0", greatest):
            return f"nt_narrow15({sum_text})"
        if low != least:
            sum_text = f"nt_not_below({sum_text}, {low})"
        if high != greatest:
            sum_text = f"nt_not_above({sum_text}, {high})"
        return f"nt_narrow{'16' if self.wide else ''}({sum_text})"

    @property
    def inside(self) -> bool:
        """Whether no window reaches outside."""
        return all(
            pad == 0 and (out - 1) * s + (k - 1) * d + 1 <= size
            for pad, out, s, k, d, size in zip(
                self.pad,
                self.output,
                self.stride,
                self.kernel,
                self.dilation,
                self.sizes[1:3],
                strict=True,
            )
        )


def shape_of(operator: Convolution | Dense, source: Value) -> KernelShape:
    """The sizes of an operator that reads a value."""
    scaling = operator.scaling
    last = (-operator.offset, scaling.offset, scaling.low, scaling.high, scaling.wide)
    one = (1, 1)
    if isinstance(operator, Dense):
        outputs, depth = operator.weights.shape
        rows = source.size // depth
        return KernelShape((1, 1, rows, depth), (1, rows), outputs, one, one, one, (0, 0), *last)
    n, *middle, c = source.shape
    height, width = (1, middle[0]) if len(middle) == 1 else (middle[0], middle[1])
    known = operator.sliding
    return KernelShape(
        (n, height, width, c),
        known.output,
        len(operator.weights),
        known.kernel,
        known.stride,
        known.dilation,
        known.pad,
        *last,
    )


ProductSizes = tuple[int, int, int, int]
"""Batch, rows, depth and columns of a product of two activations."""


def product_sizes(first: Value, second: Value) -> ProductSizes:
    """Sizes of a product of two values."""
    batch, rows, depth = first.shape
    return batch, rows, depth, second.shape[2]


@dataclass(frozen=True)
class KernelText:
    """A function.

    Attributes:
        needs: Kernels.
        text: With ``@`` for its name; it takes what is given first, where anything is.
        given: Numbers.
    """

    needs: tuple[str, ...]
    text: str
    given: tuple[int, ...]


WEIGHTS = ("const int8_t *weights", "const int32_t *scales")
"""What functions take of an operator's constants."""

_GIVEN = ("zero", "offset", "low", "high")


def kernel_text(
    shape: KernelShape,
    needs: Sequence[str],
    signature: Sequence[str],
    lines: Sequence[str],
    more: Mapping[str, int] | None = None,
) -> KernelText:
    """A function from the types and names of its arguments, and the lines within its braces.

    Args:
        shape: Its zero points and clamp are given to the function, where they are used.
        needs: Kernels.
        signature, lines: Text.
        more: Further numbers that are given by name, where they are used.
    """
    body = "\n".join(lines)
    known = {name: int(getattr(shape, name)) for name in _GIVEN} | dict(more or {})
    used = [name for name in known if re.search(rf"\b{name}\b", body)]
    first = ["const int32_t *q"] if used else []
    head = ",\n              ".join([*first, *signature])
    numbers = ", ".join(f"{name} = q[{place}]" for place, name in enumerate(used))
    declared = f"  const int32_t {numbers};\n" if used else ""
    text = f"static void @({head}) {{\n{declared}{body}\n}}\n"
    return KernelText(tuple(needs), text, tuple(known[name] for name in used))


def lane_count(shape: KernelShape, schedule: KernelSchedule) -> int:
    """Products of one sum that are loaded together."""
    if schedule.unit != "mve":
        return 4
    return 8 if shape.wide else 16


def patch_dtype(shape: KernelShape, schedule: KernelSchedule) -> str:
    """Elements of a patch: as narrow as the unit multiplies them."""
    return "int8" if schedule.unit == "mve" and not shape.wide else "int16"


def padded_depth(shape: KernelShape, schedule: KernelSchedule) -> int:
    """Products of one sum, rounded up to whole turns."""
    group = lane_count(shape, schedule) * schedule.unroll
    return -(-shape.depth // group) * group


def patch_bytes(operator: Operator, source: Value, schedule: KernelSchedule) -> int:
    """Bytes that patches of the input take."""
    if not schedule.unit.has_blocks or not isinstance(operator, Convolution | Dense):
        return 0
    if isinstance(operator, Convolution) and operator.depthwise:
        return 0
    shape = shape_of(operator, source)
    width = ITEM_BYTES[patch_dtype(shape, schedule)]
    return padded_depth(shape, schedule) * schedule.pixels * width


def kernel_weights(
    operator: Convolution | Dense, source: Value, schedule: KernelSchedule
) -> npt.NDArray[np.int8]:
    """Weights as bytes in the order in which the kernel of a schedule reads them."""
    if not schedule.unit.has_blocks:
        return operator.weights
    shape = shape_of(operator, source)
    if isinstance(operator, Convolution) and operator.depthwise:
        rows = operator.weights.reshape(shape.outputs, -1)
        return deep_weights(rows) if is_deep(shape, schedule) else np.ascontiguousarray(rows.T)
    return stored_weights(operator, shape, schedule)


def is_deep(shape: KernelShape, schedule: KernelSchedule) -> bool:
    """Whether sixteen channels of a depthwise convolution are computed at a time."""
    return schedule.unit == "mve" and shape.sizes[3] % 16 == 0 and not shape.wide


def deep_weights(rows: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Weights ``[C, taps]`` in groups of sixteen channels, in them tap by tap."""
    grouped = rows.reshape(-1, 16, rows.shape[1])
    return np.ascontiguousarray(grouped.transpose(0, 2, 1))


def stored_weights(
    operator: Convolution | Dense, shape: KernelShape, schedule: KernelSchedule
) -> npt.NDArray[np.int8]:
    """Weights in the order in which the kernel reads them, filled up with zeros.

    Blocks of output channels, in them groups of products, in them one row per channel.
    """
    rows = operator.weights.reshape(shape.outputs, -1)
    step = lane_count(shape, schedule)
    full = np.zeros((shape.outputs, padded_depth(shape, schedule)), np.int8)
    full[:, : rows.shape[1]] = rows
    grouped = full.reshape(shape.outputs // schedule.outputs, schedule.outputs, -1, step)
    if schedule.unit == "dsp" and (shape.sizes[3] % 4 or shape.wide):
        grouped = grouped[..., [0, 2, 1, 3]]  # the halves of a word are read as bytes 0, 2 and 1, 3
    return np.ascontiguousarray(grouped.transpose(0, 2, 1, 3))


def in_lanes(schedule: KernelSchedule) -> bool:
    """Whether four output channels are scaled at a time."""
    return schedule.unit == "mve" and schedule.outputs % 4 == 0


def stored_scales(
    operator: Convolution | Dense, schedule: KernelSchedule, *, folded: bool
) -> npt.NDArray[np.int32]:
    """What sums are scaled by.

    Args:
        operator: Legal for a schedule.
        schedule: The schedule.
        folded: Whether the bias takes in the zero point of the input.

    Returns:
        Per output channel: bias, multiplier, half of the divisor, shift to the right; or, in
        lanes, four biases, four multipliers, four shifts. Of activations of 16 bits: bias and
        factor, or four of each.
    """
    bias = operator.bias.copy()
    if folded:
        sums = operator.weights.reshape(len(bias), -1).astype(np.int64).sum(axis=1)
        bias = bias + operator.offset * sums
    right = -np.broadcast_to(operator.scaling.shift, bias.shape)
    multiplier = np.broadcast_to(operator.scaling.multiplier, bias.shape)
    if operator.scaling.wide:
        factors = np.left_shift(narrow_multiplier(multiplier), _WIDE_PLACES - right)
        columns = np.stack([bias, factors]).astype(np.int32)
        if in_lanes(schedule):
            columns = columns.reshape(2, -1, 4).transpose(1, 0, 2)
            return np.ascontiguousarray(columns)
        return np.ascontiguousarray(columns.T)
    if in_lanes(schedule):
        lanes = np.stack([bias, multiplier, right]).reshape(3, -1, 4).astype(np.int32)
        return np.ascontiguousarray(lanes.transpose(1, 0, 2))
    return np.stack([bias, multiplier, 1 << (right - 1), right], axis=1).astype(np.int32)
