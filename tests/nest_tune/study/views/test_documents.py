"""What summaries of studies say beside their numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nest_tune.cli.study_summary import print_result
from nest_tune.study.request.goals import parse_constraint
from nest_tune.study.trial import Outcome
from nest_tune.study.views.documents import (
    changed_choice,
    earlier_times,
    instead_lines,
    overdue_lines,
    result_document,
)
from tests.nest_tune.study.views.test_compare import study

WIDE = study("s", [(4.0, 0.5), (2.0, 0.6), (3.0, 0.9)])


def test_another_choice_than_before_a_resume_is_explained() -> None:
    chosen, before = WIDE.trials[1], WIDE.trials[2]
    same = replace(WIDE, before=chosen)
    assert changed_choice(WIDE, chosen) == changed_choice(same, chosen) == ()
    other = replace(WIDE, before=before)
    told = changed_choice(other, chosen)
    assert told[0] == "before this run trial 2 was chosen; against it: latency_ms -33.3 %"
    assert told[1] == "the knee is relative to the whole front, which has changed"
    assert result_document(other, chosen, None)["chosen_before"] == 2
    dominated = replace(WIDE, before=WIDE.trials[0])
    assert changed_choice(dominated, chosen)[1] == "trial 0 is dominated by a new one"
    limits = (parse_constraint("accuracy_drop<=0.5"),)
    limited = replace(other, settings=replace(other.settings, limits=limits))
    assert len(changed_choice(limited, chosen)) == 1


def test_a_choice_with_the_same_figures_is_no_change_of_them() -> None:
    same = study("s", [(4.0, 0.5), (2.0, 0.6), (2.0, 0.6)])
    (line,) = changed_choice(replace(same, before=same.trials[1]), same.trials[2])
    assert line.startswith(
        "before this run trial 1 was chosen, whose figures are the same; trial 2"
    )
    assert "%" not in line


def test_a_choice_that_the_front_seems_to_beat_is_explained() -> None:
    even = study("s", [(4.0, 0.9), (2.0, 0.61), (2.0, 0.6)])
    lucky, faithful = (
        replace(trial, fidelity={"agreement": share, "sqnr_db": noise})
        for trial, share, noise in zip(even.trials[1:], (0.98, 0.99), (21.04, 24.1), strict=True)
    )
    told = replace(even, trials=(even.trials[0], lucky, faithful), front=(even.trials[0], lucky))
    (line,) = instead_lines(told, faithful)
    assert line.startswith("in the place of trial 1, which costs the same: their accuracies differ")
    assert line.endswith("(agreement 0.9900 for 0.9800, SQNR in dB 24.1 for 21.0)")
    assert line in result_document(told, faithful, None)["notes"]
    assert instead_lines(told, lucky) == ()


def test_trials_that_were_given_up_are_told_with_what_grants_more() -> None:
    late = replace(
        WIDE.trials[1], outcome=Outcome.TIMEOUT, metrics={}, message="ran longer than 60 s"
    )
    told = replace(WIDE, trials=(WIDE.trials[0], late, WIDE.trials[2]))
    assert overdue_lines(WIDE) == ()
    (line,) = overdue_lines(told)
    assert line.startswith("1 trial was given up (trial 1: ran longer than 60 s): --trial-timeout")
    assert line in result_document(told, None, None)["notes"]


def test_all_trials_with_the_same_figures_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    many = study("s", [(4.0, 0.5), *[(2.0, 0.6)] * 4])
    print_result(many, many.trials[3], None)
    assert "the same figures as trial 3: 1, 2, 4\n" in capsys.readouterr().out
    many = study("s", [(4.0, 0.5), *[(2.0, 0.6)] * 20])
    print_result(many, many.trials[3], None)
    assert (
        "the same figures as trial 3: 1, 2, 4, 5, 6, 7, 8, 9 and 11 more\n"
        in capsys.readouterr().out
    )


def test_times_of_earlier_measurements_are_said() -> None:
    assert earlier_times(WIDE) == ()
    row = WIDE.study
    closing = {"closing": {"float": {}, "earlier": 3}}
    told = replace(WIDE, study=replace(row, document={**row.document, **closing}))
    (line,) = earlier_times(told)
    assert line.startswith("the times of 3 trials are from earlier measurements")
    assert line in result_document(told, None, None)["warnings"]
