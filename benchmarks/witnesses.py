"""Schemes that are better than one that is known to work: labels and noise both say so."""

from __future__ import annotations

from collections.abc import Iterable
from math import log10

from nest_tune.scheme_search.search import ScoredScheme, sqnr_db

HALF_THE_NOISE_DB = 10 * log10(2)


def best_beside(recipe: ScoredScheme, candidates: Iterable[ScoredScheme]) -> ScoredScheme:
    """The best of several candidates and a recipe that is known to work.

    Labels and noise are two witnesses that err independently, and few labels err often. So a
    candidate counts only if both speak for it: more samples are right than with the recipe, and the
    noise of the scores is at most half as strong. Of those the most accurate is taken, of equal
    ones that with the highest SQNR; where there is none, the recipe stays.

    Args:
        recipe: What to be better than.
        candidates: Evaluated on the same samples as ``recipe``.
    """
    better = [
        item
        for item in candidates
        if item.accuracy.correct.sum() > recipe.accuracy.correct.sum()
        and sqnr_db(item.accuracy) >= sqnr_db(recipe.accuracy) + HALF_THE_NOISE_DB
    ]
    return max(better, key=_quality, default=recipe)


def _quality(found: ScoredScheme) -> tuple[float, float]:
    return float(found.accuracy.correct.mean()), sqnr_db(found.accuracy)
