"""Arithmetic between tensors, and with constants; shapes broadcast."""

from __future__ import annotations

from compiler_core.units.cpu.integers.rule import Rule, pointwise

OPERATORS: dict[str, Rule] = dict.fromkeys(
    ("Add", "Div", "Max", "Mean", "Min", "Mul", "Pow", "PRelu", "Sub", "Sum"), pointwise
)
