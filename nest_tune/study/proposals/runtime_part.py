"""How onnxruntime runs a model, here or on boards, as a part of the outer space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from compiler_core.clock.choices import RuntimeChoices
from compiler_core.configuration.runtime import (
    RUNTIME,
    Runtime,
    is_worth_trying,
    runtime_table,
)
from compiler_core.errors import InputError
from search_spaces.joint import OuterPoint
from search_spaces.parameter import Parameter


class RuntimePart:
    """Threads, whether they spin, how far the graph is rewritten, and whose kernels.

    Args:
        choices: What the machine that is timed leaves to choose.
    """

    name = RUNTIME

    def __init__(self, choices: RuntimeChoices) -> None:
        tables: Mapping[str, Sequence[Any]] = {
            "threads": choices.threads,
            "spinning": (True, False),
            "optimization": choices.optimizations,
            "provider": choices.providers,
        }
        self.parameters: tuple[Parameter, ...] = tuple(
            Parameter(name, tuple(values), ordered=name == "threads")
            for name, values in tables.items()
            if len(values) > 1 and (name != "spinning" or len(tables["threads"]) > 1)
        )
        self.default: OuterPoint = (0,) * len(self.parameters)

    def decode(self, point: OuterPoint) -> Mapping[str, Any]:
        """The table ``runtime`` of a configuration."""
        return {p.name: p.values[index] for p, index in zip(self.parameters, point, strict=True)}

    def point(self, runtime: Runtime) -> OuterPoint:
        """The point that means these options.

        Raises:
            InputError: The space does not hold them.
        """
        known = {parameter.name for parameter in self.parameters}
        for name, value in runtime_table(runtime).items():
            if name not in known and value != getattr(Runtime(), name):
                raise InputError(f"{RUNTIME}.{name}: {value}; the machine leaves no choice of it")
        return tuple(p.index(getattr(runtime, p.name)) for p in self.parameters)

    def is_legal(self, point: OuterPoint) -> bool:
        """Whether it is worth trying."""
        return is_worth_trying(replace(Runtime(), **self.decode(point)))

    def guesses(self) -> Sequence[OuterPoint]:
        """All cores, then each provider."""
        found = []
        for axis, parameter in enumerate(self.parameters):
            if parameter.name in ("threads", "provider"):
                for index in range(len(parameter.values) - 1, 0, -1):
                    point = list(self.default)
                    point[axis] = index
                    found.append(tuple(point))
                    if parameter.name == "threads":
                        break
        return found
