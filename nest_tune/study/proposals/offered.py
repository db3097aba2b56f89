"""Decisions as samplers of Optuna's kind are offered them: categories, or numbers.

CMA-ES and quasi-Monte Carlo know no categories: Optuna passes over such decisions and draws them at
random. They are offered the number of each value, in the order of the space, instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from compiler_core.files.plain import to_plain
from nest_tune.study.domain import Choice, Domain
from search_spaces.joint import JointSpace

_OF_NUMBERS = (optuna.samplers.CmaEsSampler, optuna.samplers.QMCSampler)


def domain_of(space: JointSpace) -> Domain:
    """Names and readable values of the decisions of a space, all of them."""
    return Domain([(p.name, to_plain(p.values)) for p in space.parameters])


def distributions_of(space: JointSpace) -> dict[str, CategoricalDistribution]:
    """What is admitted of them, as Optuna's distributions by name."""
    domain = domain_of(space)
    return {
        name: CategoricalDistribution([choices[index] for index in indices])
        for name, choices, indices in zip(domain.names, domain.choices, space.admitted, strict=True)
    }


def wants_numbers(make: Any) -> bool:
    """Whether what makes a sampler is a class of those that know no categories."""
    return isinstance(make, type) and issubclass(make, _OF_NUMBERS)


class Offered:
    """The admitted values of all decisions, as a sampler sees them.

    Args:
        space: Of the decisions.
        numbers: Whether values are offered as numbers from 0.

    Attributes:
        distributions: By name.
    """

    def __init__(self, space: JointSpace, *, numbers: bool) -> None:
        self._choices = {name: d.choices for name, d in distributions_of(space).items()}
        self._numbers = numbers
        self.distributions: dict[str, BaseDistribution] = {
            name: IntDistribution(0, len(found) - 1) if numbers else CategoricalDistribution(found)
            for name, found in self._choices.items()
        }

    def value(self, name: str, choice: Choice) -> Any:
        """How a value of a decision is offered."""
        return self._choices[name].index(choice) if self._numbers else choice

    def only(self, name: str) -> Any:
        """The one value of a decision that has no other."""
        return 0 if self._numbers else self._choices[name][0]

    def chosen(self, found: Mapping[str, Any]) -> dict[str, Choice]:
        """The values of decisions that a sampler has given.

        Raises:
            ValueError: One of them was not offered.
        """
        for name, spread in self.distributions.items():
            value = found[name]
            inside = (
                isinstance(value, Integral) and 0 <= int(value) < len(self._choices[name])
                if self._numbers
                else value in self._choices[name]
            )
            if not inside:
                raise ValueError(f"{name}: {value!r} is none of {spread}")
        if not self._numbers:
            return {name: found[name] for name in self._choices}
        return {name: choices[int(found[name])] for name, choices in self._choices.items()}
