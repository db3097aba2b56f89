"""What a report says of the quantization of a compiled model: how each operator computes, and its
error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.compile.compile import CompiledModel
from compiler_core.graph.sampling import runs
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.ir import IntegerConv, IntegerSegment
from compiler_core.quantize.reference import ReferenceExecutor

SQNR_SAMPLES = 16
"""Samples that the error of each layer is measured on."""


@dataclass(frozen=True)
class QuantizedRow:
    """How one operator computes.

    Attributes:
        name: Of the operator.
        output: Tensor.
        exponent: ``real = integer * 2**-exponent``.
        weight_shape: Empty for operators without weights.
        shifts: Smallest and largest right shift of the accumulator; ``None`` without weights.
        channels: Whether the shift differs by channel.
        bias_bits: Bits of the largest bias.
        sqnr_db: Of the output against the float model, on all samples together, with the errors of
            the layers before it; ``None`` where it was not measured.
    """

    name: str
    output: str
    exponent: int
    weight_shape: tuple[int, ...]
    shifts: tuple[int, int] | None
    channels: bool
    bias_bits: int
    sqnr_db: float | None


def quantized_rows(
    compiled: CompiledModel, samples: Mapping[str, npt.NDArray[Any]] | None
) -> tuple[QuantizedRow, ...]:
    """Every integer operator, with its error on ``samples`` where there are any."""
    quantized = compiled.source.quantized
    errors = {} if samples is None else layer_sqnr_db(compiled, samples)
    rows = []
    for part in quantized.segments:
        for operator in part.operators if isinstance(part, IntegerSegment) else ():
            exponent = quantized.tensors[operator.output].exponent
            shape: tuple[int, ...] = ()
            shifts, channels, bias = None, False, 0
            if isinstance(operator, IntegerConv):
                shape = tuple(operator.weight.shape)
                shifts = operator.shift, operator.shift
                if operator.channel_shifts is not None:
                    shifts = int(operator.channel_shifts.min()), int(operator.channel_shifts.max())
                    channels = shifts[0] != shifts[1]
                bias = int(np.abs(operator.bias.astype(np.int64)).max(initial=0)).bit_length() + 1
            error = errors.get(operator.output)
            rows.append(
                QuantizedRow(
                    operator.name, operator.output, exponent, shape, shifts, channels, bias, error
                )
            )
    return tuple(rows)


def layer_sqnr_db(
    compiled: CompiledModel, samples: Mapping[str, npt.NDArray[Any]]
) -> dict[str, float]:
    """Signal to quantization noise of int8 tensors against the float model's tensors.

    Tensors whose layout differs from the float one, and those that are exact, are left out.

    Args:
        compiled: The integer reference of its graph is run.
        samples: Inputs of the model.
    """
    quantized = compiled.source.quantized
    graph = quantized.source
    integers = ReferenceExecutor(quantized).run_integer(samples).tensors
    produced = {name for node in graph.nodes for name in node.outputs if name}
    names = [name for name in integers if name in produced]
    if not names:
        return {}
    session = FloatSession(graph, names)
    results = [session.run(feeds) for feeds in runs(graph, samples)]
    found = {}
    for name in names:
        real = np.concatenate([np.asarray(run[name], np.float64) for run in results])
        whole = integers[name].astype(np.float64) * 2.0 ** -quantized.tensors[name].exponent
        if real.shape != whole.shape:
            view = quantized.views.get(name)
            squeezed = real.squeeze().shape == whole.squeeze().shape
            if view is not None or not squeezed:
                continue
            real = real.reshape(whole.shape)
        noise, signal = float(((real - whole) ** 2).sum()), float((real**2).sum())
        if noise > 0 and signal > 0:
            found[name] = 10 * float(np.log10(signal / noise))
    return found
