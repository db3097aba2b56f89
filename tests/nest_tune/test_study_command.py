"""Commands about studies: a shell and the command line take the name back, whatever it is."""

from __future__ import annotations

import re
import shlex
from types import SimpleNamespace
from typing import Any

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InfeasibleError
from nest_tune.cli.study_verbs import app
from nest_tune.study.store.selection import selected
from nest_tune.study_command import plain_name, study_command

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@given(st.sampled_from(["", "-", "--", "-x"]), NAMES)
def test_the_command_line_takes_a_name_back(lead: str, name: str) -> None:
    name = lead + name
    words = shlex.split(
        study_command("report", name, "--storage", "sqlite:///a b.db", "-o", "r.html")
    )
    assert words[:3] == ["nest-tune", "study", "report"]
    command = typer.main.get_group(app).commands["report"]
    given_ = command.make_context("report", words[3:], resilient_parsing=True).params
    assert given_["name"] == name
    assert given_["storage"] == "sqlite:///a b.db"
    assert str(given_["output"]) == "r.html"


def test_names_come_first_where_they_can() -> None:
    assert study_command("show", "a:3", "--json") == "nest-tune study show a:3 --json"
    assert study_command("show", "-a b", "--json") == "nest-tune study show --json -- '-a b'"


def test_a_trial_is_named_as_a_shell_takes_it() -> None:
    result: Any = SimpleNamespace(study=SimpleNamespace(name="a b"), trials=())
    result.chosen = lambda _rule: None
    with pytest.raises(InfeasibleError) as caught:
        selected(result, None)
    assert caught.value.hint is not None
    assert "'a b:NUMBER' names a trial" in caught.value.hint


@given(NAMES)
def test_plain_names_are_those_of_studies(text: str) -> None:
    assert re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)?", plain_name(text))


def test_plain_names_keep_what_they_can() -> None:
    assert plain_name("-x y/z.onnx") == "x-y-z.onnx"
    assert plain_name("plain-1") == "plain-1"
