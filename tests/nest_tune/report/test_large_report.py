"""The report of a study of ten thousand trials: what it holds, and how much room it takes."""

from __future__ import annotations

import random
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from nest_tune.report.collect import collect
from nest_tune.report.data import ReportData
from nest_tune.report.page import page
from nest_tune.study.proposals.front import pareto_front
from nest_tune.study.store.result import StudyResult
from nest_tune.study.trial import Outcome, OuterTrial

TRIALS = 10_000
MOST_BYTES = 3_000_000


def synthetic(result: StudyResult, count: int) -> StudyResult:
    """A study of ``count`` trials spread over the range of a real one: a long front, trials that
    break limits, and failures of which each says something else."""
    source = random.Random(0)
    template = result.trials[0]
    trials: list[OuterTrial] = list(result.trials)
    for number in range(len(trials), count):
        if number % 10 == 9:
            message = f"tensor {number} of shape 1x64x56x56 does not fit the buffers"
            failed = replace(template, outcome=Outcome.COMPILE, metrics={}, message=message)
            trials.append(replace(failed, number=number))
            continue
        speed = source.random()
        accuracy = 0.95 - 0.5 * (1 - speed) ** 2 - 0.1 * source.random() ** 3
        metrics = {
            **template.metrics,
            "latency_ms": 0.1 + speed,
            "energy_mj": 0.01 + 0.01 * source.random(),
            "accuracy": accuracy,
            "accuracy_drop": 0.95 - accuracy,
        }
        broken = metrics["latency_ms"] > 0.5
        trials.append(
            replace(
                template,
                number=number,
                metrics=metrics,
                outcome=Outcome.CONSTRAINTS if broken else Outcome.COMPLETE,
                message="latency_ms 0.7 is not <= 0.5" if broken else "",
                wall_s=1.0,
            )
        )
    front = pareto_front(trials, result.settings.objectives)
    return replace(result, trials=tuple(trials), front=front)


class _Counter(HTMLParser):
    """Elements by name, and tips."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self.counts[tag] = self.counts.get(tag, 0) + 1


@pytest.fixture(scope="module")
def large(result: StudyResult) -> StudyResult:
    return synthetic(result, TRIALS)


@pytest.fixture(scope="module")
def data(large: StudyResult) -> ReportData:
    return collect(large, "min:latency_ms")


def test_ten_thousand_trials_take_three_megabytes_at_most(
    data: ReportData, large: StudyResult
) -> None:
    text = page(data)
    assert len(text.encode()) <= MOST_BYTES
    # A browser is quick with some thousand elements, not with a hundred thousand.
    assert sum(_Counter(text).counts.values()) < 20_000
    assert data.is_large
    assert sum(failure.count for failure in data.failures) == sum(
        trial.outcome is not Outcome.COMPLETE for trial in large.trials
    )
    assert len(data.failures) < 30
    assert "other messages" in text


def test_every_measured_trial_is_on_the_charts(data: ReportData, large: StudyResult) -> None:
    measured = [trial for trial in large.trials if trial.outcome.is_measured]
    for chart in (*data.fronts, *data.progress):
        assert len(chart.dots) == len(measured)
    named = {dot.tip.partition(":")[0] for dot in data.fronts[0].dots if dot.tip}
    assert {f"trial {data.chosen}", "trial 0"} <= named
    assert len(named) <= 700


def test_a_long_front_is_cut_evenly(data: ReportData, large: StudyResult) -> None:
    assert data.front_size == len(large.front)
    numbers = [trial.number for trial in data.front_trials]
    assert data.chosen in numbers
    assert len(numbers) <= 201
    assert numbers[0] == large.front[0].number


def test_small_studies_name_every_trial(result: StudyResult) -> None:
    found = collect(result)
    assert not found.is_large
    assert all(dot.tip for chart in found.fronts for dot in chart.dots)
