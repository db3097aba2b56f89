"""Tasks: distinct workloads on a distinct kind of processing unit.

The id of a task, and the key of its records, begin with the name of its kind and an underline; one
kind, whose ids are older than other kinds, is left out (see
:attr:`~compiler_core.units.unit.UnitKind.unnamed_tasks`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compiler_core.units.registry import unit_kind


@dataclass(frozen=True)
class Task:
    """What a schedule is searched for.

    Attributes:
        unit: Kind of processing unit.
        workload: What it runs, a :class:`~compiler_core.units.unit.TaskWorkload` of that kind.
    """

    unit: str
    workload: Any

    @property
    def id(self) -> str:
        """Name of the task: kind, operator and digest of the workload."""
        operator = self.workload.operator.replace("_", "-")
        return f"{unit_kind(self.unit).task_prefix}{operator}-{self.workload.digest}"

    @property
    def key(self) -> str:
        """Under which its records are kept: kind and digest of the workload."""
        return f"{unit_kind(self.unit).task_prefix}{self.workload.digest}"


def task_key(name: str) -> str:
    """Key of the task with that id."""
    kind, underline, rest = name.rpartition("_")
    return f"{kind}{underline}{rest.rpartition('-')[2]}"
