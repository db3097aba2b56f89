"""The best of several schemes beside a recipe."""

from __future__ import annotations

import numpy as np

from benchmarks.witnesses import best_beside
from compiler_core.quantize.accuracy import Accuracy, Estimate, Metric
from compiler_core.quantize.scheme import QuantizationScheme
from nest_tune.scheme_search.search import ScoredScheme


def test_a_recipe_is_left_where_labels_and_noise_speak_for_another():
    def candidate(correct, sqnr):
        flags = np.zeros(200, bool)
        flags[:correct] = True
        accuracy = Accuracy(200, {Metric.SQNR: Estimate(sqnr, sqnr, sqnr)}, flags)
        return ScoredScheme(QuantizationScheme(), accuracy, 0.9, 200, 1.0)

    recipe = candidate(150, 20.0)
    lucky, quiet = candidate(170, 22.9), candidate(150, 40.0)
    assert best_beside(recipe, [lucky, quiet, candidate(149, 40.0)]) is recipe
    better, best, noisier = candidate(151, 30.0), candidate(152, 23.1), candidate(152, 23.05)
    assert best_beside(recipe, [lucky, better, noisier, best, quiet]) is best
