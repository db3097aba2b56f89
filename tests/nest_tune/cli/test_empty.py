"""Empty arguments are refused, not taken for defaults: by commands, study files and from Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InputError
from nest_tune.cli import main
from nest_tune.cli.empty import refuse_empty
from nest_tune.study.request.study_file import read_study_file
from nest_tune.study.request.study_request import StudyRequest, settings

TEXTS = [name for name, setting in settings().items() if setting.kind is str]
WRITTEN = [settings()[name].place for name in TEXTS if settings()[name].place]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["study", "start", "--metric", "", "--dry-run"], "--metric: is empty"),
        (["study", "start", "--metric=", "--dry-run"], "--metric: is empty"),
        (["compile", "", "--target", "vta"], "an argument is empty"),
        (["compile", "m.onnx", "-o", ""], "-o: is empty"),
    ],
)
def test_empty_values_are_named(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["nest-tune", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"error: {said}" in capsys.readouterr().err


@given(st.lists(st.from_regex(r"[a-z=.-]{1,8}", fullmatch=True)))
def test_whatever_holds_something_passes(arguments: list[str]) -> None:
    for argument in arguments:
        if argument.endswith("=") and argument.startswith("-"):
            return
    refuse_empty([*arguments, "--fix-input=text=", "text="])


@pytest.mark.parametrize("name", TEXTS)
def test_texts_of_a_study_are_not_empty(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: is empty"):
        StudyRequest.of(**{name: ""})


@pytest.mark.parametrize("place", [*WRITTEN, "target.path", "target.host"])
def test_texts_of_a_study_file_are_not_empty(tmp_path: Path, place: str) -> None:
    table, _, key = place.partition(".")
    path = tmp_path / "study.toml"
    path.write_text(f'[{table}]\n{key} = ""\n')
    with pytest.raises(InputError, match=f"{place}.*: is empty"):
        read_study_file(path)
