"""Which decisions are measured, that none is measured twice, and what an interruption leaves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from compiler_core.errors import InputError
from nest_tune.report import changes
from nest_tune.report.changes import NOT_MEASURED, read_count, shares_of_latency
from nest_tune.report.explain import explain, left_out_text
from nest_tune.study.execution.candidates import Bench
from nest_tune.study.store.dependencies import survey_ground
from nest_tune.study.store.ground import Ground
from nest_tune.study.store.result import StudyResult, compile_trial
from nest_tune.study.trial import OuterTrial

Run = Callable[..., tuple[int, str, str]]


class Results:
    """A storage of results."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}

    def results(self, keys: Sequence[str]) -> dict[str, Any]:
        return {key: json.loads(self.rows[key]) for key in keys if key in self.rows}

    def add_result(self, key: str, value: Any) -> None:
        self.rows[key] = json.dumps(value)


@pytest.fixture(scope="module")
def ground(result: StudyResult) -> Ground:
    return survey_ground(result.settings, result.study)


@pytest.fixture(scope="module")
def widest(result: StudyResult, ground: Ground) -> OuterTrial:
    """The measured trial that differs most from the default."""
    default = ground.space.default

    def differences(trial: OuterTrial) -> int:
        return sum(one != other for one, other in zip(trial.point, default, strict=True))

    return max((t for t in result.trials if t.outcome.is_measured), key=differences)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is compiled and what is examined."""
    done: list[str] = []
    for name in ("compiled", "accuracy"):
        usual = getattr(Bench, name)

        def counted(self: Bench, *args: Any, _of: str = name, _as: Any = usual) -> Any:
            done.append(_of)
            return _as(self, *args)

        monkeypatch.setattr(Bench, name, counted)
    return done


def test_the_most_of_the_latency_comes_first_and_the_rest_is_named(
    ground: Ground, result: StudyResult, widest: OuterTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    compiled = compile_trial(ground, result, widest)
    kept = Results()

    def explained(count: int | str | None) -> Any:
        return explain(
            ground,
            result,
            widest,
            count=count,
            compiled=compiled,
            storage=kept,  # type: ignore[arg-type]
            progress=lines.append,
        )

    none = explained(0)
    assert lines == []
    asked = [e.decision for e in none.effects if e.left_out]
    assert len(asked) >= 5
    assert {e.message for e in none.effects if e.left_out} == {NOT_MEASURED}
    monkeypatch.setattr(changes, "MOST", 4)
    few = explained(None)
    found = [re.fullmatch(r"changing back (\d) of 4: (\S+?)(, about .* left)?", x) for x in lines]
    assert [match and match[1] for match in found] == ["1", "2", "3", "4"]
    assert [bool(match and match[3]) for match in found] == [False, False, False, True]
    shares = shares_of_latency({x.name: x.latency_ms for x in compiled.report.layers})
    own = [shares.get(name.partition(".")[2], 0.0) for name in asked if name.startswith("part")]
    told = [match[2] for match in found if match]
    whole = [name for name in asked if not name.startswith("partition.")]
    assert told[: len(whole)] == whole[:4]
    layers = [shares.get(name.partition(".")[2], 0.0) for name in told[len(whole) :]]
    assert layers == sorted(own, reverse=True)[: len(layers)]
    assert {e.decision for e in few.effects if e.left_out} == set(asked) - set(told)
    text = left_out_text(few.effects, "nest-tune study explain small")
    assert text.startswith(f"{len(asked) - 4} of {len(few.effects)} decisions are not measured")
    lines.clear()
    every = explained("all")
    assert lines[0].startswith(f"changing back 1 of {len(asked) - 4}: ")  # four are kept
    assert not any(e.left_out for e in every.effects)
    assert left_out_text(every.effects, "") == ""
    alone = explain(ground, result, widest, count="all", compiled=compiled)
    assert alone.effects == every.effects


def test_large_models_and_data_have_fewer(
    ground: Ground, result: StudyResult, widest: OuterTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By counts alone: layers times samples, and multiplications."""
    samples = 1 + len(ground.model.graph.nodes) * survey_samples(ground)
    monkeypatch.setattr(changes, "MOST_LAYER_RUNS", samples)
    lines: list[str] = []
    explain(ground, result, widest, progress=lines.append)
    assert [line.partition(":")[0] for line in lines] == ["changing back 1 of 1"]
    monkeypatch.setattr(changes, "MOST_MACS", 1)
    explain(ground, result, widest, progress=lines.append)
    assert len(lines) == 1


def survey_samples(ground: Ground) -> int:
    return Bench(ground.subjects).samples


def test_nothing_is_measured_twice(
    ground: Ground, result: StudyResult, widest: OuterTrial, measured: list[str]
) -> None:
    kept, compiled = Results(), compile_trial(ground, result, widest)
    measured.clear()
    given: dict[str, Any] = {"compiled": compiled, "storage": kept, "count": 3}
    first = explain(ground, result, widest, **given)
    assert measured.count("compiled") == 3
    measured.clear()
    lines: list[str] = []
    again = explain(ground, result, widest, **given, progress=lines.append)
    assert (measured, lines) == ([], [])
    assert again.effects == first.effects


def test_an_interruption_leaves_what_was_measured(
    ground: Ground, result: StudyResult, widest: OuterTrial
) -> None:
    def progress(line: str) -> None:
        if line.startswith("changing back 3"):
            raise KeyboardInterrupt

    found = explain(ground, result, widest, count="all", progress=progress)
    assert found.interrupted
    done = [e for e in found.effects if not e.left_out]
    left = [e for e in found.effects if e.left_out]
    assert all(e.metrics or e.message for e in done)
    assert left
    assert {e.message for e in left} == {"not measured: interrupted"}
    assert found.bindings  # everything else is there


def test_counts_are_numbers_or_all() -> None:
    assert [read_count(x) for x in (None, "all", "0", "12", 3)] == [None, "all", 0, 12, 3]
    for wrong in ("-1", "some", "1.5", "", -2):
        with pytest.raises(InputError, match=r"effects: .* is no number of decisions"):
            read_count(wrong)


def test_commands_that_are_interrupted_say_so_and_go_on(
    small_study: Any, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 130; the page is written; what was measured is not measured again."""
    page, storage = tmp_path / "r.html", ("--storage", small_study.storage)
    usual, calls = Bench.accuracy, 0

    def broken_off(self: Bench, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return usual(self, *args)

    def kept_before(_self: Any, _keys: Sequence[str]) -> dict[str, Any]:
        return {}  # other tests keep their results in the same storage

    from nest_tune.study.store.results import ResultRows

    with monkeypatch.context() as patch:
        patch.setattr(Bench, "accuracy", broken_off)
        patch.setattr(ResultRows, "results", kept_before)
        words = ("study", "report", "small", "-o", page, *storage, "--effects", "all")
        code, _, err = run(*words)
        assert code == 130, err
        assert "interrupted: " in err
        text = page.read_text()
        assert "What matters is not measured whole: it was interrupted." in text
        assert "not measured: interrupted" in text
        calls = 0
        code, out, err = run("study", "explain", "small", *storage, "--effects", "all", "--json")
        assert code == 130
        assert json.loads(out)["schema"] == "nest-tune/error/1"
    assert run(*words)[0] == 0
    assert "interrupted" not in page.read_text()
    code, _, err = run("study", "explain", "small", *storage, "--effects", "all")
    assert code == 0
    assert "changing back" not in err  # the report measured it all
    assert run("study", "explain", "small", *storage, "--effects", "few")[0] == 2
