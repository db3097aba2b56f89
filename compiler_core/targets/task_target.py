"""Targets that have tasks: systems with units, and cores that sources are generated for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compiler_core.errors import InputError
from compiler_core.targets.load import load_npu_target
from compiler_core.targets.source_kinds import generates_sources, source_tasks_for
from compiler_core.targets.target import Target, Unit
from compiler_core.targets.this_machine import require_npu


@dataclass(frozen=True)
class SourceTarget:
    """A core that sources are generated for.

    Attributes:
        name: Of the target.
        units: The core alone.
        given: As it was given: name or path.
    """

    name: str
    units: tuple[Unit, ...]
    given: str

    def unit(self, name: str) -> Unit:
        """The unit of that name.

        Raises:
            InputError: There is none.
        """
        if name == self.units[0].name:
            return self.units[0]
        raise InputError(f"target {self.name!r} has no unit {name!r}; it has {self.units[0].name}")


TaskTarget = Target | SourceTarget


def load_task_target(target: str | Path | TaskTarget) -> TaskTarget:
    """A target whose units have tasks.

    Args:
        target: Name, path of a ``.toml`` file, or a loaded target.

    Raises:
        InputError: There is none, or nothing of it has tasks.
        MissingDependencyError: What measures its tasks is not installed.
    """
    if isinstance(target, SourceTarget):
        return target
    if isinstance(target, Target):
        return require_npu(target)
    if _takes_sources(target):
        core = source_tasks_for(target).core(str(target))
        return SourceTarget(core.target, (Unit(core.name, core.machine, 1),), str(target))
    return load_npu_target(target)


def _takes_sources(target: str | Path) -> bool:
    try:
        return generates_sources(target)
    except InputError:
        return False  # who loads it says what is wrong
