"""How much each decision of the outer space matters, as Optuna estimates it from the trials.

Source: Watanabe, Bansal and Hutter, "PED-ANOVA: efficiently quantifying hyperparameter importance
in arbitrary subspaces", 2023.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from nest_tune.study.request.goals import Objective
from nest_tune.study.trial import OuterTrial

FEWEST_TRIALS = 16
"""With fewer measured trials nothing is said."""


def importances(
    trials: Sequence[OuterTrial],
    parameters: Sequence[tuple[str, Sequence[object]]],
    goal: Objective,
) -> Mapping[str, float]:
    """Share of each parameter in what makes good trials good, the largest first.

    Args:
        trials: Of one study; untuned ones among tuned ones do not count.
        parameters: Name and values, in the order of the trials' points.
        goal: What good means.

    Returns:
        Shares that add up to 1; empty where the trials are too few or say nothing.
    """
    name = goal.metric.value
    measured = [t for t in trials if t.outcome.is_measured and name in t.metrics]
    # An untuned trial among tuned ones would lay the worth of tiling on other decisions.
    tuned = any(trial.tuned for trial in measured)
    used = [trial for trial in measured if trial.tuned == tuned]
    varied = [
        index for index in range(len(parameters)) if len({trial.point[index] for trial in used}) > 1
    ]
    values = {trial.metrics[name] for trial in used}
    if len(used) < FEWEST_TRIALS or not varied or len(values) < 2:
        return {}
    spread = {
        parameters[i][0]: CategoricalDistribution(tuple(range(len(parameters[i][1]))))
        for i in varied
    }
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction=goal.direction.value)
        for trial in used:
            params = {parameters[i][0]: trial.point[i] for i in varied}
            study.add_trial(
                create_trial(params=params, distributions=dict(spread), value=trial.metrics[name])
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = optuna.importance.get_param_importances(
                study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
            )
    finally:
        optuna.logging.set_verbosity(verbosity)
    total = sum(found.values())
    if not total > 0:
        return {}
    return {name: share / total for name, share in found.items() if share > 0}
