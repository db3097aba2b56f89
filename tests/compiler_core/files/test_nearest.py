"""Hints name what was probably meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compiler_core.accuracy.own_metric import load_own_metric
from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean, named_in_module
from nest_tune.board_measurers import load_measurer
from nest_tune.samplers.registry import load_configuration_sampler

KNOWN = ["tpe", "nsga2", "CmaEsSampler", "TPESampler"]


@pytest.mark.parametrize(
    ("value", "meant"),
    [("TPE", "tpe"), ("tpesampler", "TPESampler"), ("NSGA", "nsga2"), ("zzz", None)],
)
def test_capitals_make_no_name_another(value: str, meant: str | None) -> None:
    assert did_you_mean(value, KNOWN) == (meant and f"did you mean {meant!r}?")


@pytest.mark.parametrize(
    ("reference", "meant"),
    [
        ("mine.py:Plain", "did you mean 'mine:Plain'?"),
        ("./mine.py:Plain", "did you mean 'mine:Plain'?"),
        (
            "parts/mine.py:f",
            "did you mean 'mine:f'? from the folder of that file",
        ),
        ("parts/mine:f", "did you mean 'mine:f'? from the folder of that file"),
        ("pathlib:PurePth", "did you mean 'pathlib:PurePath'?"),
        ("no_such_module:f", None),
    ],
)
def test_the_file_of_a_module_is_no_module(reference: str, meant: str | None) -> None:
    assert named_in_module(reference) == meant


@pytest.mark.parametrize("load", [load_own_metric, load_measurer, load_configuration_sampler])
def test_whatever_takes_a_name_in_a_module_says_what_was_meant(
    load: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_one.py").write_text("raise RuntimeError('by itself')\n")
    for reference, hint in (("mine.py:f", "'mine:f'"), ("pathlib:PurePth", "'pathlib:PurePath'")):
        with pytest.raises(InputError) as told:
            load(reference)
        assert hint in (told.value.hint or "")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="RuntimeError: by itself"):
        load("broken_one:f")
