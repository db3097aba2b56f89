"""What summaries of studies say beside their numbers."""

from __future__ import annotations

from dataclasses import replace

from nest_tune.study.request.goals import parse_constraint
from nest_tune.study.views.documents import changed_choice, earlier_times, result_document
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


def test_times_of_earlier_measurements_are_said() -> None:
    assert earlier_times(WIDE) == ()
    row = WIDE.study
    closing = {"closing": {"float": {}, "earlier": 3}}
    told = replace(WIDE, study=replace(row, document={**row.document, **closing}))
    (line,) = earlier_times(told)
    assert line.startswith("the times of 3 trials are from earlier measurements")
    assert line in result_document(told, None, None)["warnings"]
