"""Ranges of activations over calibration data: one streaming pass.

Minimum and maximum are those of all values; magnitudes are counted for an even subset of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.magnitudes import NO_MAGNITUDES, Magnitudes

Samples = Mapping[str, npt.NDArray[np.float32]]

_BATCH = 8
_COUNTED = 1 << 16
"""Values of one tensor that are counted per batch; of larger tensors every n-th, n odd."""


@dataclass(frozen=True)
class TensorRange:
    """What is known of a tensor's values.

    Attributes:
        low, high: The smallest and the largest.
        magnitudes: How often magnitudes occur; ``None`` where nobody counted.
    """

    low: float
    high: float
    magnitudes: Magnitudes | None = None

    @property
    def absmax(self) -> float:
        """Largest magnitude."""
        return max(abs(self.low), abs(self.high))


def calibrate(
    graph: Graph, samples: Samples, tensors: Sequence[str], *, threads: int = 1
) -> dict[str, TensorRange]:
    """Run ``graph`` in float over ``samples`` and gather the range of each of ``tensors``.

    Memory does not grow with the number of samples.

    Args:
        graph: The float graph.
        samples: Array per graph input; the leading axis counts the samples.
        tensors: Tensors of the graph: inputs, intermediate ones or outputs.
        threads: Threads of onnxruntime.

    Raises:
        InputError: No samples, inputs that differ in length or do not fit the graph, or a tensor
            that becomes NaN or infinite.
    """
    count = check_samples(graph, samples)
    inputs = [name for name in tensors if name in graph.inputs]
    inner = [name for name in tensors if name not in graph.inputs]
    session = FloatSession(graph, inner, inputs=graph.inputs, threads=threads) if inner else None
    low = dict.fromkeys(tensors, np.inf)
    high = dict.fromkeys(tensors, -np.inf)
    counted = dict.fromkeys(tensors, NO_MAGNITUDES)
    # onnxruntime takes a fixed batch of more than one as it is and no multiple of it.
    step = model_batch(graph) if model_batch(graph) > 1 else _BATCH
    for start in range(0, count, step):
        feeds = {name: samples[name][start : start + step] for name in graph.inputs}
        values = {name: feeds[name] for name in inputs}
        if session is not None:
            values.update(session.run(feeds))
        for name, value in values.items():
            least, most = float(value.min()), float(value.max())
            if not (isfinite(least) and isfinite(most)):
                raise InputError(
                    f"tensor {name!r} is not finite for calibration samples {start} to "
                    f"{min(start + step, count) - 1} (minimum {least}, maximum {most})",
                    hint="remove those samples or check the model in float",
                )
            low[name], high[name] = min(low[name], least), max(high[name], most)
            step_over = value.size // _COUNTED | 1
            counted[name] = counted[name].with_values(value.reshape(-1)[::step_over])
    return {name: TensorRange(low[name], high[name], counted[name]) for name in tensors}


def model_batch(graph: Graph) -> int:
    """Samples of one run: what the model fixes, 1 where its batch axis is dynamic."""
    shape = graph.types[graph.inputs[0]].shape if graph.inputs else None
    return int(shape[0] or 1) if shape else 1


def check_samples(graph: Graph, samples: Mapping[str, npt.NDArray[np.generic]]) -> int:
    """The number of samples.

    Raises:
        InputError: None at all, a missing or surplus input, a wrong shape or type, or a number that
            is not a multiple of the model's fixed batch.
    """
    unknown = sorted(set(samples) - set(graph.inputs))
    missing = sorted(set(graph.inputs) - set(samples))
    if unknown or missing:
        raise InputError(
            f"inputs given: {', '.join(samples) or 'none'}; the model has {', '.join(graph.inputs)}"
        )
    counts = set()
    for name, array in samples.items():
        known = graph.types[name]
        expected = known.shape or ()
        if array.shape[1:] != expected[1:] or array.ndim != len(expected):
            wanted = ", ".join(["samples", *map(str, expected[1:])])
            raise InputError(f"input {name!r} has shape {array.shape}; expected ({wanted})")
        if array.dtype.name != known.dtype:
            raise InputError(f"input {name!r} is {array.dtype}; expected {known.dtype}")
        counts.add(len(array))
    batch = model_batch(graph)
    if len(counts) != 1 or 0 in counts or any(count % batch for count in counts):
        raise InputError(
            f"the inputs hold {', '.join(map(str, sorted(counts)))} samples; expected one number "
            f"for all, at least 1 and a multiple of the model's batch {batch}"
        )
    return counts.pop()
