"""Why something does not fit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """Why a schedule is infeasible.

    Attributes:
        rule: Short name of the rule.
        demand, bound: What the schedule asks for, and what there is at most.
        unit: Of both.
        remedy: What would make it fit.
        is_least: Whether the bound is a least one.
    """

    rule: str
    demand: int
    bound: int
    unit: str
    remedy: str
    is_least: bool = False

    def __str__(self) -> str:
        if self.is_least:
            return f"{self.rule}: {self.demand} demanded; at least {self.bound} is needed"
        return (
            f"{self.rule}: {self.demand} {self.unit} demanded, {self.bound} allowed; {self.remedy}"
        )
