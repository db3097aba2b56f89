"""How good a quantized graph is on calibration data: output by output, beside the float graph.

No labels are needed, and no simulator: the integers are those of the reference executor, which runs
in onnxruntime and computes what the programs compute. Beside each output behind a selection stands
what the selection reads (:mod:`compiler_core.quantize.selections`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.float_model import stacked
from compiler_core.accuracy.judge import Judge, Kind, judges
from compiler_core.accuracy.noise import Noise, decibels, noise, part_arrays
from compiler_core.accuracy.tally import (
    OutputDecisions,
    Tally,
    agreement_with,
    by_sample,
    decisions,
)
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import check_samples, choose, join, model_batch, runs
from compiler_core.graph.session import FloatSession
from compiler_core.graph.work import tensor_bytes
from compiler_core.quantize.ir import FloatSegment, QuantizedGraph
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.selections import exposing, selected
from compiler_core.quantize.sensitivity import layer_macs
from compiler_core.sums import float_sum

Samples = Mapping[str, npt.NDArray[Any]]
_Array = npt.NDArray[Any]

MOST_SAMPLES = 128
"""Of more calibration samples an even subset is measured."""
_MULTIPLICATIONS = 1 << 36
"""Of one measurement, about: large models are measured on fewer samples."""
_LEAST_SAMPLES = 8
_OUTPUT_BYTES = 1 << 27
"""Outputs of all measured samples together, of which several copies are held."""
LEAST_PROBABILITY = 1 / 256
"""A step of 8 bits over all that a Sigmoid gives."""
_BLOCK = 1 << 22
_NO_VARIATION = 1e-7
"""Share of an output's power below which it counts as the same for all samples: a 3,000th of its
size, where integers of 8 bits tell 256 values apart. Networks of random weights are so."""


@dataclass(frozen=True)
class OutputQuality:
    """What became of one output.

    Attributes:
        output: Its name.
        sqnr_db: Power of the float values over that of the error.
        varying_db: The same for what differs from sample to sample, where anything does: an output
            near a large constant keeps a high SQNR when all that it says is lost.
        agreement: Share of positions with the same top class; of equal values for integers;
            ``None`` where there are neither.
        positions: That agreement was counted at.
        exact: Whether its values are integers, which only equality judges.
        samples: That it was measured on.
        before: Of an output behind a selection, what the selection reads; empty for others.
    """

    output: str
    sqnr_db: float
    varying_db: float | None
    agreement: float | None
    positions: int
    exact: bool
    samples: int
    before: tuple[OutputQuality, ...] = ()


class QualityMeter:
    """Measures quantized graphs of one float graph on the same samples; the float graph runs once.

    Args:
        graph: The float graph, simplified.
        samples: Calibration data, array per input.
        threads: Threads of onnxruntime.

    Attributes:
        runs: Numbers of the runs of the samples that are measured on.
        samples: How many samples these are.

    Raises:
        InputError: The samples do not fit the graph.
    """

    def __init__(self, graph: Graph, samples: Samples, *, threads: int = 1) -> None:
        self._graph, self._threads = graph, threads
        self._judges = judges(graph)
        self._selected = {
            name: before for name, before in selected(graph).items() if name in self._judges
        }
        shown = dict.fromkeys(name for before in self._selected.values() for name in before)
        self._shown = tuple(name for name in shown if name not in graph.outputs)
        self._judges |= judges(replace(graph, outputs=self._shown))
        whole = replace(graph, outputs=(*graph.outputs, *self._shown))
        self.runs = measured_runs(whole, check_samples(graph, samples))
        self._samples = choose(graph, samples, self.runs)
        self.samples = len(self.runs) * model_batch(graph)
        self._expected: dict[str, _Array] | None = None
        self._float_outputs: dict[str, FloatOutput] = {}

    @property
    def expected(self) -> dict[str, _Array]:
        """Computed outputs of the float graph, one run of the model at a time."""
        if self._expected is None:
            self._expected = self._run_float() if self._judges else {}
        return self._expected

    def _run_float(self) -> dict[str, _Array]:
        session = FloatSession(self._graph, list(self._judges), threads=self._threads)
        results = [session.run(feeds) for feeds in runs(self._graph, self._samples)]
        joined = {name: join([result[name] for result in results]) for name in self._judges}
        # What differs in shape from sample to sample has no values that lie beside each other, and
        # what is empty has none at all.
        return {
            name: array for name, array in joined.items() if array.dtype != object and array.size
        }

    def measure(self, quantized: QuantizedGraph) -> tuple[OutputQuality, ...]:
        """Quality of every output that something computes and that can be compared, in order.

        Raises:
            InputError: Outputs differ in shape from sample to sample, onnxruntime cannot run the
                graph, or a tensor becomes NaN where it becomes int8.
        """
        if not self.expected:
            return ()
        is_float = _is_float(quantized, self._graph)
        return self._judged(self.expected if is_float else self._found(quantized, self._samples))

    def measure_parts(
        self, parts: Sequence[tuple[QuantizedGraph, Sequence[int]]]
    ) -> tuple[OutputQuality, ...]:
        """The same of graphs that are each run on some of the samples: those of a graph stand
        beside it, as positions in :attr:`runs`; all positions in order.

        Raises:
            InputError: As :meth:`measure`.
        """
        if not self.expected:
            return ()
        found = [
            self._found(quantized, choose(self._graph, self._samples, positions))
            for quantized, positions in parts
        ]
        names = [name for name in found[0] if all(name in part for part in found)]
        return self._judged({n: np.concatenate([part[n] for part in found]) for n in names})

    def _judged(self, found: Mapping[str, _Array]) -> tuple[OutputQuality, ...]:
        names = [name for name in self.expected if name in found]
        measured = {}
        for name in names:
            if name not in self._float_outputs:
                judge, theirs = self._judges[name], self.expected[name]
                self._float_outputs[name] = FloatOutput(judge, theirs, self.samples)
            quality = self._float_outputs[name].quality(found[name])
            if quality is not None:
                measured[name] = quality
        return tuple(self._with_before(measured))

    def _found(self, quantized: QuantizedGraph, samples: Samples) -> dict[str, _Array]:
        shown = exposing(quantized, self._shown)
        executor = ReferenceExecutor(shown or quantized, threads=self._threads)
        results, count = executor.run(samples), check_samples(self._graph, samples)
        names = [name for name in self.expected if name in results]
        return dict(stacked(self._graph, results, names, count))

    def _with_before(self, measured: Mapping[str, OutputQuality]) -> Iterator[OutputQuality]:
        """The outputs with what selections before them read; that alone where an output has no
        values that could be compared, as where boxes are as many as there are objects."""
        alone: dict[str, OutputQuality] = {}
        for name in self._graph.outputs:
            names = self._selected.get(name, ())
            before = tuple(measured[name] for name in names if name in measured)
            if name not in measured:
                alone |= {item.output: item for item in before}
            elif len(before) == len(names):
                yield replace(measured[name], before=before)
            else:
                yield measured[name]
        yield from (item for name, item in alone.items() if name not in self._graph.outputs)


def measured_runs(graph: Graph, count: int) -> list[int]:
    """Numbers of the runs to measure on, evenly spread over ``count`` samples."""
    batch = model_batch(graph)
    macs = max(1, sum(layer_macs(graph).values()))
    wanted = min(MOST_SAMPLES, max(_LEAST_SAMPLES, _MULTIPLICATIONS // macs))
    most = count // batch
    held = sum(tensor_bytes(graph.types.get(name)) or 0 for name in graph.outputs)
    used = min(most, max(1, wanted // batch), max(1, _OUTPUT_BYTES // max(1, held)))
    return [number * most // used for number in range(used)]


def _is_float(quantized: QuantizedGraph, graph: Graph) -> bool:
    """Whether all that a quantized graph runs are the nodes of the float graph as they are."""
    own = {id(node) for node in graph.nodes}
    return quantized.source is graph and all(
        isinstance(segment, FloatSegment)
        and segment.number is None
        and all(id(node) in own for node in segment.graph.nodes)
        for segment in quantized.segments
    )


def output_quality(
    judge: Judge, ours: _Array, theirs: _Array, samples: int
) -> OutputQuality | None:
    """One output beside that of the float graph; ``None`` where they cannot be compared.

    Args:
        judge: What the output is.
        ours: Of the quantized graph.
        theirs: Of the float graph.
        samples: How many both are of.
    """
    return FloatOutput(judge, theirs, samples).quality(ours)


class FloatOutput:
    """An output of the float graph; what is made of it alone is made once.

    Args:
        judge: What the output is.
        values: Of all samples.
        samples: How many.
    """

    def __init__(self, judge: Judge, values: _Array, samples: int) -> None:
        # What float itself leaves infinite or NaN says nothing of quantization.
        usable = np.isfinite(values)
        self._usable = None if usable.all() else usable
        self._values = values if self._usable is None else np.where(usable, values, 0)
        self._judge, self._samples = judge, samples
        self._powers: dict[tuple[int, ...], float | None] = {}

    def quality(self, ours: _Array) -> OutputQuality | None:
        """Of the quantized graph's output; ``None`` where they cannot be compared."""
        judge, samples, exact = self._judge, self._samples, self._judge.kind is Kind.INTEGERS
        if self._usable is not None:
            if ours.shape != self._values.shape:
                return None
            ours = np.where(self._usable, ours, 0)
        try:
            lost = self._with_least(noise(ours, self._values, samples, judge.output, judge.parts))
            counted = judge.kind is not Kind.REAL
            tally = agreement_with(judge, ours, self._said, samples) if counted else None
            varying = None if exact else self._varying_db(lost)
        except InputError:
            return None
        return OutputQuality(
            output=judge.output,
            sqnr_db=lost.value,
            varying_db=varying,
            agreement=_share(tally),
            positions=0 if tally is None else tally.total,
            exact=exact,
            samples=samples,
        )

    def _with_least(self, lost: Noise) -> Noise:
        """Probabilities count as no smaller than :data:`LEAST_PROBABILITY`: where a detector sees
        nothing, all of its scores are nearly 0, and noise of their size says nothing."""
        least = {n: LEAST_PROBABILITY**2 * p.values for n, p in enumerate(lost.parts)}
        parts = tuple(
            replace(part, signal=np.maximum(part.signal, least[number]))
            if number in self._judge.probabilities
            else part
            for number, part in enumerate(lost.parts)
        )
        return replace(lost, parts=parts)

    @cached_property
    def _said(self) -> OutputDecisions:
        return decisions(self._judge, self._values, self._samples)

    def _varying_db(self, lost: Noise) -> float | None:
        """What differs from sample to sample over the noise, in dB, of the worst part whose values
        are of a size of their own; ``None`` where next to nothing differs."""
        arrays = part_arrays(self._values, self._samples, self._judge.output, self._judge.parts)
        groups = lost.part_groups if arrays else [[]]
        found = []
        for group in groups if len(groups) > 1 else [[]]:
            if tuple(group) not in self._powers:
                mine = [arrays[number].reshape(self._samples, -1) for number in group]
                whole = np.concatenate(mine, axis=1) if mine else self._values
                power = _varying_power(whole, self._samples, self._judge.output)
                self._powers[tuple(group)] = power
            power = self._powers[tuple(group)]
            noises = [lost.parts[number] for number in group] or [lost]
            total = float_sum(float(part.noise.sum()) for part in noises)
            if power is not None:
                likely = [n for n in group if n in self._judge.probabilities]
                values = sum(lost.parts[number].values for number in likely)
                least = LEAST_PROBABILITY**2 * values * self._samples
                found.append(float(decibels(max(power, least), total)))
        return min(found, default=None)


def _share(tally: Tally | None) -> float | None:
    return None if tally is None or not tally.total else tally.value


def _varying_power(theirs: _Array, samples: int, output: str) -> float | None:
    """Power of what differs from sample to sample; ``None`` where next to nothing does."""
    rows = by_sample(theirs, samples, output)[0].reshape(samples, -1)
    step = max(1, _BLOCK // max(1, samples))
    power = whole = 0.0
    for start in range(0, rows.shape[1], step):
        block = rows[:, start : start + step].astype(np.float64)
        power += float(((block - block.mean(axis=0)) ** 2).sum())
        whole += float((block**2).sum())
    enough = samples > 1 and power > _NO_VARIATION * whole
    return power if enough else None
