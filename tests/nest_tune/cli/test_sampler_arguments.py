"""Arguments of samplers on the command line: JSON, TOML or text."""

from __future__ import annotations

from typing import Any

import pytest

from compiler_core.errors import InputError
from nest_tune.cli.setting_options import _value
from nest_tune.setting import settings_of
from nest_tune.study.request.study_request import StudyRequest

SETTING = next(s for s in settings_of(StudyRequest).values() if s.option == "--sampler-argument")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("seed=3", 3),
        ("crossover=UniformCrossover", "UniformCrossover"),
        ("multivariate=true", True),
        ("base_sampler=null", None),
        ('fixed_params={"partition.conv1": "cpu"}', {"partition.conv1": "cpu"}),
        (
            'fixed_params={"partition.conv1" = "cpu", b = true}',
            {"partition.conv1": "cpu", "b": True},
        ),
        ("sizes=[1, 2]", [1, 2]),
        ("rule=a=b", "a=b"),
    ],
)
def test_values_are_read(text: str, value: Any) -> None:
    name = text.partition("=")[0]
    assert _value(SETTING, [text]) == {name: value}


@pytest.mark.parametrize("text", ["seed", "=3", "a.b=3", "seed=", "space={1 2}"])
def test_what_is_no_argument_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"NAME=VALUE is needed|neither JSON nor a value of TOML"):
        _value(SETTING, [text])
