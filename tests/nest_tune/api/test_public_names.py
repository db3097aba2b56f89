"""What ``import nest_tune`` gives, costs and documents."""

from __future__ import annotations

import doctest
import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import nest_tune

PROGRAM = """
import json, sys
before = set(sys.modules)
import nest_tune
print(json.dumps(sorted(set(sys.modules) - before)))
dir(nest_tune), nest_tune.__all__
print(json.dumps(sorted(name for name in sys.modules if name.startswith("nest_tune"))))
nest_tune.InputError
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
HEAVY = {"numpy", "numba", "scipy", "onnx", "onnxruntime", "optuna", "ray", "xgboost", "typer"}
DOCUMENTED = ("nest_tune", *(f"nest_tune.api.{name}" for name in (
    "checking", "comparing", "compiling", "measuring", "packages", "planning", "records", "schemes",
    "spaces", "study", "tasks",
)))  # fmt: skip


def test_import_loads_nothing_but_itself() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    new, names, after = map(json.loads, run.stdout.splitlines())
    ours = ("nest_tune", "compiler_core", "search_spaces", "cost_models")
    off = ["compiler_core", "compiler_core.telemetry"]  # before any library is imported
    assert [name for name in new if name.startswith(ours)] == [*off, "nest_tune"]
    assert not HEAVY & {name.partition(".")[0] for name in new}
    assert names == ["nest_tune"]
    assert not HEAVY & set(after)


def test_every_public_name_is_there_and_documented() -> None:
    assert sorted(nest_tune.__all__) == sorted(nest_tune._HOMES)
    for name in nest_tune.__all__:
        value = getattr(nest_tune, name)
        assert inspect.getdoc(value), name
        assert name in dir(nest_tune)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'compiel'"):
        getattr(nest_tune, "compiel")  # noqa: B009 - the name is wrong on purpose


def test_every_parameter_of_a_function_is_described() -> None:
    """Each argument stands under ``Args:``, and each function says what it raises."""
    functions = [
        value
        for name in nest_tune.__all__
        if inspect.isfunction(value := getattr(nest_tune, name))
        and value.__module__.startswith("nest_tune")
    ]
    functions += [
        value
        for name, value in inspect.getmembers(nest_tune.Study)
        if not name.startswith("_") and (inspect.isfunction(value) or inspect.ismethod(value))
    ]
    assert len(functions) > 15
    for function in functions:
        text = inspect.getdoc(function) or ""
        assert "Raises:" in text, function
        parameters = [p for p in inspect.signature(function).parameters if p not in ("self", "cls")]
        if len(parameters) > 1:
            for parameter in parameters:
                assert f"{parameter}:" in text or f"{parameter}," in text, (function, parameter)


@pytest.mark.parametrize("module", DOCUMENTED)
@pytest.mark.usefixtures("workplace")
def test_examples_of_docstrings_run(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(import_module(module), optionflags=options)
    assert result.attempted, f"{module} has no example"
    assert not result.failed, capsys.readouterr().out
    assert not capsys.readouterr().out, "functions print nothing"


def test_the_package_says_that_it_is_typed(repository: Path) -> None:
    for package in ("nest_tune", "search_spaces", "cost_models", "compiler_core"):
        assert (repository / package / "py.typed").is_file()
