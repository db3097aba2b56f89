"""The order in which configurations are worth trying, by what other models' measurements say.

A configuration's cost on a source model is the logarithm of its rank there: what is hoped for is
few trials, and the place in a good order is a number of trials. The order to be followed is that of
the mean over the sources, the geometric mean of ranks. Ranks need no common scale of accuracies,
and being third instead of first costs more than being thirtieth instead of tenth.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Configuration = tuple[Hashable, ...]
"""The values of the knobs."""
C = TypeVar("C", bound=Configuration)


def taught_order(
    candidates: Sequence[C],
    sources: Sequence[Mapping[C, float]],
    ties: Sequence[float] = (),
) -> list[int]:
    """Numbers of the candidates, the most promising first.

    Args:
        candidates: What may be tried, each once.
        sources: Per source model, the value of each of its configurations, larger is better. None
            has to hold all candidates: the ones that differ in the fewest knobs stand in.
        ties: Of equals the least comes first; their own order without.
    """
    ranks = [log_ranks(candidates, source) for source in sources if source]
    cost = np.mean(ranks, axis=0) if ranks else np.zeros(len(candidates))
    missing = [sum(c not in source for source in sources) for c in candidates]
    # Rounded, so that means of equal ranks are equal; of those, stand-ins come last.
    last = np.asarray(ties if len(ties) else range(len(candidates)))
    return [int(n) for n in np.lexsort((last, np.array(missing), np.round(cost, 9)))]


def log_ranks(candidates: Sequence[C], source: Mapping[C, float]) -> Floats:
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
