"""Of trials that chance alone tells apart, the more faithful one.

Trials that cost the same, as far as repeats by the clock can tell, and whose accuracies differ
within chance are not told apart by the labels of few samples: the luckier one would be taken.
Agreement with the float model and the noise of the scores are two witnesses that need no labels.
Where both speak for another trial, that is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from nest_tune.study.choice.pick import FASTEST, KNEE, default_rule, pick
from nest_tune.study.proposals.evidence import trial_score, within_chance
from nest_tune.study.proposals.front import is_worse
from nest_tune.study.request.goals import Limit, Objective
from nest_tune.study.trial import OuterTrial


def chosen_of(
    front: Sequence[OuterTrial],
    trials: Sequence[OuterTrial],
    objectives: Sequence[Objective],
    limits: Sequence[Limit],
    rule: str = "",
    metric: str = "",
) -> OuterTrial | None:
    """The trial that a study hands out; ``None`` where nothing is feasible.

    Args:
        front: What a rule chooses from.
        trials: What may take the place of the chosen one.
        objectives, limits: Of the study.
        rule: As it was asked for; empty for the one that follows from the limits.
        metric: Of accuracy, by name.
    """
    found = pick(front, objectives, rule or default_rule(limits), metric)
    if found is None or rule not in ("", FASTEST, KNEE):
        return found
    return preferred(found, trials, objectives)


def preferred(
    chosen: OuterTrial, trials: Sequence[OuterTrial], objectives: Sequence[Objective]
) -> OuterTrial:
    """The trial to take in the place of one that a rule has picked.

    Args:
        chosen: The picked one.
        trials: Of the study.
        objectives: Of the study: trials that are compared are equal in all but accuracy.
    """
    score = trial_score(chosen)
    costs = [goal for goal in objectives if not goal.metric.needs_evaluation]
    if score is None and chosen.intervals:
        return _first_equal(chosen, trials, objectives)
    if score is None or not chosen.fidelity or not costs:
        return chosen
    best = chosen
    for trial in trials:
        other = trial_score(trial)
        if not trial.is_feasible or other is None or other.samples != score.samples:
            continue
        if not _are_equal(trial, chosen, costs) or not within_chance(score, other):
            continue
        if _is_more_faithful(trial, best) or _comes_first(trial, best, costs):
            best = trial
    return best


def stands_for(
    chosen: OuterTrial, front: Sequence[OuterTrial], objectives: Sequence[Objective]
) -> OuterTrial | None:
    """The trial of the front whose place the chosen one has taken; ``None`` where it is on the
    front itself, or nobody's witness speaks for it."""
    if any(trial.number == chosen.number for trial in front):
        return None
    costs = [goal for goal in objectives if not goal.metric.needs_evaluation]
    equal = [trial for trial in front if costs and _are_equal(trial, chosen, costs)]
    return next((trial for trial in equal if _is_more_faithful(chosen, trial)), None)


def _comes_first(one: OuterTrial, other: OuterTrial, costs: Sequence[Objective]) -> bool:
    """Of trials that repeats by the clock do not tell apart, and the witnesses neither."""
    if not other.intervals.keys() & {goal.metric.value for goal in costs}:
        return False
    return one.number < other.number and dict(one.fidelity) == dict(other.fidelity)


def _are_equal(one: OuterTrial, other: OuterTrial, goals: Sequence[Objective]) -> bool:
    """Whether neither is worse in anything."""
    return not any(is_worse(one, other, g) or is_worse(other, one, g) for g in goals)


def _first_equal(
    chosen: OuterTrial, trials: Sequence[OuterTrial], goals: Sequence[Objective]
) -> OuterTrial:
    """Without accuracy: of trials that repeats do not tell apart the first one, which is the
    default where that is among them."""
    known = [trial for trial in trials if trial.is_feasible and trial.settled]
    equal = [trial for trial in known if _are_equal(trial, chosen, goals)]
    return min(equal, key=lambda trial: trial.number, default=chosen)


def _is_more_faithful(one: OuterTrial, other: OuterTrial) -> bool:
    """By both witnesses, and more by one of them."""
    mine, theirs = one.fidelity, other.fidelity
    names = [name for name in ("agreement", "sqnr_db") if name in theirs]
    if any(name not in mine for name in names):
        return False
    pairs = [(mine[name], theirs[name]) for name in names]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)
