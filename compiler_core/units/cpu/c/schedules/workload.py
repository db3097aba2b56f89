"""Workloads of kernels that have schedules: convolutions and dense layers in integers.

Of an operator a workload keeps what its cost follows from: sizes and number formats. Weights,
scales and zero points do not matter, so that equal layers of any network are one task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from compiler_core.errors import InputError
from compiler_core.files.plain import ONLY_WHERE_OTHER
from compiler_core.tensor.digest import digest
from compiler_core.units.cpu.c.arithmetic.weighted import Sliding, WeightedRequantization
from compiler_core.units.cpu.c.network import Network, Operator, Type, Value
from compiler_core.units.cpu.c.operators.weighted import Convolution, Dense, Int8s, MatrixProduct
from compiler_core.units.cpu.c.schedules.schedule import MOST_DEPTH, refusal
from compiler_core.units.cpu.c.schedules.shapes import product_sizes, shape_of

_EXTENT_MAX = 1 << 20
_ELEMENTS_MAX = 1 << 24
"""Of a tensor whose program can be built and emulated in sensible time."""
_MACS_MAX = 1 << 32
_CUT, _ZERO = -20, 3
"""Of limits that are not the type's and zero points of inputs that have one; of results."""

FROM_ZERO = " from zero"
CLAMPS = ("", "below", "both", f"below{FROM_ZERO}", f"both{FROM_ZERO}")
"""Of results: by a saturation to the type alone; else ``below``, at more than the type's least, and
maybe above. That 0 is the least is told: it takes fewer instructions."""

Pair = tuple[int, int]


@dataclass(frozen=True)
class KernelFormats:
    """Number formats of a layer.

    Attributes:
        weight_bits: 8 or 4.
        activation_bits: 8 or 16.
        offset: Whether the input has a zero point other than 0.
        other_offset: Whether the second input has one.
        clamp: What is done beside a saturation: see :data:`CLAMPS`.
    """

    weight_bits: int = 8
    activation_bits: int = 8
    offset: bool = False
    clamp: str = field(default="", metadata={ONLY_WHERE_OTHER: True})
    other_offset: bool = field(default=False, metadata={ONLY_WHERE_OTHER: True})

    @property
    def text(self) -> str:
        """What is unusual, behind a comma."""
        told = [
            f"{self.weight_bits}-bit weights" if self.weight_bits != 8 else "",
            f"{self.activation_bits}-bit activations" if self.activation_bits != 8 else "",
            f"clamped {self.clamp}" if self.clamp else "",
        ]
        return "".join(f", {part}" for part in told if part)


@dataclass(frozen=True)
class ConvolutionKernel:
    """A convolution ``[N, H, W, C]`` to ``[N, *result, outputs]``; pairs are rows and columns.

    Attributes:
        pad: Before the first row and column.
        depthwise: Every channel for itself; ``outputs`` are as many.
    """

    samples: int
    height: int
    width: int
    channels: int
    outputs: int
    kernel: Pair
    stride: Pair
    dilation: Pair
    pad: Pair
    result: Pair
    depthwise: bool
    numbers: KernelFormats

    @property
    def operator(self) -> str:
        """The field's name."""
        return "depthwise_conv2d" if self.depthwise else "conv2d"

    @property
    def digest(self) -> str:
        """16 hex digits: equal workloads have equal ones."""
        return digest(self)

    @property
    def depth(self) -> int:
        """Products of one sum."""
        return prod(self.kernel) * (1 if self.depthwise else self.channels)

    @property
    def positions(self) -> int:
        """Pixels of the result."""
        return self.samples * prod(self.result)

    @property
    def macs(self) -> int:
        """Multiply-accumulates, those with the padding included."""
        return self.positions * self.outputs * self.depth

    @property
    def inner_macs(self) -> int:
        """Multiply-accumulates without the padding."""
        axes = zip(
            (self.height, self.width),
            self.kernel,
            self.stride,
            self.dilation,
            self.pad,
            self.result,
            strict=True,
        )
        taps = [
            sum(0 <= at * s - p + k * d < size for at in range(out) for k in range(n))
            for size, n, s, d, p, out in axes
        ]
        own = 1 if self.depthwise else self.channels
        return int(self.samples * prod(taps) * own * self.outputs)

    @property
    def shape(self) -> str:
        """Extents in one line."""
        sizes = (self.samples, self.height, self.width, self.channels)
        text = f"{'x'.join(map(str, sizes))} -> {'x'.join(map(str, self.result))}x{self.outputs}"
        text += f", kernel {'x'.join(map(str, self.kernel))}"
        text += f", stride {'x'.join(map(str, self.stride))}" if self.stride != (1, 1) else ""
        text += f", dilation {'x'.join(map(str, self.dilation))}" if self.dilation != (1, 1) else ""
        return text + self.numbers.text


class _UnpaddedKernel(ABC):
    """What products of matrices have in common."""

    @property
    @abstractmethod
    def macs(self) -> int:
        """Multiply-accumulates."""

    @property
    def digest(self) -> str:
        """16 hex digits: equal workloads have equal ones."""
        return digest(self)

    @property
    def depthwise(self) -> bool:
        """It never is."""
        return False

    @property
    def inner_macs(self) -> int:
        """The same: nothing is padded."""
        return self.macs


@dataclass(frozen=True)
class DenseKernel(_UnpaddedKernel):
    """A dense layer ``[rows, inputs]`` to ``[rows, outputs]``."""

    rows: int
    inputs: int
    outputs: int
    numbers: KernelFormats

    @property
    def operator(self) -> str:
        """The field's name."""
        return "dense"

    @property
    def depth(self) -> int:
        """Products of one sum."""
        return self.inputs

    @property
    def positions(self) -> int:
        """Rows of the result."""
        return self.rows

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.rows * self.inputs * self.outputs

    @property
    def shape(self) -> str:
        """Extents in one line."""
        return f"{self.rows}x{self.inputs} -> {self.rows}x{self.outputs}{self.numbers.text}"


@dataclass(frozen=True)
class ProductKernel(_UnpaddedKernel):
    """A product of two activations, ``[batch, rows, inner]`` by ``[batch, inner, columns]``."""

    batch: int
    rows: int
    inner: int
    columns: int
    numbers: KernelFormats

    @property
    def operator(self) -> str:
        """The field's name."""
        return "matmul"

    @property
    def depth(self) -> int:
        """Products of one sum."""
        return self.inner

    @property
    def outputs(self) -> int:
        """Columns of the result: what blocks of outputs are of."""
        return self.columns

    @property
    def positions(self) -> int:
        """Rows of the result."""
        return self.batch * self.rows

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.positions * self.inner * self.columns

    @property
    def shape(self) -> str:
        """Extents in one line."""
        sizes = f"{self.rows}x{self.inner} by {self.inner}x{self.columns}"
        return (f"{self.batch} of " if self.batch > 1 else "") + sizes + self.numbers.text


KernelWorkload = ConvolutionKernel | DenseKernel | ProductKernel


def workload_of(network: Network, operator: Operator) -> KernelWorkload | None:
    """The workload of an operator; ``None`` where plain loops alone are legal."""
    if isinstance(operator, MatrixProduct):
        return _product_of(network, operator)
    if not isinstance(operator, Convolution | Dense):
        return None
    if refusal(replace(operator, bits=8)) is not None:
        return None
    source = network.values[operator.inputs[0]]
    bits = {"int8": 8, "int16": 16}.get(source.type.dtype)
    if bits is None or network.values[operator.output].type.dtype != source.type.dtype:
        return None
    clamp = _clamp(operator.scaling, source.type)
    s = shape_of(operator, source)
    numbers = KernelFormats(operator.bits, bits, operator.offset != 0, clamp)
    if isinstance(operator, Dense):
        return DenseKernel(s.output[1], s.depth, s.outputs, numbers)
    return ConvolutionKernel(
        *s.sizes,
        s.outputs,
        s.kernel,
        s.stride,
        s.dilation,
        s.pad,
        s.output,
        operator.depthwise,
        numbers,
    )


def _product_of(network: Network, operator: MatrixProduct) -> ProductKernel | None:
    first, second = (network.values[name] for name in operator.inputs)
    is_held = any(name in network.constants for name in operator.inputs)
    if refusal(operator) is not None or is_held or operator.inputs[0] == operator.inputs[1]:
        return None
    a, b = (offset != 0 for offset in operator.offsets)
    numbers = KernelFormats(8, 8, a, _clamp(operator.scaling, first.type), b)
    return ProductKernel(*product_sizes(first, second), numbers)


def _clamp(scaling: WeightedRequantization, kind: Type) -> str:
    """Of :data:`CLAMPS`."""
    least, greatest = kind.limits
    ends = FROM_ZERO if scaling.low == 0 else ""
    if scaling.high != greatest:
        return f"both{ends}"
    return "" if scaling.low == least else f"below{ends}"


def network_of(workload: KernelWorkload) -> Network:
    """A network of one operator that costs what a workload does."""
    numbers = workload.numbers
    wide = numbers.activation_bits == 16
    kind = Type("int16" if wide else "int8", 1.0, 0)
    low, high = kind.limits
    if numbers.clamp:
        low = 0 if numbers.clamp.endswith(FROM_ZERO) else _CUT
        high += _CUT if numbers.clamp.startswith("both") else 0
    zero = 0 if wide else _ZERO
    scaling = WeightedRequantization(
        np.full(workload.outputs, 1 << 30, np.int64),
        np.full(workload.outputs, -8, np.int64),
        zero,
        low,
        high,
        wide,
    )
    if isinstance(workload, ProductKernel):
        return _product_network(workload, kind, (low, high))
    offset, bias = -_CUT * numbers.offset, np.zeros(workload.outputs, np.int64)
    if isinstance(workload, DenseKernel):
        shapes: tuple[tuple[int, ...], ...] = (
            (workload.rows, workload.inputs),
            (workload.rows, workload.outputs),
        )
        weights = _weights((workload.outputs, workload.inputs), numbers.weight_bits)
        operator: Convolution | Dense = Dense(
            "operator", ("v0",), "v1", weights, bias, offset, scaling, numbers.weight_bits
        )
    else:
        w = workload
        shapes = (
            (w.samples, w.height, w.width, w.channels),
            (w.samples, *w.result, w.outputs),
        )
        own, groups = (1, w.channels) if w.depthwise else (w.channels, 1)
        weights = _weights((w.outputs, *w.kernel, own), numbers.weight_bits)
        sliding = Sliding(w.kernel, w.stride, w.dilation, w.pad, w.result)
        operator = Convolution(
            "operator",
            ("v0",),
            "v1",
            weights,
            bias,
            sliding,
            groups,
            offset,
            scaling,
            numbers.weight_bits,
        )
    values = {name: Value(name, "", s, kind) for name, s in zip(("v0", "v1"), shapes, strict=True)}
    axes = {name: tuple(range(len(value.shape))) for name, value in values.items()}
    return Network("operator", values, ("v0",), ("v1",), ("v0", "v1"), axes, (operator,), {})


def _product_network(workload: ProductKernel, kind: Type, ends: tuple[int, int]) -> Network:
    w, numbers = workload, workload.numbers
    scaling = WeightedRequantization(np.array(1 << 30), np.array(-8), _ZERO, *ends)
    offsets = (-_CUT * numbers.offset, -_CUT * numbers.other_offset)
    operator = MatrixProduct("operator", ("v0", "v1"), "v2", offsets, scaling)
    sizes = (w.rows, w.inner), (w.inner, w.columns), (w.rows, w.columns)
    values = {f"v{i}": Value(f"v{i}", "", (w.batch, *s), kind) for i, s in enumerate(sizes)}
    axes = dict.fromkeys(values, (0, 1, 2))
    names = ("v0", "v1", "v2")
    return Network("operator", values, names[:2], names[2:], names, axes, (operator,), {})


def _weights(shape: tuple[int, ...], bits: int) -> Int8s:
    most = 2 ** (bits - 1) - 1
    numbers = (np.arange(prod(shape)) % (2 * most + 1) - most).astype(np.int8)
    return np.asarray(numbers.reshape(shape))


def check_workload(workload: KernelWorkload, where: str, *, bounded: bool) -> KernelWorkload:
    """Refuses a workload that cannot be, or, of files of others, one that takes too long.

    Raises:
        InputError: See above.
    """
    numbers = workload.numbers
    if numbers.weight_bits not in (4, 8) or numbers.activation_bits not in (8, 16):
        raise InputError(f"{where}: numbers of {numbers}: weights have 4 or 8 bits, others 8 or 16")
    if numbers.clamp not in CLAMPS:
        known = ", ".join(map(repr, CLAMPS))
        raise InputError(f"{where}: clamp {numbers.clamp!r}; known are {known}")
    if isinstance(workload, DenseKernel):
        extents = [workload.rows, workload.inputs, workload.outputs]
        sizes = [extents[0] * extents[1], extents[1] * extents[2], extents[0] * extents[2]]
    elif isinstance(workload, ProductKernel):
        extents = [workload.batch, workload.rows, workload.inner, workload.columns]
        batch, rows, inner, columns = extents
        sizes = [batch * rows * inner, batch * inner * columns, batch * rows * columns]
        if inner > MOST_DEPTH:
            raise InputError(f"{where}: sums of {inner} products; at most {MOST_DEPTH} fit 30 bits")
    else:
        w = workload
        extents = [w.samples, w.height, w.width, w.channels, w.outputs, *w.kernel, *w.stride]
        extents += [*w.dilation, *w.result]
        own = 1 if w.depthwise else w.channels
        sizes = [w.samples * w.height * w.width * w.channels, w.outputs * prod(w.kernel) * own]
        sizes.append(w.positions * w.outputs)
        if not all(0 <= pad <= _EXTENT_MAX for pad in w.pad):
            raise InputError(f"{where}: padding {w.pad} is not within 0 to {_EXTENT_MAX}")
        if w.depthwise and w.outputs != w.channels:
            raise InputError(
                f"{where}: {w.outputs} outputs of {w.channels} channels; "
                "a depthwise kernel has as many outputs as channels"
            )
    if min(extents) < 1 or max(extents) > _EXTENT_MAX:
        raise InputError(f"{where}: extents {extents}: one is not within 1 to {_EXTENT_MAX}")
    if bounded and (max(sizes) > _ELEMENTS_MAX or workload.macs > _MACS_MAX):
        raise InputError(
            f"{where}: {max(sizes)} elements, {workload.macs} products; at most {_ELEMENTS_MAX} "
            f"and {_MACS_MAX} are searched"
        )
    return workload
