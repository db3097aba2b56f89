"""The order in which configurations are worth trying, by what other models' measurements say.

A configuration's cost on a source model is the logarithm of its rank there: what is hoped for is
few trials, and the place in a good order is a number of trials. The order to be followed is that of
the mean over the sources, the geometric mean of ranks. Ranks need no common scale of accuracies,
and being third instead of first costs more than being thirtieth instead of tenth.

Models have seldom measured the same configurations. What one has not measured is judged by what the
values of its knobs cost there: the mean and one effect for each value, added up, by least squares
with as much weight on no effect as one measurement has.
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
            has to hold all candidates: effects of values of the knobs stand in.
        ties: Of equals the least comes first; their own order without.
    """
    ranks = [log_ranks(candidates, source) for source in sources if source]
    cost = np.mean(ranks, axis=0) if ranks else np.zeros(len(candidates))
    missing = [sum(c not in source for source in sources) for c in candidates]
    # Rounded, so that means of equal ranks are equal; of those, stand-ins come last.
    last = np.asarray(ties if len(ties) else range(len(candidates)))
    return [int(n) for n in np.lexsort((last, np.array(missing), np.round(cost, 9)))]


def log_ranks(candidates: Sequence[C], source: Mapping[C, float]) -> Floats:
    """ln of the rank of each candidate among a source's configurations, 0 for the best; estimated
    where the source does not hold it.

    Args:
        candidates: What is to be ranked.
        source: Values of a model's configurations, larger is better.
    """
    values = np.array(list(source.values()), np.float64)
    above = (values[None, :] > values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    logs = np.log(above + (equal + 1) / 2)
    known = dict(zip(source, logs.tolist(), strict=True))
    missing = [c for c in candidates if c not in known]
    if missing:
        known |= dict(zip(missing, _by_effects(missing, list(source), logs), strict=True))
    return np.array([known[c] for c in candidates])


def _by_effects(missing: Sequence[C], measured: Sequence[C], costs: Floats) -> list[float]:
    """Costs of configurations by those of measured ones, knob by knob; values that none of these
    has count as none."""
    seen = {pair: None for config in measured for pair in enumerate(config)}
    column = {pair: number for number, pair in enumerate(seen)}

    def marks(configs: Sequence[C]) -> Floats:
        found = np.zeros((len(configs), len(column)))
        for row, config in enumerate(configs):
            found[row, [column[pair] for pair in enumerate(config) if pair in column]] = 1
        return found

    held, mean = marks(measured), float(costs.mean())
    effects = np.linalg.solve(held.T @ held + np.eye(len(column)), held.T @ (costs - mean))
    return [float(cost) for cost in mean + marks(missing) @ effects]
