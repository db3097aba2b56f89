"""What each operator's number format does to the outputs of a model, alone.

Noise of small errors adds up, nearly: so the sum over operators tells which plans are worth running
whole. Where many operators round alike it says too much or too little, and the whole is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import choose, runs
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.input_moments import input_moments
from compiler_core.quantize.precision_lowering import lower_precisions
from compiler_core.quantize.precisions import SAME_VALUES, Rounding, WeightOnly, precisions_of
from compiler_core.quantize.quality import measured_runs
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.names import CPU

Samples = Mapping[str, npt.NDArray[Any]]
_MOST_RUNS = 16
"""Of the model per operator and format."""
_BROKEN = 10.0
"""Noise of what cannot be compared: no plan has room for it."""


class DamageMeter:
    """Noise of plans beside the float model, as a share of the outputs' power.

    Args:
        graph: The float graph, simplified.
        ranges: Statistics of its tensors.
        samples: Array per input.
        scheme: How scales follow from statistics.
        threads: Of onnxruntime.

    Raises:
        InputError: The samples do not fit the graph.
    """

    def __init__(
        self,
        graph: Graph,
        ranges: Mapping[str, TensorRange],
        samples: Samples,
        scheme: QuantizationScheme,
        *,
        threads: int = 1,
    ) -> None:
        self._graph, self._ranges, self._threads = graph, ranges, threads
        self.scheme = scheme
        count = len(next(iter(samples.values())))
        self._samples = choose(graph, samples, measured_runs(graph, count)[:_MOST_RUNS])
        self._moments: dict[str, npt.NDArray[np.float64]] = {}
        self._expected = self._run(graph)

    def noise(self, assignment: Mapping[str, str]) -> float:
        """Noise of a plan, of the output that loses most; large where it cannot be run."""
        asked = precisions_of(assignment)
        if not asked:
            return 0.0
        wanted = {
            node.inputs[0]
            for node in self._graph.nodes
            if isinstance(own := asked.get(node.name), WeightOnly) and own.rounding is Rounding.GPTQ
        }
        if missing := wanted - self._moments.keys():
            self._moments |= input_moments(self._graph, self._samples, missing)
        moments = self._moments.__getitem__
        lowered = lower_precisions(self._graph, asked, self._ranges, self.scheme, moments)
        try:
            found = self._run(lowered)
        except InputError:
            return _BROKEN
        return max((_noise(found[n], real) for n, real in self._expected.items()), default=0.0)

    def _run(self, graph: Graph) -> dict[str, npt.NDArray[np.float64]]:
        names = [n for n in self._graph.outputs if n not in self._graph.constants]
        session = FloatSession(graph, names, threads=self._threads)
        results = [session.run(feeds) for feeds in runs(self._graph, self._samples)]
        return {
            name: np.concatenate([np.asarray(r[name], np.float64).reshape(-1) for r in results])
            for name in names
            if np.asarray(results[0][name]).dtype.kind in "fiub"
        }


def _noise(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> float:
    if ours.shape != theirs.shape:
        return _BROKEN
    usable = np.isfinite(theirs)
    if not np.isfinite(ours[usable]).all():
        return _BROKEN
    power = float((theirs[usable] ** 2).sum())
    lost = float(((ours[usable] - theirs[usable]) ** 2).sum())
    return min(_BROKEN, lost / max(power, 1e-30))


def damages(
    graph: Graph,
    places: Mapping[str, Sequence[str]],
    meter: DamageMeter,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, float]]:
    """Noise of each operator at each of its places, everything else in float.

    Args:
        graph: The model.
        places: Of each operator; those that only move values add nothing of their own.
        meter: What measures.
        progress: Told how many are done.
    """
    total = sum(len(own) - 1 for own in places.values())
    progress(f"noise of {total} formats of operators, one at a time")
    found: dict[str, dict[str, float]] = {}
    for node in graph.nodes:
        found[node.name] = {CPU: 0.0}
        for place in places[node.name]:
            if place != CPU:
                moves = node.op in SAME_VALUES
                found[node.name][place] = 0.0 if moves else meter.noise({node.name: place})
    return found
