"""What verbs are asked for is written once: options and keyword arguments are the same settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import typer.main

import nest_tune
from nest_tune.api.asked import JudgedSettings, PlanSettings, RunSettings, SpaceSettings
from nest_tune.cli.app import app
from nest_tune.setting import settings_of, settled

VERBS: list[tuple[str, Callable[..., Any], type]] = [
    ("plan show", nest_tune.show_plan, PlanSettings),
    ("plan check", nest_tune.check_plan, PlanSettings),
    ("plan best", nest_tune.best_plan, PlanSettings),
    ("plan best", nest_tune.best_plan_within, PlanSettings),
    ("quantize profile", nest_tune.profile_activations, RunSettings),
    ("quantize sensitivity", nest_tune.sensitivity, JudgedSettings),
    ("quantize search", nest_tune.search_scheme, JudgedSettings),
    ("space show", nest_tune.space, SpaceSettings),
]


@pytest.mark.parametrize(("verb", "function", "asked"), VERBS)
def test_options_and_keywords_are_the_settings(
    verb: str, function: Callable[..., Any], asked: type
) -> None:
    command: Any = typer.main.get_command(app)
    for name in verb.split():
        command = command.get_command(None, name)
    options = {option: parameter for parameter in command.params for option in parameter.opts}
    keywords = inspect.signature(function).parameters
    assert not [p for p in keywords.values() if p.kind is p.VAR_KEYWORD]
    for name, setting in settings_of(asked).items():
        option = setting.option or f"--{name.replace('_', '-')}"
        assert options[option].help == setting.help
        assert keywords[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert keywords[name].default == setting.default
        assert f"{name}: " in (function.__doc__ or "")


def test_defaults_are_filled_in_and_others_refused() -> None:
    assert settled(RunSettings, {}) == {"shapes": None, "threads": 1}
    assert settled(RunSettings, {"threads": 2})["threads"] == 2
    for function in (nest_tune.show_plan, nest_tune.space):
        with pytest.raises(TypeError, match="unexpected keyword argument 'shape'"):
            function("m.onnx", "vta", shape={"x": (1,)})
