"""Power-of-two scales: from ranges to exponents that the integer operators can work with.

| symbol | meaning |
|---|---|
| ``ex``, ``ey``, ``er`` | exponents of input, output and residual: ``real = integer * 2**-e`` |
| ``ew`` | exponent of the weights; the accumulator has ``ex + ew`` |
| ``shift`` | ``ex + ew - ey``, -31..31 |
| ``residual_shift`` | ``ex + ew - er``, 0..24 |

A larger exponent is a finer scale. Where an operator's limits are not met, exponents are only ever
lowered (coarser, never clipping more), so that solving ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.views import VIEW_OPERATORS
from compiler_core.quantize.blocks import (
    Exponents,
    Reals,
    largest_magnitude,
    lost_taps,
    rounded,
    signed_sums,
)
from compiler_core.quantize.channel_exponents import (
    channel_integers,
    fitting_channel_exponents,
    least_error_channel_exponents,
)
from compiler_core.quantize.fitting import (
    EXPONENT_LIMIT,
    UnfitError,
    unbounded_exponent,
)
from compiler_core.quantize.kept_results import kept
from compiler_core.quantize.magnitudes import NO_MAGNITUDES, least_error_exponent
from compiler_core.quantize.skeleton import (
    INT8_LEVELS,
    ConcatStep,
    ConvKind,
    ConvStep,
    PoolStep,
    ProductStep,
    Shape,
    Skeleton,
    Step,
    TransposeStep,
)
from compiler_core.quantize.statistics import TensorRange

MAX_SHIFT = 31
MAX_RESIDUAL_SHIFT = 24
MAX_COPY_EXPONENT = 6
ACCUMULATOR_LIMIT = 2**31
INPUT_MAGNITUDE = 128


def fitting_exponent(absmax: float, levels: int = INT8_LEVELS) -> int:
    """The finest exponent at which magnitude ``absmax`` still rounds to at most ``levels``; 0 for
    0."""
    return max(-EXPONENT_LIMIT, min(EXPONENT_LIMIT, unbounded_exponent(absmax, levels)))


class Granularity(Enum):
    """Weights that share a scale."""

    TENSOR = "tensor"
    CHANNEL = "channel"
    """Those of one output channel, where an operator can shift channel by channel."""


class RangeChoice(Enum):
    """How a scale follows from what is known of a tensor."""

    MAX = "max"
    """The finest that clips nothing."""
    LEAST_ERROR = "least_error"
    """That with the least squared error: outliers may be clipped where that gains resolution."""


MOST_CLIPPING = 3
"""Least-error scales cut the largest magnitude to an eighth at most."""


@kept
def weight_exponent(weight: Reals, choice: RangeChoice, levels: int = INT8_LEVELS) -> int:
    """The exponent of a weight tensor that is not all zero; its integers are up to ``levels``."""
    fitting = fitting_exponent(largest_magnitude(weight), levels)
    if choice is RangeChoice.MAX:
        return fitting
    return least_error_exponent(NO_MAGNITUDES.with_values(weight), fitting, MOST_CLIPPING, levels)


@dataclass(frozen=True)
class ConvNumbers:
    """The integers of one convolution.

    Attributes:
        step: The step, with its operands swapped where an addition needs it.
        weight: ``int8[O, I / groups, kh, kw]``.
        bias: ``int32[O]``.
        shift, residual_shift: See the module.
        channel_shifts: ``int32[O]`` or ``None``; see
            :class:`~compiler_core.quantize.ir.IntegerConv`.
    """

    step: ConvStep
    weight: npt.NDArray[np.int8]
    bias: npt.NDArray[np.int32]
    shift: int
    residual_shift: int
    channel_shifts: npt.NDArray[np.int32] | None = None


@dataclass(frozen=True)
class _Lower:
    """An exponent that has to come down before the operator is possible."""

    tensor: str
    to: int


def accumulator_bound(
    weight: npt.NDArray[np.int8],
    bias: npt.NDArray[np.int64] | npt.NDArray[np.int32],
    shift: int,
    residual_shift: int | None,
) -> int:
    """The largest magnitude that an accumulator can have at any moment, shifts included.

    Args:
        weight: ``int8[O, ...]``.
        bias: ``int[O]``.
        shift: Right shift; its rounding constant counts, and a left shift scales everything.
        residual_shift: Left shift of the residual, ``None`` without one.
    """
    positive, negative = signed_sums(weight)
    sums = (positive - negative) * INPUT_MAGNITUDE
    bound = int((sums + np.abs(bias.astype(np.int64))).max(initial=0))
    if residual_shift is not None:
        bound += INPUT_MAGNITUDE << residual_shift
    if shift > 0:
        return bound + (1 << (shift - 1))
    return bound << -shift


class Solver:
    """Exponents of all tensors of a skeleton.

    Tensors that have to share one (max pools, concatenations) are one class.

    Args:
        skeleton: The operators.
        exponents: Wanted exponent per tensor; a class takes its coarsest.
        choice: For weights.
        granularity: Weights that share a scale. A convolution with a residual in its accumulator
            keeps one shift for all channels.
        means: Mean per channel of tensors; where given, the bias of a convolution takes back what
            the rounding of its weights does to the mean of its outputs.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        exponents: Mapping[str, int],
        choice: RangeChoice,
        granularity: Granularity = Granularity.TENSOR,
        means: Mapping[str, npt.NDArray[np.float64]] | None = None,
    ) -> None:
        self._skeleton = skeleton
        self._means = means or {}
        self._choice = choice
        self._granularity = granularity
        self._weight_exponents: dict[str, int] = {}
        self._channel_exponents: dict[str, npt.NDArray[np.int64]] = {}
        self._parent = {name: name for name in skeleton.shapes}
        for step in skeleton.steps:
            if isinstance(step, PoolStep | ConcatStep | TransposeStep):
                for name in step.inputs:
                    self._parent[self._root(name)] = self._root(step.output)
            elif _is_own_copy(step, skeleton.source):
                self._parent[self._root(step.inputs[0])] = self._root(step.output)
        self._exponents: dict[str, int] = {}
        for name, exponent in exponents.items():
            root = self._root(name)
            self._exponents[root] = min(exponent, self._exponents.get(root, exponent))

    def _root(self, name: str) -> str:
        while self._parent[name] != name:
            name = self._parent[name]
        return name

    def __getitem__(self, tensor: str) -> int:
        return self._exponents[self._root(tensor)]

    def shift(self, step: ProductStep) -> int:
        """Right shift of a product."""
        return self[step.input] + self[step.operand] - self[step.output]

    def solve(self) -> dict[str, ConvNumbers]:
        """The integers of every convolution by name.

        Raises:
            UnfitError: An operator's ranges are too far apart for any exponents.
        """
        numbers: dict[str, ConvNumbers] = {}
        changed = True
        while changed:
            changed = False
            for step in self._skeleton.steps:
                if isinstance(step, ProductStep):
                    changed = self._lowered_for(step) or changed
                if not isinstance(step, ConvStep):
                    continue
                found = self._conv(step)
                while isinstance(found, _Lower):
                    self._lower(found, step)
                    changed = True
                    found = self._conv(step)
                numbers[step.name] = found
        return numbers

    def _lowered_for(self, step: ProductStep) -> bool:
        """Lowers an exponent that a product cannot have; whether there was one."""
        shift = self.shift(step)
        if 0 <= shift <= MAX_SHIFT:
            return False
        name, excess = (step.output, -shift) if shift < 0 else (step.input, shift - MAX_SHIFT)
        self._lower(_Lower(name, self[name] - excess), step)
        return True

    def _lower(self, found: _Lower, step: ConvStep | ProductStep) -> None:
        if found.to < -EXPONENT_LIMIT:
            raise UnfitError(
                f"no power-of-two scales fit operator {step.name!r}: tensor "
                f"{found.tensor!r} would need 2**{-found.to}",
                step.sources,
            )
        self._exponents[self._root(found.tensor)] = found.to

    def _conv(self, step: ConvStep) -> ConvNumbers | _Lower:
        add = step.kind is ConvKind.ADD and step.residual is not None
        # What is added to many elements is no other operand of a convolution.
        add = add and self._shape(step.residual) == self._shape(step.input)
        if add and step.residual is not None and self[step.residual] > self[step.input]:
            # The finer operand goes through the weight, so the other one shifts left.
            step = replace(step, input=step.residual, residual=step.input)
        ex, ey = self[step.input], self[step.output]
        if self._per_channel(step):
            return self._channel_conv(step, ex, ey)
        er = None if step.residual is None else self[step.residual]
        exact = step.kind in (ConvKind.COPY, ConvKind.ADD)
        if exact:
            ew = 0 if er is None else min(max(er - ex, 0), MAX_COPY_EXPONENT)
        elif step.weight.any():
            if step.name not in self._weight_exponents:
                found = weight_exponent(step.weight, self._choice, step.levels)
                self._weight_exponents[step.name] = found
            ew = self._weight_exponents[step.name]
        else:
            ew = ey - ex + 8  # only the bias is left: give it eight more bits than the output
        most = min(
            MAX_SHIFT + ey - ex,
            ew if er is None else MAX_RESIDUAL_SHIFT + er - ex,
        )
        if exact and most < ew:
            return _Lower(step.input, ex - (ew - most))
        ew = min(ew, most)
        while True:
            shift = ex + ew - ey
            residual_shift = None if er is None else ex + ew - er
            if shift < -MAX_SHIFT:
                return _Lower(step.output, ex + ew + MAX_SHIFT)
            if residual_shift is not None and residual_shift < 0 and step.residual is not None:
                return _Lower(step.residual, ex + ew)
            weight = rounded(step.weight, ew, step.levels)
            bias = np.rint(np.ldexp(self._bias(step, weight, ew), ex + ew))
            if np.abs(bias).max(initial=0) < ACCUMULATOR_LIMIT:
                whole = bias.astype(np.int64)
                if accumulator_bound(weight, whole, shift, residual_shift) < ACCUMULATOR_LIMIT:
                    integers = whole.astype(np.int32)
                    return ConvNumbers(step, weight, integers, shift, residual_shift or 0)
            if shift < 0:
                return _Lower(step.output, ey - 1)
            if exact:
                return _Lower(step.input, ex - 1)
            ew -= 1

    def _shape(self, tensor: str | None) -> Shape:
        return self._skeleton.shapes[tensor or ""]

    def _per_channel(self, step: ConvStep) -> bool:
        return (
            self._granularity is Granularity.CHANNEL
            and step.kind is ConvKind.WEIGHTS
            and step.residual is None
        )

    def _bias(
        self, step: ConvStep, integers: npt.NDArray[np.int8], exponents: Exponents
    ) -> npt.NDArray[np.float64]:
        """The bias for ``integers * 2**-exponents`` in place of the step's weights."""
        means = self._means.get(step.input)
        if means is None or step.kind is not ConvKind.WEIGHTS:
            return step.bias
        taps = lost_taps(step.weight, integers, exponents)
        return step.bias + mean_change(taps, means, step.groups)

    def _channel_conv(self, step: ConvStep, ex: int, ey: int) -> ConvNumbers | _Lower:
        if step.name not in self._channel_exponents:
            self._channel_exponents[step.name] = (
                fitting_channel_exponents(step.weight, step.levels)
                if self._choice is RangeChoice.MAX
                else least_error_channel_exponents(step.weight, MOST_CLIPPING, step.levels)
            )
        wanted = self._channel_exponents[step.name]
        found = channel_integers(step, ex, ey, wanted, self._bias)
        if isinstance(found, int):
            return _Lower(step.output, found)
        weight, bias, shifts = found
        largest = int(shifts.max(initial=0))
        several = bool((shifts != largest).any())
        return ConvNumbers(step, weight, bias, largest, 0, shifts if several else None)


def _is_own_copy(step: Step, graph: Graph) -> bool:
    """Whether a step copies what the model does not know: it shares its exponent."""
    copies = isinstance(step, ConvStep) and step.kind is ConvKind.COPY
    return copies and step.output not in graph.types


def mean_change(
    taps: npt.NDArray[np.float64], means: npt.NDArray[np.float64], groups: int
) -> npt.NDArray[np.float64]:
    """What a difference of weights adds to the mean of each output channel; padding is ignored.

    Args:
        taps: ``float64[O, I / groups]``, the difference summed over each kernel.
        means: ``float64[I]`` of the input.
        groups: Of the convolution.

    Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction.
    """
    outputs, inputs = taps.shape
    grouped = taps.reshape(groups, outputs // groups, inputs)
    change: npt.NDArray[np.float64] = np.einsum(
        "goi,gi->go", grouped, means.reshape(groups, inputs)
    ).reshape(-1)
    return change


_MONOTONE = (*VIEW_OPERATORS, "Softmax", "LogSoftmax", "Sigmoid")


def score_tensors(graph: Graph) -> frozenset[str]:
    """The outputs and what they follow from without changing order: they are never clipped.

    Whoever ranks scores looks at the largest, and clipping makes the largest ones equal.
    """
    found = set(graph.outputs)
    for node in reversed(graph.nodes):
        if node.output in found and node.op in _MONOTONE and node.clip is None:
            found.add(node.inputs[0])
    return frozenset(found)


def wanted_exponents(
    skeleton: Skeleton, ranges: Mapping[str, TensorRange], choice: RangeChoice
) -> dict[str, int]:
    """The exponent of each tensor by ``choice``, without regard to its neighbours.

    Raises:
        InputError: A tensor has no range, or one that is not finite.
    """
    found = {}
    scores = score_tensors(skeleton.source)
    for name, known in calibrated_ranges(skeleton, ranges).items():
        found[name] = fitting_exponent(known.absmax)
        if name in scores:
            continue
        if choice is RangeChoice.LEAST_ERROR and known.magnitudes is not None:
            found[name] = least_error_exponent(known.magnitudes, found[name], MOST_CLIPPING)
    return found


def calibrated_ranges(
    skeleton: Skeleton, ranges: Mapping[str, TensorRange]
) -> dict[str, TensorRange]:
    """Statistics of every tensor of ``skeleton`` that has to be calibrated.

    Raises:
        InputError: A tensor has none, or some that are not finite.
    """
    found = {}
    for name in skeleton.calibrated:
        known = ranges.get(name)
        if known is None:
            raise InputError(f"tensor {name!r} has no range", hint="calibrate it")
        if not np.isfinite(known.absmax):
            raise InputError(f"tensor {name!r} has range {known.low} to {known.high}")
        found[name] = known
    return found
