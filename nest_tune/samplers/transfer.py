"""Search of a finite table of configurations in the order that other models suggest.

A configuration's cost on a source model is the logarithm of its rank there: what is hoped for is
few trials, and the place in a good order is a number of trials. The order to be followed is that of
the weighted mean over the sources, the geometric mean of ranks. Ranks need no common scale of
accuracies, and being third instead of first costs more than being thirtieth instead of tenth.

What is measured decides which sources to believe: a source that orders two measured configurations
the wrong way round loses weight, as in the weighted majority algorithm (Littlestone, Warmuth, The
Weighted Majority Algorithm, Information and Computation, 1994).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Configuration = tuple[str, ...]

_DISTRUST = 0.7
"""What a source's weight is multiplied with when it puts a worse configuration first."""


class TransferSampler:
    """Proposes configurations one by one.

    Args:
        candidates: What may be proposed, each once: the values of the knobs, as text.
        sources: Per source model, the value of each of its configurations, larger is better. None
            has to hold all candidates: the ones that differ in the fewest knobs stand in.
        seed: Decides between equals; without sources everything is equal.
    """

    def __init__(
        self,
        candidates: Sequence[Configuration],
        sources: Sequence[Mapping[Configuration, float]],
        seed: int,
    ) -> None:
        ranks = [log_ranks(candidates, source) for source in sources if source]
        self._ranks = np.array(ranks).reshape(len(ranks), len(candidates))
        missing = [sum(c not in source for source in sources) for c in candidates]
        self._missing = np.array(missing)
        self._weights = np.ones(len(ranks))
        self._ties = np.random.default_rng([seed, 0x7A5F]).random(len(candidates))
        self._values: dict[int, float] = {}

    def propose(self) -> int | None:
        """Number of the next configuration, ``None`` when all were observed."""
        cost = self._weights @ self._ranks / max(self._weights.sum(), 1e-300)
        # Rounded, so that means of equal ranks are equal; of those, stand-ins come last.
        order = np.lexsort((self._ties, self._missing, np.round(cost, 9)))
        return next((n for n in order.tolist() if n not in self._values), None)

    def observe(self, number: int, value: float) -> None:
        """Takes in what a configuration is worth; larger is better."""
        for other, seen in self._values.items():
            if seen != value:
                better, worse = (number, other) if value > seen else (other, number)
                wrong = self._ranks[:, better] > self._ranks[:, worse]
                self._weights[wrong] *= _DISTRUST
        if len(self._weights):
            self._weights /= self._weights.max()
        self._values[number] = value


def log_ranks(candidates: Sequence[Configuration], source: Mapping[Configuration, float]) -> Floats:
    """ln of the rank of each candidate among a source's configurations, 0 for the best.

    Args:
        candidates: What is to be ranked.
        source: Values of a model's configurations, larger is better.
    """
    known = np.array(list(source), object)
    values = np.array(list(source.values()), np.float64)
    above = (values[None, :] > values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    logs = np.log(above + (equal + 1) / 2)
    found = []
    for candidate in candidates:
        differing = (known != np.array(candidate, object)).sum(axis=1)
        found.append(float(logs[differing == differing.min()].mean()))
    return np.array(found)
