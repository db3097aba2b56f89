"""What is taken without a rule, and what is said of it."""

from __future__ import annotations

import pytest

from nest_tune.study.choice.gains import (
    accuracy_gain_text,
    changes_percent,
    gain_text,
    notes_of,
    warnings_of,
)
from nest_tune.study.choice.pick import default_rule, pick
from nest_tune.study.proposals.front import pareto_front
from nest_tune.study.request.goals import parse_constraint, parse_objective
from nest_tune.study.trial import Outcome, OuterTrial

GOALS = (parse_objective("latency_ms"), parse_objective("accuracy"))


def trial(number: int, latency: float, accuracy: float, *, feasible: bool = True) -> OuterTrial:
    outcome = Outcome.COMPLETE if feasible else Outcome.CONSTRAINTS
    metrics = {"latency_ms": latency, "energy_mj": 2 * latency, "accuracy": accuracy}
    return OuterTrial(number, (), tuned=True, outcome=outcome, metrics=metrics)


def test_a_limit_on_accuracy_leaves_the_first_objective_to_decide() -> None:
    front = pareto_front(
        [
            trial(0, 10.0, 0.90),
            trial(1, 4.0, 0.89),
            trial(2, 5.0, 0.90),
            trial(3, 1.0, 0.2, feasible=False),
        ],
        GOALS,
    )
    limits = [parse_constraint("accuracy_drop <= 1%")]
    found = pick(front, GOALS, default_rule(limits))
    assert found is not None
    assert found.number == 1
    assert default_rule([]) == default_rule([parse_constraint("latency_ms <= 5")]) == "knee"
    assert default_rule([parse_constraint("accuracy >= 80%")]) == "fastest"
    other = (parse_objective("accuracy"), parse_objective("latency_ms"))
    most = pick(pareto_front(list(front), other), other, "fastest")
    assert most is not None
    assert most.number == 2


def test_changes_are_per_cent_of_the_reference() -> None:
    changes = changes_percent({"latency_ms": 3.0, "energy_mj": 5.0}, {"latency_ms": 4.0})
    assert changes == {"latency_ms": -25.0}
    assert changes_percent({"npu_cycles": 7.0}, {"npu_cycles": 0.0}) == {}
    assert gain_text(changes) == "latency_ms -25.0 %"


@pytest.mark.parametrize("default_keeps", [True, False])
def test_nothing_slower_than_the_default_is_taken_silently(default_keeps: bool) -> None:
    default = trial(0, 4.0, 0.9, feasible=default_keeps)
    (told,) = warnings_of(trial(7, 5.0, 0.95), default, GOALS)
    assert "trial 7 has more latency_ms than the untuned default, 5.000 for 4.000 (+25.0 %)" in told
    assert ("the default breaks a limit" in told) != default_keeps
    assert warnings_of(trial(7, 4.0, 0.8), default, GOALS) == ()
    assert warnings_of(None, default, GOALS) == ()


@pytest.mark.parametrize(("ram", "told"), [(1000, 0), (1100, 0), (1101, 1), (2200, 1), (900, 0)])
def test_what_the_gains_cost_is_noted(ram: int, told: int) -> None:
    goals = (parse_objective("instructions"),)
    default = OuterTrial(
        0,
        (),
        tuned=False,
        outcome=Outcome.COMPLETE,
        metrics={"instructions": 10.0, "ram_peak_bytes": 1000.0, "flash_bytes": 500.0},
    )
    found = {"instructions": 12.0, "ram_peak_bytes": float(ram), "flash_bytes": 500.0}
    chosen = OuterTrial(3, (), tuned=True, outcome=Outcome.COMPLETE, metrics=found)
    notes = notes_of(chosen, default, goals)  # of objectives warnings_of speaks
    assert len(notes) == told
    assert all(note.startswith("ram_peak_bytes is +") and f"{ram:,}" in note for note in notes)
    assert notes_of(chosen, default, (parse_objective("ram_peak_bytes"),))[:1] != notes or not told
    assert notes_of(None, default, goals) == notes_of(chosen, None, goals) == ()


@pytest.mark.parametrize(
    ("own", "before", "metric", "text"),
    [
        (0.9489, 0.9467, "top1", "accuracy +0.22 points"),
        (0.90, 0.95, "agreement", "agreement -5.00 points"),
        (26.33, 22.23, "sqnr_db", "sqnr_db +4.1 dB"),
        (0.9, 0.9, "top1", "accuracy as it was"),
    ],
)
def test_the_accuracy_is_told_beside_the_costs(
    own: float, before: float, metric: str, text: str
) -> None:
    assert accuracy_gain_text(trial(3, 1.0, own), trial(0, 2.0, before), metric) == text
    bare = OuterTrial(0, (), tuned=True, outcome=Outcome.COMPLETE, metrics={"latency_ms": 1.0})
    assert accuracy_gain_text(trial(3, 1.0, own), bare, metric) == ""
