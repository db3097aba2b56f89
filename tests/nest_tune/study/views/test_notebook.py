"""Studies in a notebook: Optuna's object, a table, plots, and what a cell shows."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from typing import Any

import pytest

import nest_tune
from compiler_core.errors import InputError, MissingDependencyError


@pytest.fixture
def study(small_study: Any) -> nest_tune.Study:
    return nest_tune.Study.open("small", small_study.storage)


def test_a_study_is_optunas_too(study: nest_tune.Study) -> None:
    seen = study.optuna
    assert len(seen.trials) == len(study.trials)
    assert {t.number for t in seen.best_trials} >= {t.number for t in study.front}


def test_a_table_has_metrics_and_decisions(study: nest_tune.Study) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = study.to_dataframe()
    assert list(frame.index) == [trial.number for trial in study.trials]
    assert list(frame["latency_ms"]) == [t.metrics["latency_ms"] for t in study.trials]
    decided = [name for name in frame.columns if name.startswith("params_")]
    assert f"params_{study.result.study.document['parameters'][0][0]}" in decided
    assert frame["front"].sum() == len(study.front)


def test_plots_are_drawn(study: nest_tune.Study) -> None:
    pytest.importorskip("plotly", reason="plotly is not installed")
    for figure in (
        study.plot_front(),
        study.plot_history(),
        study.plot_parallel(1),
        study.plot_timeline(),
    ):
        assert figure.data
    with pytest.raises(InputError, match="objective 2; the study has 2"):
        study.plot_history(2)


def test_a_missing_package_is_named_with_its_extra(
    study: nest_tune.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, attempt in (("pandas", study.to_dataframe), ("plotly", study.plot_front)):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingDependencyError) as caught:
            attempt()
        assert caught.value.hint == "pip install 'nest-tune[notebook]'"


def test_a_cell_shows_the_study(study: nest_tune.Study) -> None:
    text = study._repr_html_()
    assert "<b>small</b>: done, 17 of 17 trials" in text
    assert text.count("<tr>") == 1 + len(study.front)
    assert "<img" not in text  # a model's name may hold anything
    assert re.fullmatch(r"Study\(name='small', storage='sqlite:///.*'\)", repr(study))


def test_the_package_says_its_version() -> None:
    assert nest_tune.__version__ == metadata.version("nest-tune")
