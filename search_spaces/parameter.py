"""Ordered parameters: a choice is an index into a table of values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError

Points = npt.NDArray[np.int64]
"""``int64[n, parameters]``: indices into the tables of the parameters."""


@dataclass(frozen=True)
class Parameter:
    """One decision.

    Attributes:
        name: Field of the schedule that it sets.
        values: Its table; neighbouring indices are similar choices where ``ordered``.
        ordered: Whether a step of one index is a small change.
    """

    name: str
    values: tuple[Any, ...]
    ordered: bool = True

    def __len__(self) -> int:
        return len(self.values)

    def index(self, value: Any) -> int:
        """Index of a value.

        Raises:
            InputError: The table does not hold it.
        """
        try:
            return self.values.index(value)
        except ValueError:
            allowed = ", ".join(str(getattr(v, "value", v)) for v in self.values)
            shown = getattr(value, "value", value)
            raise InputError(f"{self.name}: {shown}; the space holds {allowed}") from None


@dataclass(frozen=True)
class RuleCount:
    """What one rule takes out of a space.

    Attributes:
        rule: Its name, as violations call it; ``duplicate`` for points that lower to a program
            that another point already gives.
        removed: Points that break it and none of the rules before it.
        left: Points after it.
    """

    rule: str
    removed: int
    left: int
