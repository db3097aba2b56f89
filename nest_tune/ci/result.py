"""What the check of a lock file found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compiler_core.configuration.configuration import Configuration, configuration_text
from nest_tune.ci.difference import Difference

TOTALS = "whole model"


@dataclass(frozen=True, eq=False)
class CheckResult:
    """What a check found.

    Attributes:
        lock: File.
        compared: Metrics that were looked at, by place in execution order.
        differences: In execution order of the layers, then the whole model.
        let_pass: Those that differ by no more than their metric may.
        notes: What could not be compared, and what speaks against the measurement.
        updated: The lock as it would be now; ``None`` where the configuration does not compile,
            or is one of generated sources.
        updated_text: Of the latter, its lock as text.
    """

    lock: Path
    compared: Mapping[str, tuple[str, ...]]
    differences: tuple[Difference, ...]
    updated: Configuration | None
    let_pass: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    updated_text: str = ""

    @property
    def new_text(self) -> str:
        """The lock as it would be now, as text; empty where the configuration does not compile."""
        if self.updated is not None:
            return configuration_text(self.updated)
        return self.updated_text

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return not self.differences

    @property
    def first_layer(self) -> str | None:
        """The first layer of another schedule, else the first that differs, in execution order:
        others in its program differ, too, if only by where something lies."""
        layers = [d for d in self.differences if d.where != TOTALS]
        decided = [d for d in layers if d.metric == "schedule"]
        return next((d.where for d in decided or layers), None)

    @property
    def count(self) -> int:
        """Numbers that were compared."""
        return sum(map(len, self.compared.values()))
