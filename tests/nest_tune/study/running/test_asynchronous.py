"""Asynchronous studies: what a proposal saw is kept, so that they go on and can be repeated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nest_tune.study.running.sight import SAW, Asynchronous, Repeated, Windowed
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.trial import Outcome, OuterTrial, Proposal
from tests.nest_tune.study.running.test_engine import BrokenOff, after
from tests.nest_tune.trials_digest import trials_digest


def seen_by(trials: Any) -> list[int]:
    """All that proposals saw, in its order; each result is seen first by one proposal."""
    return [number for trial in trials for number in trial.attributes[SAW]]


def test_proposals_see_what_has_finished_and_a_replay_sees_the_same(studies: Any) -> None:
    settings = studies.settings(asynchronous=True, window=3, tiling=True, partition=False, trials=6)
    first = studies.run(settings, seed=3)
    order = seen_by(first.trials)
    assert len(set(order)) == len(order)
    assert order != list(range(len(order)))
    for trial in first.trials[1:]:
        known = seen_by(first.trials[: trial.number + 1])
        assert trial.number - len(known) <= 3
    again = studies.run(replace(settings, name="again", runner="replay"))
    assert trials_digest(again.trials) == trials_digest(first.trials)
    owners = {name: task.trial for name, task in first.tasks.items()}
    assert {name: task.trial for name, task in again.tasks.items()} == owners


@pytest.mark.parametrize("calls", [9, 17])
def test_a_broken_off_one_goes_on_from_what_it_saw(studies: Any, calls: int) -> None:
    settings = studies.settings(asynchronous=True, window=4, trials=10)
    with pytest.raises(BrokenOff):
        studies.run(settings, seed=3, hurdle=after(calls))
    storage = StudyStorage(settings.storage)
    study = storage.find(settings.name)
    before = {trial.number: trial for trial in storage.trials(study)}
    flying = {proposal.number: proposal for proposal in storage.proposals(study)}
    assert before or flying
    storage.close()
    result = studies.run(settings, if_exists="resume", seed=4)
    assert len(result.trials) == 10
    for trial in result.trials:
        kept = before.get(trial.number) or flying.get(trial.number)
        if kept is not None:
            assert trial.point == kept.point
            assert trial.attributes[SAW] == list(kept.attributes[SAW])
    order = seen_by(result.trials)
    assert len(set(order)) == len(order)
    again = studies.run(replace(settings, name="again", runner="replay"))
    assert trials_digest(again.trials) == trials_digest(result.trials)


def test_a_window_sees_the_default_and_all_before_it() -> None:
    sight = Windowed(3)
    assert sight.saw(0, {}, 0) == ()
    assert sight.saw(1, {}, 1) is None
    assert sight.saw(3, {0}, 2) == (0,)
    assert sight.saw(5, {0, 2, 3, 4}, 1) is None
    assert sight.saw(5, {0, 1, 2, 4}, 1) == (0, 1, 2)


def test_order_is_taken_up_from_what_is_stored() -> None:
    def trial(number: int, saw: list[int]) -> OuterTrial:
        return OuterTrial(number, (), True, Outcome.COMPLETE, attributes={SAW: saw})

    known: dict[int, OuterTrial | Proposal] = {
        0: trial(0, []),
        1: Proposal(1, (), True, {SAW: [0]}),
        2: trial(2, []),
        3: trial(3, []),
    }
    sight = Asynchronous(3, known)
    assert sight.saw(1, {0, 2, 3}, 0) == (0,)
    assert sight.saw(4, {0, 2, 3}, 3) is None
    assert sight.saw(4, {0, 2, 3}, 1) == (0, 2, 3)
    assert sight.noted(4) == (2, 3)
    other = Repeated(3, {}, {**known, 4: trial(4, [3, 2])})
    assert other.saw(0, {}, 0) == ()
    assert other.saw(1, {}, 0) is None
    assert other.saw(1, {0}, 0) == (0,)
    assert [other.saw(n, {0}, 1) for n in (2, 3)] == [(0,), (0,)]
    assert other.saw(4, {0, 2}, 1) is None
    assert other.saw(4, {0, 2, 3}, 1) == (0, 3, 2)
