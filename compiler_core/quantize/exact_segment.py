"""Integer operators of a segment, computed exactly with memory that does not follow their weights.

:mod:`compiler_core.quantize.exact` makes an ONNX model of operators, which holds their weights as
float32, several times over where sums are large. For convolutions that is little; the weights of a
large dense layer are most of a model. Those are multiplied here, one block of the sums at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.blocks import scaled
from compiler_core.quantize.exact import right_shifts
from compiler_core.quantize.ir import (
    IntegerConv,
    IntegerOperator,
    QuantizedTensor,
    integers_read,
)
from compiler_core.quantize.shared_sessions import NamedSession, SharedSessions

Floats = npt.NDArray[np.float32]
"""``[N, C, H, W]`` of integers."""

LARGE = 1 << 22
"""Weights of a dense layer that is multiplied here."""
_BLOCK = 1024
"""Products of int8 numbers whose sum float32 holds exactly, in any order: below ``2**24``."""


@dataclass(frozen=True, eq=False)
class _Stage:
    """Operators of one model, or one that is multiplied here."""

    operators: tuple[IntegerOperator, ...]
    session: NamedSession | None


class ExactSegment:
    """Integer operators, ready to run.

    Args:
        operators: In topological order.
        tensors: What they read and write, by name.
        outputs: Tensors to return; those that no operator writes are fed.
        sessions: Those of other segments, which may compute the same; its own by default.

    Raises:
        EncodeError: A model takes more than 2 GiB.
        RuntimeError: onnxruntime refuses the operators.
    """

    def __init__(
        self,
        operators: Sequence[IntegerOperator],
        tensors: Mapping[str, QuantizedTensor],
        outputs: Sequence[str],
        *,
        sessions: SharedSessions | None = None,
    ) -> None:
        self._outputs = tuple(outputs)
        made = sessions or SharedSessions()
        self._stages: list[_Stage] = []
        groups = list(_groups(operators, tensors))
        for number, group in enumerate(groups):
            later = {name for rest in groups[number + 1 :] for name in _reads(rest)}
            written = [operator.output for operator in group]
            wanted = tuple(name for name in written if name in later or name in self._outputs)
            read = tuple(dict.fromkeys(name for name in _reads(group) if name not in written))
            if _is_large(group[0], tensors):
                self._stages.append(_Stage(group, None))
            elif wanted:
                self._stages.append(_Stage(group, made.session(group, tensors, read, wanted)))

    def run(self, feeds: Mapping[str, Floats]) -> dict[str, Floats]:
        """The outputs by name.

        Raises:
            RuntimeError: onnxruntime refuses the inputs.
        """
        held = dict(feeds)
        for stage in self._stages:
            if stage.session is None:
                (operator,) = stage.operators
                assert isinstance(operator, IntegerConv)
                held[operator.output] = dense(
                    operator,
                    held[operator.input],
                    None if operator.residual is None else held[operator.residual],
                )
                continue
            held.update(stage.session.run(held))
        return {name: held[name] for name in self._outputs}


def _groups(
    operators: Sequence[IntegerOperator], tensors: Mapping[str, QuantizedTensor]
) -> Iterable[tuple[IntegerOperator, ...]]:
    """Runs of operators of one model, and large dense layers each for itself."""
    group: list[IntegerOperator] = []
    for operator in operators:
        if not _is_large(operator, tensors):
            group.append(operator)
            continue
        if group:
            yield tuple(group)
        yield (operator,)
        group = []
    if group:
        yield tuple(group)


def _reads(operators: Iterable[IntegerOperator]) -> list[str]:
    return [name for operator in operators for name in integers_read(operator)]


def _is_large(operator: IntegerOperator, tensors: Mapping[str, QuantizedTensor]) -> bool:
    """Whether an operator is a product of matrices with many weights."""
    if not isinstance(operator, IntegerConv) or operator.groups > 1 or any(operator.pads):
        return False
    if operator.interleave > 1:
        return False
    source, kernel = tensors[operator.input].shape, operator.weight.shape[2:]
    residual = operator.residual
    if source[1] != operator.weight.shape[1]:
        return False
    if residual is not None and tensors[residual].shape != tensors[operator.output].shape:
        return False
    every_pixel = kernel == (1, 1) and operator.strides == (1, 1)
    whole = kernel == tuple(source[2:]) and operator.dilations == (1, 1)
    return operator.weight.size >= LARGE and (every_pixel or whole)


def dense(operator: IntegerConv, source: Floats, residual: Floats | None) -> Floats:
    """A convolution that is a product of matrices: one pixel out, or every pixel for itself.

    Args:
        operator: Without padding and groups.
        source: Its input, integers within int8.
        residual: The same of its residual, where it has one.

    Returns:
        ``float32[N, O, H, W]`` of the integers that
        :class:`~compiler_core.quantize.ir.IntegerConv` defines.
    """
    weight = operator.weight.reshape(len(operator.weight), -1)
    shape = (len(source), len(weight), 1, 1)
    rows = source.reshape(len(source), -1)
    if operator.weight.shape[2:] == (1, 1):
        shape = (len(source), len(weight), *source.shape[2:])
        rows = source.transpose(0, 2, 3, 1).reshape(-1, source.shape[1])
    shifts = right_shifts(operator)
    half = np.where(shifts > 0, 1 << np.maximum(shifts - 1, 0), 0)
    total = np.tile((operator.bias.astype(np.int64) + half).astype(np.float64), (len(rows), 1))
    for start in range(0, weight.shape[1], _BLOCK):
        block = weight[:, start : start + _BLOCK].astype(np.float32)
        total += rows[:, start : start + _BLOCK] @ block.T
    if residual is not None:
        aligned = residual.transpose(0, 2, 3, 1).reshape(total.shape).astype(np.float64)
        total += aligned * 2.0**operator.residual_shift
    levels = np.clip(np.floor(scaled(total, -shifts)), operator.clip_min, operator.clip_max).astype(
        np.float32
    )
    moved = levels.reshape(shape[0], *shape[2:], shape[1]).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(moved)
