"""Decisions of a study as Optuna holds them: named, with values that people can read.

The domain is fixed when a study starts; pins and narrowings of values change what is proposed,
never what a value is called.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from nest_tune.study.trial import Point

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Choice = str | int | float | bool | None
_LONGEST_NAME = 500
"""Optuna's tables keep names of 512 characters."""


def choices(values: Sequence[Any]) -> list[Choice]:
    """Values of a parameter as Optuna can hold them: different, and readable.

    Args:
        values: Plain.
    """
    found: list[Choice] = [
        value if isinstance(value, str | int | float) or value is None else _text(value)
        for value in values
    ]
    if _differ(found):
        return found
    texts = [str(value) for value in found]  # 1, 1.0 and True are one value to Optuna
    if _differ(texts):
        return list(texts)
    return [f"{index}: {text}" for index, text in enumerate(texts)]


def parameter_name(name: str) -> str:
    """The name of a parameter as Optuna's tables can hold it."""
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 20]}~{sha256(name.encode()).hexdigest()[:16]}"


class Domain:
    """The decisions of a study.

    Args:
        parameters: Name and plain values of each, as a study's document holds them.

    Attributes:
        names: As Optuna has them.
        choices: Of each.
    """

    def __init__(self, parameters: Sequence[Any]) -> None:
        self.names = tuple(parameter_name(str(name)) for name, _ in parameters)
        self.choices = tuple(choices(values) for _, values in parameters)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The distribution of each decision, as Optuna writes it."""
        return tuple(
            json.dumps({"name": "CategoricalDistribution", "attributes": {"choices": found}})
            for found in self.choices
        )

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distributions by name."""
        from optuna.distributions import CategoricalDistribution

        pairs = zip(self.names, self.choices, strict=True)
        return {name: CategoricalDistribution(found) for name, found in pairs}

    def params(self, point: Point) -> dict[str, Choice]:
        """The decisions of a point by name."""
        rows = zip(self.names, self.choices, point, strict=True)
        return {name: found[index] for name, found, index in rows}

    def point(self, params: Mapping[str, Choice]) -> Point:
        """Inverse of :meth:`params`.

        Raises:
            KeyError: A decision is missing.
            ValueError: It has no such value.
        """
        rows = zip(self.names, self.choices, strict=True)
        return tuple(found.index(params[name]) for name, found in rows)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _differ(values: Sequence[Choice]) -> bool:
    return len(set(values)) == len(values)
