"""Which schedule each task of a compile has: the given one where it fits, else the default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compiler_core.errors import InfeasibleError, InputError
from compiler_core.tensor.task import Task
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import Machine


def require_known_tasks(given: Mapping[str, Any], tasks: Mapping[str, Any]) -> None:
    """Refuses schedules of tasks that a model does not have.

    Raises:
        InputError: There is one; names those that the model has.
    """
    for name in given:
        if name not in tasks:
            raise InputError(
                f"schedule.{name}: the model has no such task on this target; it has "
                f"{', '.join(sorted(tasks)) or 'none'}",
                hint="nest-tune task list shows the tasks of a model",
            )


def check_schedule(where: str, task: Task, schedule: Any, machine: Machine) -> None:
    """Refuses a schedule that does not fit what it is for.

    Args:
        where: It was given, as errors name it.
        task: What it is for.
        schedule: To check.
        machine: Where it runs.

    Raises:
        InputError: It is for another kind of operator, or the task is for other machines.
        InfeasibleError: It breaks a rule; says which.
    """
    kind = kind_of_machine(machine)
    if task.unit != kind.name:
        raise InputError(
            f"{where}: the task is for units of kind {task.unit!r}, the target's are {kind.name!r}"
        )
    try:
        broken = kind.tasks.violations(task.workload, schedule, machine)
    except TypeError as error:
        raise InputError(f"{where}: {error}") from error
    if broken:
        raise InfeasibleError(f"{where}: {broken[0]}")
