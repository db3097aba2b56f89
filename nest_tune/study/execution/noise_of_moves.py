"""How noisy a candidate is, and how noisy it would be with some operators elsewhere.

Everything else stays as it is: weights and biases that calibration samples decided are taken over,
so that one evaluation per move is all it takes. The integers are run by the reference, which
computes what the QDQ form says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.float_model import stacked
from compiler_core.accuracy.noise import noise
from compiler_core.accuracy.tally import chosen_samples
from compiler_core.graph.sampling import model_batch
from compiler_core.quantize.ir import IntegerConv, IntegerSegment, QuantizedGraph
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.scheme import WeightRounding
from nest_tune.study.execution.candidates import Bench
from nest_tune.study.execution.examined import ExaminedModel

Decisions = Mapping[str, Any]


class OutputNoise:
    """Measures noise of outputs on some of the samples that may be used to choose.

    Args:
        bench: With evaluation data.
        samples: How many at most.
    """

    def __init__(self, bench: ExaminedModel, samples: int) -> None:
        self._examined, self._most = bench, samples

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """Which samples, spread evenly, in whole runs of the model."""
        batch = model_batch(self._examined.model.graph)
        runs = self._examined.samples // batch
        wanted = max(1, min(runs, self._most // batch))
        starts = np.arange(wanted) * runs // wanted * batch
        return (starts[:, None] + np.arange(batch)).reshape(-1)

    @property
    def inputs(self) -> dict[str, npt.NDArray[Any]]:
        """Of these samples."""
        return {name: array[self.rows] for name, array in self._examined.data.inputs.items()}

    def of(self, ours: Mapping[str, npt.NDArray[Any]]) -> float:
        """Noise of outputs of these samples as a share of the power of what the float model says,
        of the output that loses most."""
        bench, rows = self._examined, self.rows
        theirs = chosen_samples(bench.float_outputs, bench.samples, rows)
        names = list(bench.exam.judges)
        found = (noise(ours[name], theirs[name], len(rows), name) for name in names)
        return max(float(item.noise.sum() / max(float(item.signal.sum()), 1e-30)) for item in found)

    def candidate(self, decisions: Decisions) -> float:
        """Noise of a candidate, as :meth:`of`."""
        return self.of(self._examined.outputs(decisions, self.inputs, len(self.rows)))


class NoiseMeter(OutputNoise):
    """Measures noise of candidates, and of others with their weights.

    Args:
        bench: With evaluation data.
        samples: How many at most.
    """

    def __init__(self, bench: Bench, samples: int) -> None:
        super().__init__(bench, samples)
        self._bench = bench

    def noise(self, decisions: Decisions) -> float:
        """Noise of a candidate as a share of the power of what the float model says, of the output
        that loses most."""
        return self._noise(self._bench.quantized(decisions).quantized)

    def moved(self, base: Decisions, decisions: Decisions) -> float:
        """Noise of a candidate with the weights and biases of another one wherever its integers
        have the same grid.

        Raises:
            InputError: It does not fit the model.
        """
        kept = self._bench.quantized(base).quantized
        scheme = {**decisions.get("quantization", {})}
        scheme["weight_rounding"] = WeightRounding.NEAREST.value
        changed = self._bench.quantized({**decisions, "quantization": scheme}).quantized
        return self._noise(with_weights_of(changed, kept))

    def _noise(self, quantized: QuantizedGraph) -> float:
        found = ReferenceExecutor(quantized).run(self.inputs)
        graph, names = self._bench.model.graph, list(self._bench.exam.judges)
        return self.of(stacked(graph, found, names, len(self.rows)))


def with_weights_of(changed: QuantizedGraph, kept: QuantizedGraph) -> QuantizedGraph:
    """``changed`` with the weights and biases of ``kept`` in convolutions of the same grid."""
    known = {operator.name: operator for operator in _convolutions(kept)}

    floats, others = _weights(changed), _weights(kept)

    def taken(operator: Any) -> Any:
        other = known.get(operator.name) if isinstance(operator, IntegerConv) else None
        if other is None or _grid(operator, changed) != _grid(other, kept):
            return operator
        # Where units share operators, another plan may have channels in another order.
        mine, theirs = floats.get(operator.name), others.get(operator.name)
        same = mine is theirs or (
            mine is not None and theirs is not None and np.array_equal(mine, theirs)
        )
        if not same:
            return operator
        return replace(operator, weight=other.weight, bias=other.bias)

    segments = tuple(
        replace(part, operators=tuple(map(taken, part.operators)))
        if isinstance(part, IntegerSegment)
        else part
        for part in changed.segments
    )
    return replace(changed, segments=segments)


def _weights(quantized: QuantizedGraph) -> dict[str, npt.NDArray[Any]]:
    """Constant weights by name of the node."""
    graph = quantized.source
    return {
        node.name: graph.constants[node.inputs[1]]
        for node in graph.nodes
        if len(node.inputs) > 1 and node.inputs[1] in graph.constants
    }


def _convolutions(quantized: QuantizedGraph) -> list[IntegerConv]:
    return [
        operator
        for part in quantized.segments
        if isinstance(part, IntegerSegment)
        for operator in part.operators
        if isinstance(operator, IntegerConv)
    ]


def _grid(operator: IntegerConv, quantized: QuantizedGraph) -> tuple[object, ...]:
    shifts = operator.channel_shifts
    names = [name for name in (operator.input, operator.output, operator.residual) if name]
    return (
        operator.weight.shape,
        operator.groups,
        operator.shift,
        operator.residual_shift,
        None if shifts is None else shifts.tobytes(),
        *(quantized.tensors[name].exponent for name in names),
    )
