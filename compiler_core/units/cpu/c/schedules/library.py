"""What CMSIS-NN computes with the bits of our operators, on which core, and with which buffers.

What it is known to get wrong is left out: 4-bit depthwise kernels on Helium (a compiler mistakes a
constant there), those with odd numbers of channels, and windows of one row on Helium.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compiler_core.units.cpu.c.network import Network, Operator, Value
from compiler_core.units.cpu.c.operators.pointwise import Pool, Product, Softmax, Sum
from compiler_core.units.cpu.c.operators.weighted import Convolution, Dense
from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule, KernelUnit
from compiler_core.units.cpu.c.schedules.shapes import KernelShape, shape_of

_EXTENT_MAX = 1 << 15
"""The library holds extents in 16 bits."""

_EQUAL_MAX = 512
"""Equal elements of a Softmax from which on their sum has fewer than four bits before it."""

_HELIUM_CHANNELS = 124
_ALWAYS = 16
"""Bytes that a buffer has at least, so that it is never none."""


def library_kernels(network: Network, operator: Operator, core: str) -> tuple[KernelSchedule, ...]:
    """The kernel of the library for an operator on a core; none where it has no such bits."""
    unit = LIBRARY_UNITS.get(core)
    if unit is None or not _runs(network, operator, unit):
        return ()
    return (KernelSchedule(unit),)


LIBRARY_UNITS: Mapping[str, KernelUnit] = {
    "cortex-m4": KernelUnit.LIBRARY_DSP,
    "cortex-m7": KernelUnit.LIBRARY_DSP,
    "cortex-m33": KernelUnit.LIBRARY_DSP,
    "cortex-m55": KernelUnit.LIBRARY_MVE,
}
"""What the library is built with, by core."""


def _runs(network: Network, operator: Operator, unit: KernelUnit) -> bool:
    names = (*operator.inputs, operator.output)
    if any(network.values[name].type.dtype != "int8" for name in names):
        return False
    if isinstance(operator, Convolution | Dense):
        source = network.values[operator.inputs[0]]
        return _sums_fit(operator) and _runs_weighted(operator, source, unit)
    if isinstance(operator, Sum):
        shifts = [*(item.shift for item in operator.addends), operator.result.shift]
        return not operator.subtract and max(shifts) <= 0 and _is_flat(network, operator)
    if isinstance(operator, Product):
        return operator.result.shift <= 0 and _is_flat(network, operator)
    if isinstance(operator, Softmax):
        # Its shift by what the sum leaves over is wrong from 32 bits on.
        return operator.sizes[2] == 1 and (operator.wide or operator.sizes[1] < _EQUAL_MAX)
    return isinstance(operator, Pool) and operator.sliding.dilation == (1, 1)


def _is_flat(network: Network, operator: Operator) -> bool:
    names = (*operator.inputs, operator.output)
    return len({network.values[name].shape for name in names}) == 1


def _sums_fit(operator: Convolution | Dense) -> bool:
    """Whether no sum leaves 32 bits, and every factor is a shift to the right."""
    if operator.scaling.wide:
        return False
    shifts = np.asarray(operator.scaling.shift)
    if (shifts > 0).any() or (shifts < -31).any():
        return False
    weights = operator.weights.reshape(len(operator.weights), -1).astype(np.int64)
    most = np.abs(operator.bias) + 512 * np.abs(weights).sum(axis=1)
    return bool((most < 1 << 31).all())


def _runs_weighted(operator: Convolution | Dense, source: Value, unit: KernelUnit) -> bool:
    shape, helium = shape_of(operator, source), unit is KernelUnit.LIBRARY_MVE
    if max(*shape.sizes, *shape.output, shape.outputs, *shape.kernel) >= _EXTENT_MAX:
        return False
    if isinstance(operator, Dense):
        return True
    if helium and shape.sizes[1] == 1 and shape.kernel != (1, 1):
        return False
    if operator.groups == 1:
        return True
    if not operator.depthwise:
        return False
    return operator.bits == 8 or (not helium and operator.groups % 2 == 0)


def library_scratch(operator: Operator, source: Value, unit: KernelUnit) -> int:
    """Bytes of the buffer that a call needs: on its core, and in plain C on this machine."""
    if isinstance(operator, Pool):
        return source.shape[-1] * 4 if operator.mean else 0
    if not isinstance(operator, Convolution | Dense):
        return 0
    if isinstance(operator, Dense) and operator.bits == 8:
        return 0
    shape, helium = shape_of(operator, source), unit is KernelUnit.LIBRARY_MVE
    if isinstance(operator, Convolution) and operator.depthwise:
        return max(_ALWAYS, _of_depthwise(shape, operator.bits, helium=helium))
    plain = 4 * (-(-shape.depth // 4) * 4)
    vectors = 64 * (-(-shape.depth // 16)) if helium else 0
    return max(_ALWAYS, plain, vectors)


def _of_depthwise(shape: KernelShape, bits: int, *, helium: bool) -> int:
    taps = shape.kernel[0] * shape.kernel[1]
    same = shape.sizes[3] == shape.outputs and shape.sizes[0] == 1 and shape.dilation == (1, 1)
    if not same:
        return 0
    plain = 2 * shape.sizes[3] * taps
    if helium:
        return max(4 * _HELIUM_CHANNELS * taps, plain if bits == 4 else 0)
    three = shape.kernel == (3, 3) and max(shape.pad) <= 1
    return 0 if three and bits == 8 else plain
