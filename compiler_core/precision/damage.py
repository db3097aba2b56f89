"""What each operator's number format does to the outputs of a model, alone.

Noise of small errors adds up, nearly: so the sum over operators tells which plans are worth running
whole. Where many operators round alike it says too much or too little, and the whole is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.clock.remaining import Remaining
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import choose, model_batch, runs
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.input_moments import input_moments
from compiler_core.quantize.precision_lowering import lower_precisions
from compiler_core.quantize.precisions import (
    SAME_VALUES,
    Static,
    is_fitted,
    precision_of,
    precisions_of,
)
from compiler_core.quantize.quality import measured_runs
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.names import CPU

Samples = Mapping[str, npt.NDArray[Any]]
_MOST_RUNS = 16
"""Of the model per plan."""
_MOST_FITTED = 64
"""Runs that weights are fitted to."""
_ALONE_RUNS, _FEWEST_RUNS = 1200, 3
"""Of the model for all operators alone together, and for one of them at least."""
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
        judged = measured_runs(graph, count)[:_MOST_RUNS]
        # Weights that are fitted to samples look better on those than they are.
        fitted = others(range(count // model_batch(graph)), judged)
        self._fitted = choose(graph, samples, fitted)
        self._moments: dict[str, npt.NDArray[np.float64]] = {}
        self._runs = list(runs(graph, choose(graph, samples, judged)))
        self._expected = self._run(graph, self._runs)

    def noise(self, assignment: Mapping[str, str], most_runs: int = _MOST_RUNS) -> float:
        """Noise of a plan, of the output that loses most; large where it cannot be run.

        Args:
            assignment: Place by operator.
            most_runs: Of the model; with fewer than all, nothing is fused, which takes longer to
                prepare than it saves.
        """
        if not precisions_of(assignment):
            return 0.0
        lowered = self.lowered(assignment)
        feeds = self._runs[:most_runs]
        whole = len(feeds) == len(self._runs)
        try:
            found = self._run(lowered, feeds, optimize=whole)
        except InputError:
            return _BROKEN
        share = len(feeds) / len(self._runs)
        return max(
            (
                _noise(found[n], real if whole else real[: round(len(real) * share)])
                for n, real in self._expected.items()
            ),
            default=0.0,
        )

    def lowered(self, assignment: Mapping[str, str]) -> Graph:
        """The model in the formats of a plan."""
        asked = precisions_of(assignment)
        wanted = {
            node.inputs[0]
            for node in self._graph.nodes
            if (own := asked.get(node.name)) is not None and is_fitted(own)
        }
        if missing := wanted - self._moments.keys():
            self._moments |= input_moments(self._graph, self._fitted, missing)
        moments = self._moments.__getitem__
        return lower_precisions(self._graph, asked, self._ranges, self.scheme, moments)

    def _run(
        self, graph: Graph, feeds: Sequence[Samples], *, optimize: bool = True
    ) -> dict[str, npt.NDArray[np.float64]]:
        names = [n for n in self._graph.outputs if n not in self._graph.constants]
        session = FloatSession(
            graph, names, threads=self._threads, optimize=optimize, portable=False
        )
        results = [session.run(own) for own in feeds]
        return {
            name: np.concatenate([np.asarray(r[name], np.float64).reshape(-1) for r in results])
            for name in names
            if isinstance(results[0][name], np.ndarray) and results[0][name].dtype.kind in "fiub"
        }


def others(every: Sequence[int], judged: Sequence[int]) -> list[int]:
    """The runs that weights may be fitted to: those that do not judge them, and every second that
    does where there are few others."""
    free = sorted(set(every) - set(judged))
    if len(free) < len(judged):
        return sorted({*free, *judged[::2]})
    return free[:: -(-len(free) // _MOST_FITTED)]


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
    asked = {
        (node.name, _numbers(place)): {node.name: place}
        for node in graph.nodes
        for place in places[node.name]
        if place != CPU and node.op not in SAME_VALUES
    }
    most = max(_FEWEST_RUNS, _ALONE_RUNS // max(1, len(asked)))
    progress(f"noise of {len(asked)} formats of operators, one at a time")
    known: dict[tuple[str, str], float] = {}
    remaining = Remaining(len(asked), progress)
    for key, own in asked.items():
        known[key] = meter.noise(own, most)
        remaining(len(known), "noise of")
    return {
        node.name: {
            place: known.get((node.name, _numbers(place)), 0.0) for place in places[node.name]
        }
        for node in graph.nodes
    }


def _numbers(place: str) -> str:
    """Equal for places that compute with the same numbers: signs of integers change none."""
    precision = precision_of(place)
    if not isinstance(precision, Static) or precision.activations == "uint16":
        return place
    own = precision.weights != "", precision.per_channel, precision.narrow, precision.joined
    return f"8 bits {own}"
