"""The space of kernels of one operator: what is legal, and what each choice needs.

| decision | meaning |
|---|---|
| unit | what computes: ``portable`` loops, ``dsp`` (two products at a time), ``mve`` (vectors) |
| outputs | output channels that are summed side by side |
| pixels | output pixels that are summed side by side: each weight that is loaded serves all |
| unroll | groups of products in one turn of the inner loop |
| unpacked | weights of 4 bits become bytes of the arena before the first product |

A unit may be CMSIS-NN, too, built for either: what a schedule says of blocks is not read then.

All choices give the same bits: sums are exact, and the last step is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from compiler_core.files.plain import ONLY_WHERE_OTHER
from compiler_core.tensor.digest import digest
from compiler_core.units.cpu.c.network import Network, Operator
from compiler_core.units.cpu.c.operators.pointwise import Sum
from compiler_core.units.cpu.c.operators.weighted import Convolution, Dense, MatrixProduct


class KernelUnit(StrEnum):
    """What of a core computes."""

    PORTABLE = "portable"
    DSP = "dsp"
    MVE = "mve"
    LIBRARY_DSP = "cmsis-nn-dsp"
    LIBRARY_MVE = "cmsis-nn-mve"

    @property
    def is_library(self) -> bool:
        """Whether it is a call of CMSIS-NN."""
        return self in (KernelUnit.LIBRARY_DSP, KernelUnit.LIBRARY_MVE)

    @property
    def has_blocks(self) -> bool:
        """Whether outputs, pixels and unrolling say anything of it."""
        return self in (KernelUnit.DSP, KernelUnit.MVE)


UNITS: Mapping[str, tuple[KernelUnit, ...]] = {
    "cortex-m4": (KernelUnit.DSP,),
    "cortex-m7": (KernelUnit.DSP,),
    "cortex-m33": (KernelUnit.DSP,),
    "cortex-m55": (KernelUnit.MVE, KernelUnit.DSP),
}
"""Per core what it has beside plain loops, the best first."""

_BLOCKS: Mapping[KernelUnit, tuple[tuple[int, int, int], ...]] = {
    KernelUnit.DSP: (
        (2, 2, 1),
        (2, 4, 1),
        (1, 4, 2),
        (2, 2, 2),
        (4, 1, 1),
        (4, 2, 1),
        (2, 1, 2),
        (2, 1, 1),
        (1, 2, 1),
        (1, 1, 2),
    ),
    KernelUnit.MVE: (
        (4, 2, 1),
        (4, 1, 1),
        (2, 2, 1),
        (4, 1, 2),
        (2, 2, 2),
        (2, 3, 2),
        (8, 1, 1),
        (2, 1, 1),
        (1, 1, 1),
    ),
}
"""Outputs, pixels and unroll; what is tried first stands first."""

_OF_PRODUCTS: Mapping[KernelUnit, tuple[tuple[int, int, int], ...]] = {
    KernelUnit.DSP: ((2, 2, 2), (2, 2, 1), (4, 2, 1), (4, 1, 1), (8, 1, 1), (2, 1, 1), (1, 1, 1)),
    KernelUnit.MVE: ((4, 2, 1), (4, 2, 2), (4, 1, 1), (8, 1, 1), (2, 2, 1), (1, 1, 1)),
}
"""Of two activations: columns, rows and unroll."""

_OF_WINDOWS = (2, 4, 1)
"""What windows of several taps begin with on units of pairs: 5 to 15 % fewer instructions than two
pixels on Cortex-M4, where points need more."""

_DEEP, _OF_DEEP = 256, (4, 1, 2)
"""From so many products of a sum on, what vectors begin with: 10 to 20 % fewer instructions than
two pixels on Cortex-M55, whose sums do not all fit registers then."""

MOST_DEPTH = (1 << 30) // (255 * 255)
"""Products of two activations of 8 bits with zero points whose sum stays below 2^30."""

_MOST_TAPS = 25
"""Taps of a depthwise window that are written out."""

_SHIFTS, _WIDE_SHIFTS = (1, 30), (2, 18)
"""To the right, least and most: of activations of 8 bits, and of 16."""


@dataclass(frozen=True)
class KernelSchedule:
    """The decisions for one operator.

    Attributes:
        unit: What computes.
        outputs, pixels, unroll, unpacked: See the module.
    """

    unit: KernelUnit = KernelUnit.PORTABLE
    outputs: int = 1
    pixels: int = 1
    unroll: int = 1
    unpacked: bool = field(default=False, metadata={ONLY_WHERE_OTHER: True})

    @property
    def digest(self) -> str:
        """16 hex digits: equal schedules have equal ones."""
        return digest(self)


PORTABLE = KernelSchedule()


def choices(operator: Operator, core: str, rows: int = 1) -> tuple[KernelSchedule, ...]:
    """Every legal schedule of an operator on a core; the first is the default, the last portable.

    Args:
        operator: Of a network.
        core: Name of the core.
        rows: Of the input of a dense layer.
    """
    if isinstance(operator, Convolution | Dense) and operator.bits == 4:
        as_bytes = choices(replace(operator, bits=8), core, rows)
        return (*(replace(kernel, unpacked=True) for kernel in as_bytes), PORTABLE)
    found: list[KernelSchedule] = []
    for unit in UNITS.get(core, ()):
        if refusal(operator) is not None:
            continue
        if isinstance(operator, Sum):
            found += [KernelSchedule(unit, 4, 1, 1)] if unit is KernelUnit.MVE else []
            continue
        if isinstance(operator, MatrixProduct):
            found += [KernelSchedule(unit, *block) for block in _OF_PRODUCTS[unit]]
            continue
        if isinstance(operator, Convolution) and operator.depthwise:
            found.append(KernelSchedule(unit, 4, 1, 1))
            continue
        assert isinstance(operator, Convolution | Dense)
        outputs = len(operator.weights)
        blocks = _BLOCKS[unit]
        first = None
        if _is_row(operator, rows):
            blocks = tuple(sorted(blocks, key=lambda block: block[1]))
        elif unit is KernelUnit.DSP and _is_window(operator):
            first = _OF_WINDOWS
        elif unit is KernelUnit.MVE and operator.weights[0].size >= _DEEP:
            first = _OF_DEEP
        blocks = (*((first,) if first else ()), *(block for block in blocks if block != first))
        found += [KernelSchedule(unit, o, p, u) for o, p, u in blocks if outputs % o == 0]
    return (*found, PORTABLE)


def _is_row(operator: Convolution | Dense, rows: int) -> bool:
    """Whether nothing is there beside a pixel."""
    return rows == 1 if isinstance(operator, Dense) else operator.sliding.output == (1, 1)


def choices_in(network: Network, operator: Operator, core: str) -> tuple[KernelSchedule, ...]:
    """The same of an operator of a network."""
    rows = 1
    if isinstance(operator, Dense):
        rows = network.values[operator.inputs[0]].size // operator.weights.shape[1]
    return choices(operator, core, rows)


def _is_window(operator: Convolution | Dense) -> bool:
    """Whether an output reads several pixels."""
    return isinstance(operator, Convolution) and operator.sliding.kernel != (1, 1)


def refusal(operator: Operator) -> str | None:
    """Why an operator has portable loops alone; ``None`` where it has more."""
    if isinstance(operator, Sum):
        most = max(*(item.shift for item in operator.addends), operator.result.shift)
        return None if most <= 0 else "a factor is more than 1"
    if isinstance(operator, MatrixProduct):
        return _refusal_of_product(operator)
    if not isinstance(operator, Convolution | Dense):
        return f"{type(operator).__name__} has one kernel"
    if operator.bits != 8:
        return "its weights are not of 8 bits"
    shifts = np.asarray(operator.scaling.shift)
    least, most = _WIDE_SHIFTS if operator.scaling.wide else _SHIFTS
    if (shifts > -least).any() or (shifts < -most).any():
        return f"a channel is not scaled by a shift to the right of {least} to {most}"
    sums = np.abs(operator.weights.reshape(len(operator.weights), -1).astype(np.int64)).sum(axis=1)
    largest, bits = (1 << 15, 31) if operator.scaling.wide else (512, 30)
    if (np.abs(operator.bias) + largest * sums >= 1 << bits).any():
        return f"sums may exceed {bits} bits"
    if isinstance(operator, Dense):
        return None
    if operator.depthwise:
        kernel = operator.sliding.kernel
        if operator.groups != len(operator.weights) or operator.groups % 4:
            return "it is depthwise with a multiplier, or its channels are no multiple of 4"
        if kernel[0] * kernel[1] > _MOST_TAPS:
            return f"its window has more than {_MOST_TAPS} taps"
        return None
    return None if operator.groups == 1 else "its channels are in groups"


def _refusal_of_product(operator: MatrixProduct) -> str | None:
    if operator.scaling.wide:
        return "its operands have 16 bits"
    least, most = _SHIFTS
    if not least <= -int(operator.scaling.shift) <= most:
        return f"it is not scaled by a shift to the right of {least} to {most}"
    return None
