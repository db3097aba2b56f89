"""StudyRequest over study files: defaults, precedence, nearest names, contradictions."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InputError
from nest_tune.study.request.durations import parse_duration
from nest_tune.study.request.goals import Limit, TrialMetric
from nest_tune.study.request.resolve import resolve
from nest_tune.study.request.settings import differences, read_settings_document, settings_document
from nest_tune.study.request.study_file import read_study_file
from nest_tune.study.request.study_request import StudyRequest

FULL = """
[study]
name = "resnet8-vta"
seed = 3
trials = 20
timeout = "10m"
[model]
path = "resnet8.onnx"
[target]
name = "vta-pynq"
[data]
calibration = "calib.npz"
evaluation = "eval.npz"
metric = "top1"
[objectives]
latency_ms = "minimize"
accuracy = "maximize"
[constraints]
accuracy_drop = "<= 0.01"
[spaces]
quantization = true
partition = true
tiling = false
[sampler]
name = "tpe"
[run]
runner = "local"
jobs = 2
storage = "sqlite:///file.db"
trial_timeout = "90s"
"""
SMALL = '[model]\npath = "m.onnx"\n[target]\nname = "vta"\n'


def test_unknown_launches_are_refused(tmp_path: Path) -> None:
    asked = StudyRequest(model="m.onnx", target="vta", launches="joined")
    with pytest.raises(InputError, match="--launches: 'joined'; allowed are apart, merged"):
        resolve(None, asked, {})
    path = tmp_path / "study.toml"
    path.write_text(SMALL + 'launches = "merge"\n')
    with pytest.raises(InputError, match=r"target\.launches: 'merge'") as error:
        resolve(path, StudyRequest(), {})
    assert "merged" in (error.value.hint or "")


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def make(text: str) -> Path:
        path = tmp_path / "study.toml"
        path.write_text(text)
        return path

    return make


def test_a_full_file_is_read(write: Any, tmp_path: Path) -> None:
    found = resolve(write(FULL), StudyRequest(), {})
    assert found.name == "resnet8-vta"
    assert (found.seed, found.trials, found.timeout_s, found.jobs) == (3, 20, 600.0, 2)
    assert found.model == str(tmp_path / "resnet8.onnx")
    assert found.limits == (Limit(TrialMetric.ACCURACY_DROP, high=0.01),)
    assert (found.tiling, found.sampler, found.trial_timeout_s) == (False, "tpe", 90.0)
    assert read_settings_document(settings_document(found)) == found


def test_a_machine_may_grant_trials_more_time(write: Any) -> None:
    """Before the file, behind the flag."""
    slow = {"NEST_TUNE_TRIAL_TIMEOUT": "2h"}
    assert resolve(write(FULL), StudyRequest(), slow).trial_timeout_s == 7200.0
    assert resolve(write(FULL), StudyRequest(trial_timeout="5m"), slow).trial_timeout_s == 300.0
    with pytest.raises(InputError, match="NEST_TUNE_TRIAL_TIMEOUT 'soon': a duration"):
        resolve(write(FULL), StudyRequest(), {"NEST_TUNE_TRIAL_TIMEOUT": "soon"})


def test_defaults(write: Any) -> None:
    found = resolve(write(SMALL), StudyRequest(), {})
    assert (found.name, found.trials, found.seed, found.sampler) == ("", 200, 0, "xgb")
    assert [objective.metric for objective in found.objectives] == [TrialMetric.LATENCY_MS]
    assert found.storage == "sqlite:///nest-tune.db"


def test_flags_go_before_environment_before_file_before_default(write: Any) -> None:
    environment = {"NEST_TUNE_STORAGE": "sqlite:///env.db"}
    flags = StudyRequest(storage="sqlite:///flag.db", seed=0, constraints=("accuracy_drop<=0.5",))
    assert resolve(write(FULL), flags, environment).storage == "sqlite:///flag.db"
    assert resolve(write(FULL), flags, environment).seed == 0
    assert resolve(write(FULL), flags, {}).limits == (Limit(TrialMetric.ACCURACY_DROP, high=0.5),)
    assert resolve(write(FULL), StudyRequest(), environment).storage == "sqlite:///env.db"
    assert resolve(write(FULL), StudyRequest(), {}).storage == "sqlite:///file.db"


@pytest.mark.parametrize("metric", ["", "top1", "agreement", "cosine"])
@pytest.mark.parametrize("bound", ["1", "1.0", "5", "3, >= 0.5"])
def test_a_drop_without_a_unit_is_ambiguous_from_1_on(metric: str, bound: str, write: Any) -> None:
    chosen = f'metric = "{metric}"\n' if metric else ""
    limit = f'[constraints]\naccuracy_drop = "<= {bound}"\n'
    text = f'{SMALL}[data]\nevaluation = "e.npz"\n{chosen}{limit}'
    with pytest.raises(InputError, match="ambiguous") as error:
        resolve(write(text), StudyRequest(), {})
    assert "1%" in str(error.value.hint)


@pytest.mark.parametrize(
    ("metric", "drop", "words"),
    [
        ("sqnr_db", "1%", "is in dB"),
        ("sqnr_db", "0.01", "is in dB"),
        ("sqnr_db", "1", "is in dB"),
        ("top1", "1dB", "none of dB"),
        ("agreement", "0.5dB", "none of dB"),
        (None, "1", "ambiguous"),
        ("top1", "101%", "more than 100 %"),
        (None, "250%", "more than 100 %"),
    ],
)
def test_limits_have_the_unit_of_the_metric(
    metric: str | None, drop: str, words: str, write: Any
) -> None:
    flags = StudyRequest(metric=metric, max_accuracy_drop=drop, evaluation="e.npz")
    with pytest.raises(InputError, match=words):
        resolve(write(SMALL), flags, {})


@pytest.mark.parametrize("target", ["vta", "host", "ssh://pi@board"])
@pytest.mark.parametrize("metric", ["sqnr_db", None])
def test_a_hint_is_a_limit_that_can_be_met(metric: str | None, target: str, write: Any) -> None:
    """Where the default is float itself, none that counts from it in dB; what it says is taken."""
    data = {"metric": metric, "evaluation": "e.npz", "target": target}
    with pytest.raises(InputError) as error:
        resolve(write(SMALL), StudyRequest.of(max_accuracy_drop="1", **data), {})
    hint = str(error.value.hint)
    assert ("1dB" in hint) == (target == "vta")
    if metric:
        least = hint.partition("'")[2].partition("'")[0]
        (limit,) = resolve(write(SMALL), StudyRequest.of(constraints=[least], **data), {}).limits
        assert limit.low == 20


@pytest.mark.parametrize(
    ("metric", "drop", "high"),
    [
        ("sqnr_db", "1dB", 1.0),
        ("sqnr_db", "0.5 dB", 0.5),
        ("top1", "1%", 0.01),
        ("top1", "0.7%", 0.007),
        ("top1", "100%", 1.0),
        (None, "0", 0.0),
        ("mine:points", "1", 1.0),
    ],
)
def test_drops_are_read_and_kept(metric: str | None, drop: str, high: float, write: Any) -> None:
    flags = StudyRequest(metric=metric, max_accuracy_drop=drop, evaluation="e.npz")
    found = resolve(write(SMALL), flags, {})
    (limit,) = found.limits
    assert limit.high == high
    (again,) = read_settings_document(settings_document(found)).limits
    assert again == limit
    assert (again.unit == "dB") == (metric == "sqnr_db")


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("model = 3\n", "model: 3: a table is needed, with keys path, shapes", "[model]"),
        (SMALL + "[stduy]\n", "unknown key stduy", "'study'"),
        (SMALL + "[study]\ntrails = 5\n", "unknown key study.trails", "'trials'"),
        (SMALL + "[study]\njobs = 5\n", "unknown key study.jobs", "belongs in [run]"),
        (
            SMALL + '[sampler]\nname = "xbg"\n',
            "name: sampler 'xbg' is not known; known are",
            "'xgb'",
        ),
        (SMALL + "[study]\ntrials = 0\n", "study.trials: 0", None),
        (SMALL + '[study]\ntrials = "many"\n', "study.trials: 'many'", None),
        (SMALL + '[objectives]\nlatency = "minimize"\n', "unknown metric 'latency'", "latency_ms"),
        (SMALL + '[objectives]\nlatency_ms = "minimise"\n', "'minimise'", "'minimize'"),
        (SMALL + '[constraints]\nlatency_ms = ">= 2, <= 1"\n', "contradictory", None),
        (SMALL + '[constraints]\naccuracy_drop = "<= 1%"\n', "needs evaluation data", None),
        (SMALL + '[study]\ntimeout = "10"\n', "a duration such as", None),
        (SMALL + '[data]\nmetric = "top2"\n', "metric 'top2'", "'top5'"),
        (
            SMALL.replace("[target]\n", '[target]\npath = "a.toml"\n'),
            "has name and path; one of them",
            None,
        ),
        ('[model]\npath = "m.onnx"\n', "no target", None),
        (SMALL + '[study]\nname = "a/b"\n', "study name 'a/b'", None),
        ("[model\n", "not a TOML file", None),
    ],
)
def test_wrong_files_are_refused(write: Any, text: str, said: str, hint: str | None) -> None:
    with pytest.raises(InputError) as caught:
        resolve(write(text), StudyRequest(), {})
    assert said in caught.value.message
    if hint is not None:
        assert hint in (caught.value.hint or "")


def test_what_changes_trials_is_a_difference_and_budgets_are_not(write: Any) -> None:
    found = resolve(write(FULL), StudyRequest(), {})
    other = resolve(write(FULL), StudyRequest(seed=4, trials=99, jobs=7, sampler="random"), {})
    assert differences(found, other) == ["seed: 3 -> 4", "sampler: 'tpe' -> 'random'"]


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(tmp_path_factory: Any, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "study.toml"
    path.write_text(text, encoding="utf-8", newline="")
    with suppress(InputError):
        assert read_study_file(path).study.seed >= 0


@pytest.mark.parametrize(
    ("flags", "said", "hint"),
    [
        (
            StudyRequest(sampler="tpa"),
            "sampler 'tpa' is not known; known are",
            "did you mean 'tpe'?",
        ),
        (
            StudyRequest(runner="lokal"),
            "runner 'lokal' is not known; known",
            "did you mean 'local'?",
        ),
    ],
)
def test_unknown_names_in_flags_are_refused(
    write: Any, flags: StudyRequest, said: str, hint: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        resolve(write(SMALL), flags, {})
    assert caught.value.hint == hint


def test_durations() -> None:
    assert [parse_duration(text, "x") for text in ("90s", "1.5m", "2h")] == [90.0, 90.0, 7200.0]
    for text in ("", "90", "s", "0s", "-1s", "1d", "1e3s"):
        with pytest.raises(InputError):
            parse_duration(text, "x")


@pytest.mark.parametrize(
    ("target", "known", "absent"),
    [
        ("cortex-m4", "instructions", "npu_cycles"),
        ("vta", "npu_cycles", "flash_bytes"),
        ("host", "size_bytes", "energy_mj"),
        ("ssh://user@board", "latency_ms", "dram_peak_bytes"),
    ],
)
def test_unknown_metrics_are_told_with_those_of_the_target(
    target: str, known: str, absent: str, tmp_path: Path
) -> None:
    """On the command line and in a file alike."""
    asked = {"model": "m.onnx", "target": target, "evaluation": "e.npz"}
    file = tmp_path / "study.toml"
    key = "host" if "://" in target else "name"
    file.write_text(
        f'[model]\npath = "m.onnx"\n[target]\n{key} = "{target}"\n'
        '[objectives]\nlatensy_ms = "minimize"\n'
    )
    for found in (
        lambda: resolve(None, StudyRequest(**asked, objectives=("latensy_ms:min",)), {}),
        lambda: resolve(file, StudyRequest(), {}),
    ):
        with pytest.raises(InputError, match="unknown metric 'latensy_ms'") as caught:
            found()
        listed = caught.value.message.partition("known are ")[2].split(", ")
        assert known in listed
        assert absent not in listed
        assert "sqnr_db_drop" in listed
    with pytest.raises(InputError, match=f"{absent}: it is not measured on target"):
        resolve(None, StudyRequest(**asked, objectives=(f"{absent}:min",)), {})


def test_a_measurer_may_know_what_a_clock_does_not() -> None:
    asked = StudyRequest(
        model="m.onnx", target="host", measurer="watts:measure", objectives=("energy_mj:min",)
    )
    assert resolve(None, asked, {}).objectives[0].metric is TrialMetric.ENERGY_MJ
