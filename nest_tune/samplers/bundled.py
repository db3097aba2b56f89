"""The samplers that come along."""

from __future__ import annotations

from nest_tune.samplers.registry import SamplerKind

_OPTUNA = "nest_tune.study.proposals.optuna_proposer"
_SCHEDULES = "nest_tune.samplers.schedules"

XGB = SamplerKind(
    "xgb",
    "evolution, scored by an XGBoost model of what was measured",
    configurations="nest_tune.study.proposals.guided_proposer:make",
    schedules=f"{_SCHEDULES}.guided:GuidedSampler",
    learns=True,
)
TPE = SamplerKind(
    "tpe",
    "Optuna's tree-structured Parzen estimators",
    configurations=f"{_OPTUNA}:tpe",
    makes=True,
    schedules=f"{_SCHEDULES}.optuna_bridge:make_tpe",
)
NSGA2 = SamplerKind(
    "nsga2",
    "Optuna's genetic algorithm NSGA-II",
    configurations=f"{_OPTUNA}:nsga2",
    makes=True,
    schedules=f"{_SCHEDULES}.optuna_bridge:make_nsga2",
)
RANDOM = SamplerKind(
    "random",
    "uniformly at random, nothing twice",
    configurations=f"{_OPTUNA}:random",
    makes=True,
    schedules=f"{_SCHEDULES}.plain:RandomSampler",
)
EXHAUSTIVE = SamplerKind(
    "exhaustive",
    "all of the space, until nothing is left that could be better",
    configurations="nest_tune.study.proposals.enumeration:make",
    schedules=f"{_SCHEDULES}.exhaustive:ExhaustiveScheduleSampler",
    exhausts=True,
)
