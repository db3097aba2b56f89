"""Functions of one number."""

from __future__ import annotations

from compiler_core.units.cpu.integers.rule import Rule, pointwise

_FUNCTIONS = (
    *("Abs", "Celu", "Ceil", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid"),
    *("HardSwish", "LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu"),
    *("Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu"),
)

OPERATORS: dict[str, Rule] = dict.fromkeys(_FUNCTIONS, pointwise)
